"""Fixtures every test may use; see tests/README.md."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

from tests.canaries import CANARIES
from tests.platform import Platform, Running
from tests.servers import Servers, running
from tests.world import build

# The same examples every time, however slow the machine is; `--hypothesis-profile default` looks for others.
settings.register_profile(
    "same", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """One PostgreSQL and one NATS for the whole session."""
    with running() as found:
        yield found


@pytest_asyncio.fixture(scope="session")
async def platform(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """The services of this session, started on first use."""
    found = Platform(servers, tmp_path_factory.mktemp("home"))
    yield found
    await found.exit.aclose()


@pytest_asyncio.fixture(scope="session")
async def customer(platform: Platform) -> Running:
    """The customer service."""
    return await platform.service("customer")


@pytest_asyncio.fixture(scope="session")
async def opportunity(platform: Platform) -> Running:
    """The opportunity service."""
    return await platform.service("opportunity")


@pytest_asyncio.fixture(scope="session")
async def contract(platform: Platform) -> Running:
    """The contract service."""
    return await platform.service("contract")


@pytest_asyncio.fixture(scope="session")
async def inventory(platform: Platform) -> Running:
    """The inventory service."""
    return await platform.service("inventory")


@pytest_asyncio.fixture(scope="session")
async def analytics(platform: Platform) -> Running:
    """The analytics service."""
    return await platform.service("analytics")


@pytest_asyncio.fixture(scope="session")
async def access(platform: Platform) -> Running:
    """The gateway's own service: users, teams, roles, sessions."""
    return await platform.service("access")


@pytest_asyncio.fixture(scope="session")
async def canary_world(platform: Platform) -> tuple[dict[str, str], dict[str, Any]]:
    """An organization with a record of every kind, and in all their texts a word for nobody else."""
    word = f"Canary{uuid4().hex}"
    names, at = await build(platform, mark=word)
    CANARIES.plant(word, names["organizations"].rpartition("/")[2])
    return names, at


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data sets; tests that need it are skipped where it is absent."""
    found = Path(os.environ.get("TRADEWIND_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not found.is_dir():
        pytest.skip("needs the real data sets: set TRADEWIND_DATA to their folder")
    return found


SERVICES = ("access", "customer", "opportunity", "contract", "inventory", "analytics")


def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Tests marked `last` come last, and know whether everything else ran before them."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)
    folders = {Path(item.path).parent.name for item in items}
    session.config.stash[WHOLE] = set(SERVICES) <= folders
    session.config.stash[WATCHED] = session.config.stash[WHOLE] or {"chassis", "fuzz"} <= folders
    if session.config.stash[WATCHED]:  # planted first, so that all the others are watched
        cast(pytest.Function, items[0]).fixturenames.insert(0, "canary_world")


WHOLE: pytest.StashKey[bool] = pytest.StashKey()
WATCHED: pytest.StashKey[bool] = pytest.StashKey()


@pytest.fixture
def whole_suite(pytestconfig: pytest.Config) -> None:
    """For tests that judge what all tests of the nouns and of who may do what have done."""
    if not pytestconfig.stash[WHOLE] or pytestconfig.option.keyword:
        pytest.skip("only part of the suite runs")


@pytest.fixture
def watched_suite(pytestconfig: pytest.Config) -> None:
    """For tests that judge what this session's organizations were told of another."""
    if not pytestconfig.stash[WATCHED] or pytestconfig.option.keyword:
        pytest.skip("only part of the suite runs")
