"""One organization that has a record of every kind."""

from __future__ import annotations

from typing import Any

import pytest_asyncio


@pytest_asyncio.fixture
async def company(
    canary_world: tuple[dict[str, str], dict[str, Any]],
) -> tuple[dict[str, str], dict[str, Any]]:
    """The names of that organization's records, and its administrator at every service."""
    return canary_world
