"""A store without a service around it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio

from chassis import migrate
from chassis.database import Database
from tests.chassis.notes import NoteStore
from tests.servers import Servers


@pytest.fixture(scope="session")
def notes_urls(servers: Servers) -> tuple[str, str]:
    """The owner's and the role's way into the database of the notes."""
    urls = servers.database("notes")
    migrate.upgrade("tests.chassis.notes", *urls)
    return urls


@pytest_asyncio.fixture(scope="session")
async def notes(notes_urls: tuple[str, str]) -> AsyncIterator[NoteStore]:
    """The store, on the real PostgreSQL."""
    store = NoteStore(Database(notes_urls[1], 10))
    yield store
    await store.database.close()


@pytest.fixture
def below(notes_urls: tuple[str, str]) -> object:
    """Asks the tables themselves, of all organizations."""

    def ask(sql: str, *params: object) -> list[tuple[object, ...]]:
        with psycopg.connect(notes_urls[0]) as db:
            return db.execute(sql, params).fetchall()

    return ask
