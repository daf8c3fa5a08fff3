"""Statements asked together, and the pool that lends the connections they go through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio

from chassis import database
from chassis.database import Database
from chassis.kernel.refusals import Refused


@pytest_asyncio.fixture
async def two(notes_urls: tuple[str, str]) -> AsyncIterator[Database]:
    """A pool of two connections."""
    found = Database(notes_urls[1], 2)
    yield found
    await found.close()


async def test_answers_come_in_the_order_of_asking(two: Database) -> None:
    async with two.pipe() as pipe:
        asked = [pipe.ask("SELECT %s::bigint AS n, %s::text AS t", (n, None)) for n in range(50)]
        assert [await each.rows() for each in reversed(asked)] == [[(n, None)] for n in reversed(range(50))]
        assert await pipe.ask("SELECT 1 AS a, 'x' AS b WHERE %s", (True,)).mappings() == [{"a": 1, "b": "x"}]


async def test_a_statement_is_prepared_once_whatever_is_null_in_it(two: Database) -> None:
    async with two.pipe() as pipe:
        for value in (None, "a", None, 7):
            await pipe.ask("SELECT %s::text, '100%%'", (value,)).rows()
        assert pipe.prepared == 2  # for a text and for a number
        assert await pipe.ask("SELECT %s::text, '100%%'", (None,)).rows() == [(None, "100%")]


async def test_an_error_is_told_to_all_that_were_asked_behind_it_and_spoils_nothing(two: Database) -> None:
    async with two.pipe() as pipe:
        pipe.ask("BEGIN")
        before, wrong, after = pipe.ask("SELECT 1"), pipe.ask("SELECT 1 / %s", (0,)), pipe.ask("SELECT 3")
        with pytest.raises(psycopg.errors.DivisionByZero):
            await before.rows()  # whoever waits first hears of it
        assert await before.rows() == [(1,)]
        for each in (wrong, after):
            with pytest.raises(psycopg.errors.DivisionByZero):
                await each.rows()
        await pipe.rollback()
        assert await pipe.ask("SELECT 3").rows() == [(3,)]  # its preparation was skipped behind the error
        backend = await pipe.ask("SELECT pg_backend_pid()").rows()
    async with two.pipe() as pipe:
        assert await pipe.ask("SELECT pg_backend_pid()").rows() == backend


async def test_statements_that_were_deallocated_are_prepared_again(two: Database) -> None:
    async with two.pipe() as pipe:
        assert await pipe.ask("SELECT 1").rows() == [(1,)]
        await pipe.ask("DEALLOCATE ALL").rows()
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            await pipe.ask("SELECT 1").rows()
        assert await pipe.ask("SELECT 1").rows() == [(1,)]


async def test_a_connection_that_is_not_idle_is_not_lent_again(two: Database) -> None:
    async with two.pipe() as pipe:
        await pipe.ask("BEGIN").rows()
        first = await pipe.ask("SELECT pg_backend_pid()").rows()
    with pytest.raises(asyncio.CancelledError):
        async with two.pipe() as pipe:
            second = await pipe.ask("SELECT pg_backend_pid()").rows()
            raise asyncio.CancelledError
    async with two.pipe() as pipe:
        assert await pipe.ask("SELECT pg_backend_pid()").rows() not in (first, second)


async def test_no_connection_is_lost_when_those_who_wait_leave(two: Database) -> None:
    async def use(seconds: float) -> None:
        async with two.pipe() as pipe:
            await pipe.ask("SELECT pg_sleep(%s)", (seconds,)).rows()

    for again in range(20):
        tasks = [asyncio.create_task(use(0.01)) for _ in range(8)]
        await asyncio.sleep(0.002 * again)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert two.busy == 0


async def test_whoever_leaves_early_takes_the_statement_along(
    two: Database, notes_urls: tuple[str, str]
) -> None:
    async def stay() -> None:
        async with two.pipe() as pipe:
            await pipe.ask("SELECT pg_sleep(60), 'nobody waits for this'").rows()

    async with await psycopg.AsyncConnection.connect(notes_urls[1], autocommit=True) as watcher:

        async def until(running: int) -> None:
            while True:
                found = await watcher.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%nobody waits%'"
                    " AND state = 'active' AND pid <> pg_backend_pid()"
                )
                if await found.fetchone() == (running,):
                    return
                await asyncio.sleep(0.01)

        task = asyncio.create_task(stay())
        async with asyncio.timeout(20):
            await until(1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert two.busy == 0
            await until(0)


async def test_who_waits_longest_is_served_first(two: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[int] = []

    async def use(number: int) -> None:
        async with two.pipe():
            served.append(number)
            await asyncio.sleep(0)

    async with two.pipe(), two.pipe():
        pass  # both are open
    await asyncio.gather(*map(use, range(10)))
    assert served == list(range(10))
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 0.05)
    async with two.pipe(), two.pipe():
        with pytest.raises(Refused, match="busy"):
            await use(11)
    await use(12)
