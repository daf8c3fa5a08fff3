"""What the short forms attack, once for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.fuzz.target import Target, in_process
from tests.platform import Platform


@pytest_asyncio.fixture(scope="session")
async def fuzzed(platform: Platform) -> AsyncIterator[Target]:
    """The services in this process, with both doors and two organizations."""
    async with in_process(platform) as target:
        yield target
