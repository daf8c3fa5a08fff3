"""Whether every service has heard all there is to hear, and how they hear it without `tradewind up`."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

import psycopg

from chassis.events import reactions_of
from chassis.outbox import PARTS
from chassis.service import Runtime, Service
from stack import layout
from stack.running import NotPossible

QUIET_FOR = 120.0  # seconds without any progress: somebody has to look
Cursor = tuple[str, int]  # epoch, position


def service_of(process: str) -> Service:
    """The wiring of a process."""
    found: Service = importlib.import_module(f"{layout.module_of(process)}.service").SERVICE
    return found


def sources_of(process: str) -> list[str]:
    """The services whose facts a process reacts to."""
    return sorted({name.split(".")[1] for name in reactions_of(service_of(process).reactions)})


def cursors(servers: layout.Servers, process: str) -> dict[tuple[str, int], Cursor]:
    """By source and partition, how far a process got."""
    with psycopg.connect(servers.urls(process)[0]) as db:
        rows = db.execute("SELECT source, part, epoch::text, pos FROM event_cursor").fetchall()
    return {(source, part): (epoch, pos) for source, part, epoch, pos in rows}


def heads(servers: layout.Servers, process: str) -> dict[int, tuple[str, int, int]]:
    """By partition, the present epoch, the last position and how many facts wait for theirs."""
    with psycopg.connect(servers.urls(process)[0]) as db:
        rows = db.execute(
            "SELECT h.part, h.epoch::text, h.pos,"
            " (SELECT count(*) FROM outbox o WHERE o.part = h.part AND o.pos IS NULL) FROM outbox_head h"
        ).fetchall()
    return {part: (epoch, pos, waiting) for part, epoch, pos, waiting in rows}


def behind(servers: layout.Servers) -> dict[tuple[str, str], int]:
    """(who, of whom) → how many facts were told and not heard yet; a new epoch not yet met counts, too."""
    told = {layout.database_of(process): heads(servers, process) for process in layout.PROCESSES}
    found: dict[tuple[str, str], int] = {}
    for process in layout.PROCESSES:
        at = cursors(servers, process)
        for source in sources_of(process):
            missing = 0
            for part, (epoch, pos, waiting) in told[source].items():
                known, reached = at.get((source, part), (epoch, 0))
                missing += waiting + (pos - reached if known == epoch else pos + 1)
            if missing:
                found[layout.database_of(process), source] = missing
    return found


def wait(servers: layout.Servers, tell: Callable[[str], None]) -> None:
    """Until the running services have heard everything."""
    since, last = time.monotonic(), -1
    while missing := behind(servers):
        total = sum(missing.values())
        tell(f"{total:,} facts to go")
        if total != last:
            since, last = time.monotonic(), total
        elif time.monotonic() - since > QUIET_FOR:
            who = ", ".join(f"{who} of {source}" for who, source in sorted(missing))
            raise NotPossible(
                f"Not everything was heard ({who}); logs say why, `tradewind restore --report` tells later."
            )
        time.sleep(0.5)


def here(servers: layout.Servers, tell: Callable[[str], None]) -> None:
    """Run every service in this process, without broker or gateway door, until all is heard and done."""
    servers.choose_ports()
    asyncio.run(_settle(servers, tell))


async def _settle(servers: layout.Servers, tell: Callable[[str], None]) -> None:
    async with AsyncExitStack() as stack:
        runtimes: list[Runtime] = []
        for process in layout.PROCESSES:
            settings = layout.settings_of(process, servers.environment(process))
            running = service_of(process).running(settings, background=False)
            runtimes.append((await stack.enter_async_context(running))[0])
        quiet, since = 0, time.monotonic()
        while quiet < 2:
            moved = sum([await _step(runtime) for runtime in runtimes])
            for runtime in runtimes:
                await _sagas(runtime)
            left = sum(len(under_way(servers, process)) for process in layout.PROCESSES)
            since = time.monotonic() if moved else since
            if time.monotonic() - since > QUIET_FOR:
                raise NotPossible(f"{left} sagas come to no end; `tradewind up` goes on with them.")
            quiet = 0 if moved or left else quiet + 1
            tell(f"{moved:,} facts heard")
            if left and not moved:
                await asyncio.sleep(0.5)


async def _step(runtime: Runtime) -> int:
    """Number what is new here and hear what is new elsewhere; how many facts that were."""
    while await runtime.relay.step():
        pass
    consumer = runtime.consumer
    moved = 0
    for source in consumer.sources:
        for part in range(PARTS):
            moved += await consumer.catch_up(source, part)
    return moved


async def _sagas(runtime: Runtime) -> None:
    """Take on what is due."""
    async with runtime.store.database.connection() as connection:
        due = await (await connection.execute("SELECT tenant_id, id FROM sagas_due(100)")).fetchall()
    for tenant, saga in due:
        await runtime.sagas.advance(tenant, saga)


def under_way(servers: layout.Servers, process: str) -> dict[str, tuple[str, str]]:
    """The sagas of a process that have not come to an end: id → (type, record)."""
    with psycopg.connect(servers.urls(process)[0]) as db:
        rows = db.execute(
            "SELECT id, type, record FROM sagas WHERE state IN ('RUNNING', 'COMPENSATING')"
        ).fetchall()
    return {id: (kind, record) for id, kind, record in rows}


def saga_state(servers: layout.Servers, process: str, saga: str) -> str:
    """Where a saga of a process stands."""
    with psycopg.connect(servers.urls(process)[0]) as db:
        row = db.execute("SELECT state FROM sagas WHERE id = %s", [saga]).fetchone()
    return str(row[0]) if row else "nothing"
