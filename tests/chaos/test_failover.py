"""Replicas and gateways that are stopped, killed and frozen under load: nobody's call fails, nothing is lost.

The short form of `python -m tests.chaos.failover`, which drives 300 requests a second.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos.failover import under_load
from tests.chaos.fleet import Fleet, fleet
from tests.servers import Servers

RATE = float(os.environ.get("TRADEWIND_FAILOVER_RATE", "25"))


@pytest_asyncio.fixture(scope="module")
async def found(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Two replicas of a service, a gateway, and one that does not notice frozen peers."""
    async with fleet(servers, tmp_path_factory.mktemp("fleet"), gateways=(False, True)) as running:
        yield running


@pytest.mark.parametrize("what", ["rolling", "frozen"])
async def test_no_call_fails_and_nothing_is_lost(found: Fleet, what: str) -> None:
    wrong = await under_load(found, what, rate=RATE, seed=1, rounds=2, seconds=16, say=print)
    assert not wrong, "\n".join(wrong)
