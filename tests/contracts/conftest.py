"""One organization that has a record of every kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest_asyncio


@pytest_asyncio.fixture
async def company(
    canary_world: tuple[dict[str, str], dict[str, Any]],
) -> tuple[dict[str, str], dict[str, Any]]:
    """The names of that organization's records, and its administrator at every service, with new tokens."""
    names, at = canary_world
    return names, {
        service: replace(caller, token=caller.service.signer.mint(caller.who, 120))
        for service, caller in at.items()
    }
