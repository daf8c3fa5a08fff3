"""One organization that has a record of every kind."""

from __future__ import annotations

from typing import Any

import pytest_asyncio

from tests.platform import Platform
from tests.world import build


@pytest_asyncio.fixture(scope="session")
async def company(platform: Platform) -> tuple[dict[str, str], dict[str, Any]]:
    """The names of that organization's records, and its administrator at every service."""
    return await build(platform)
