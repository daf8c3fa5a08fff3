"""What is done to a whole installation: schemas brought up to date, laws asked, facts checked."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg

from chassis import laws, migrate
from chassis.events import Consumer
from chassis.parked import Parked, parked, retry
from chassis.service import Runtime, Service
from stack import layout
from stack.running import NotPossible


def migrate_all(servers: layout.Servers) -> str:
    """Bring every database to this version; a few words on what was done."""
    applied = 0
    for process in layout.PROCESSES:
        applied += len(migrate.upgrade(layout.module_of(process), *servers.urls(process)))
    return f"{applied} applied" if applied else "nothing to do"


def service_of(process: str) -> Service:
    """The wiring of the service that is this process."""
    found: Service = importlib.import_module(f"{layout.module_of(process)}.service").SERVICE
    return found


async def _verdicts(servers: layout.Servers, process: str) -> list[laws.Verdict]:
    service = service_of(process)
    store = service.opened(layout.settings_of(process, servers.environment(process)), 2)
    try:
        return await laws.verify(layout.database_of(process), store, service.checks)
    finally:
        await store.database.close()


def verify_all(servers: layout.Servers) -> list[laws.Verdict]:
    """What every law of every service says now."""

    async def ask() -> list[laws.Verdict]:
        found = [await _verdicts(servers, process) for process in layout.PROCESSES]
        return [verdict for verdicts in found for verdict in verdicts]

    return asyncio.run(ask())


@asynccontextmanager
async def _consumer(servers: layout.Servers, process: str) -> AsyncIterator[Consumer]:
    """What applies events in a process, beside the process itself."""
    settings = layout.settings_of(process, servers.environment(process))
    runtime = Runtime(service_of(process), settings, None)
    try:
        yield runtime.consumer
    finally:
        await runtime.close()


def rebuild(servers: layout.Servers, process: str) -> None:
    """Empty a service's read models and send it back to the first fact; where it runs, it goes at once.

    Refused, before anything is emptied, where a source keeps its facts no longer from the first.
    """
    for source in layout.PROCESSES:
        with psycopg.connect(servers.urls(source)[0]) as db:
            row = db.execute("SELECT max(purged) FROM outbox_head").fetchone()
        if source != process and row and row[0]:
            raise NotPossible(
                f"{source} has let go of its first facts (TRADEWIND_OUTBOX_DAYS); {process} stays as it is."
            )

    async def empty() -> None:
        async with _consumer(servers, process) as consumer:
            await consumer.rebuild()

    asyncio.run(empty())


def parked_events(
    servers: layout.Servers, processes: Sequence[str], source: str, record: str, *, again: bool
) -> dict[str, tuple[int, list[Parked]]]:
    """By process: how many parked events were applied (*again* tries), and those that wait."""

    async def look() -> dict[str, tuple[int, list[Parked]]]:
        found = {}
        for process in processes:
            async with _consumer(servers, process) as consumer:
                if again:
                    found[process] = await retry(consumer, source, record)
                else:
                    found[process] = (0, await parked(consumer, source, record))
        return found

    return asyncio.run(look())
