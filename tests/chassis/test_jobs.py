"""Work because time passes: every organization for itself, one process at a time."""

from __future__ import annotations

import asyncio
from types import ModuleType

import pytest

from chassis.call import Call, new_id
from chassis.database import Database
from chassis.events import Consumer
from chassis.jobs import Jobs, every
from chassis.store import Tx
from tests.chassis.notes import Note, NoteStore


async def known(notes: NoteStore, count: int) -> list[str]:
    """Organizations that have something here, in the order in which jobs go through them."""
    found = sorted(new_id() for _ in range(count))
    for tenant in found:
        async with notes.begin(Call(tenant=tenant, user="users/a")) as tx:
            tx.put(NoteStore.places, key={"shelf": "a"}, values={"holds": "x"})
    return found


async def test_what_fails_in_one_organization_is_done_in_the_others(notes: NoteStore) -> None:
    first, second, third = await known(notes, 3)
    done: list[str] = []

    async def tidy(tx: Tx) -> None:
        if tx.call.tenant == second:
            raise ValueError("this one is beyond us")
        tx.add(Note(id=new_id(), title="tidy"))
        done.append(tx.call.tenant)

    with pytest.raises(ExceptionGroup, match="tidy") as failed:
        await Jobs("notes", notes, None, None).carry_out(tidy)
    assert [str(problem) for problem in failed.value.exceptions] == ["this one is beyond us"]
    assert {first, third} <= set(done)


async def test_a_job_belongs_to_one_process_until_it_is_done(notes: NoteStore) -> None:
    await known(notes, 1)
    one, other = (Jobs("notes", notes, None, None) for _ in range(2))
    async with notes.database.connection() as connection:
        await connection.execute("INSERT INTO jobs (name) VALUES ('brief') ON CONFLICT DO NOTHING")
    assert await one._claim("brief") is True
    assert await other._claim("brief") is False  # still due, but under way
    await one._done("brief", 0)
    assert await other._claim("brief") is True
    await other._done("brief", 3600)
    assert await one._claim("brief") is False  # done: not due for an hour


async def test_a_long_job_keeps_no_other_waiting(notes: NoteStore) -> None:
    await known(notes, 1)
    ended, done = asyncio.Event(), asyncio.Event()

    @every(seconds=1)
    async def lengthy(tx: Tx) -> None:
        await ended.wait()

    @every(seconds=1)
    async def quick(tx: Tx) -> None:
        done.set()

    jobs = Jobs("notes", notes, None, None)
    jobs.also(lengthy)
    jobs.also(quick)
    running = asyncio.create_task(jobs.run())
    async with asyncio.timeout(30):
        await done.wait()
    ended.set()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_job_that_a_stopping_process_breaks_off_is_another_s_at_once(notes: NoteStore) -> None:
    await known(notes, 1)
    begun, finished = asyncio.Event(), asyncio.Event()

    @every(hours=24)
    async def lengthy(tx: Tx) -> None:
        begun.set()
        await asyncio.sleep(60)

    @every(hours=24)
    async def short(tx: Tx) -> None:
        finished.set()

    first, second = ModuleType("jobs"), ModuleType("jobs")
    first.overnight, second.overnight = lengthy, short  # type: ignore[attr-defined]
    stopping = asyncio.create_task(Jobs("notes", notes, first, None).run())
    await asyncio.wait_for(begun.wait(), 20)
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    going = asyncio.create_task(Jobs("notes", notes, second, None).run())
    await asyncio.wait_for(finished.wait(), 20)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)


async def test_a_job_that_a_killed_process_left_half_done_stays_due(notes: NoteStore) -> None:
    killed, other = (Jobs("notes", notes, None, None) for _ in range(2))
    async with notes.database.connection() as connection:
        await connection.execute("INSERT INTO jobs (name) VALUES ('nightly') ON CONFLICT DO NOTHING")
    assert await killed._claim("nightly") is True
    async with notes.database.connection() as connection:
        await connection.execute("UPDATE jobs SET lease_until = clock_timestamp() WHERE name = 'nightly'")
    assert await other._claim("nightly") is True


async def test_jobs_and_reactions_begin_when_the_database_comes_back(
    notes: NoteStore, notes_urls: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    ran = asyncio.Event()

    @every(hours=1)
    async def soon(tx: Tx) -> None:
        ran.set()

    await known(notes, 1)
    module = ModuleType("jobs")
    module.soon = soon  # type: ignore[attr-defined]
    away = Database(notes_urls[1].rpartition("/")[0] + "/nowhere", 2)
    store = NoteStore(away)
    jobs = asyncio.create_task(Jobs("notes", store, module, None).run())
    consumer = asyncio.create_task(Consumer("notes", store, None, None).run(None))
    try:
        await asyncio.sleep(2.5)  # it is looked for more than once
        assert not jobs.done()
        said = [one for one in caplog.records if one.name == "chassis.jobs"]
        assert [(one.levelname, one.exc_info) for one in said] == [("WARNING", None)], said
        assert not (consumer.done() and consumer.exception())
        store.database = notes.database
        await asyncio.wait_for(ran.wait(), 20)
    finally:
        jobs.cancel()
        consumer.cancel()
        await asyncio.gather(jobs, consumer, return_exceptions=True)
        await away.close()
