"""A provider that runs, an organization that trusts it, and a browser between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.access.conftest import Person, make_company
from tests.access.doors import Doors
from tests.access.identity.browser import Browser, known, person
from tests.access.provider import Provider, running_provider
from tests.platform import Running


@pytest.fixture(scope="package")
def running() -> Iterator[Provider]:
    with running_provider() as found:
        yield found


@pytest.fixture
def provider(running: Provider) -> Provider:
    """The provider, as good as new."""
    running.reset()
    running.person = person()
    return running


@pytest_asyncio.fixture(scope="package")
async def boss(access: Running) -> Person:
    """The administrator of the organization that most of these tests share."""
    return await (await make_company(access)).administrator()


@pytest_asyncio.fixture(scope="package")
async def trusted(boss: Person, running: Provider) -> str:
    """The provider, as that organization knows it."""
    return await known(boss, running)


@pytest_asyncio.fixture
async def browser(doors: Doors, trusted: str, provider: Provider) -> AsyncIterator[Browser]:
    found = Browser(doors, trusted)
    yield found
    await found.client.aclose()
