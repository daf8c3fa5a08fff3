"""What a process measures when it is asked for its metrics: backlog, lag, sagas, laws, connections, itself.

Nothing is counted on the way of a call. One statement asks the database for all of it, at most once in
FRESH seconds however many ask; every replica of a service therefore says the same, but for what is about
the process itself.
"""

from __future__ import annotations

import asyncio
import os
import resource
import time
from typing import TYPE_CHECKING, Any

from chassis import telemetry
from chassis.kernel.refusals import Refused
from chassis.outbox import PARTS

if TYPE_CHECKING:
    from chassis.service import Runtime

FRESH = 5.0
PATIENCE = 2.0
STATES = ("RUNNING", "COMPENSATING", "STUCK")

OF_THE_SERVICE = {
    "tradewind_outbox_position": "Facts numbered so far, by partition.",
    "tradewind_outbox_unnumbered": "Committed facts that the sequencer has not numbered, by partition.",
    "tradewind_outbox_unpublished": "Numbered facts the broker has not acknowledged, by partition.",
    "tradewind_event_position": "How far the facts of a source were reacted to, by source and partition.",
    "tradewind_events_parked": "Events set aside after repeated failures, by source.",
    "tradewind_sagas": "Sagas that are not at their end, by type and state.",
    "tradewind_saga_oldest_seconds": "Age of the oldest saga under way, by type.",
    "tradewind_law_broken": "Rows that broke a conservation law when it was last asked, by law.",
    "tradewind_law_counted": "Rows a conservation law looked at when it was last asked, by law.",
    "tradewind_laws_asked_timestamp_seconds": "When the conservation laws were last asked, in Unix time.",
}
OF_THE_PROCESS = {
    "tradewind_database_answers": "1 when the database told what it was asked, else 0.",
    "tradewind_pool_connections": "Database connections, by state: busy, or limit.",
    "process_resident_memory_bytes": "Memory of the process.",
    "process_open_fds": "Open files and connections of the process.",
    "process_start_time_seconds": "When the process started, in Unix time.",
}
for _name, _sentence in (OF_THE_SERVICE | OF_THE_PROCESS).items():
    telemetry.METRICS.describe(_name, "gauge", _sentence)
telemetry.METRICS.describe("process_cpu_seconds_total", "counter", "CPU time of the process.")
_STARTED = time.time()


class Gauges:
    """The gauges of one running service."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._at = -FRESH
        self._turn = asyncio.Lock()

    async def collect(self) -> None:
        """Bring every gauge up to date; what cannot be known now is not said."""
        async with self._turn:
            if time.monotonic() - self._at < FRESH:
                return
            _of_the_process()
            self._begin()
            database = self._runtime.store.database
            telemetry.METRICS.set("tradewind_pool_connections", database.busy, state="busy")
            telemetry.METRICS.set("tradewind_pool_connections", database.size, state="limit")
            rows: list[Any] = []
            try:
                async with asyncio.timeout(PATIENCE):
                    rows = await self._ask()
            except (Refused, TimeoutError, OSError):
                pass
            except Exception:
                telemetry.log.exception("the gauges of the service cannot be read")
            telemetry.METRICS.set("tradewind_database_answers", float(bool(rows)))
            self._show(rows)
            self._at = time.monotonic()

    def _begin(self) -> None:
        """What has not happened yet is counted from nought: a first time would go unnoticed otherwise."""
        telemetry.METRICS.count("tradewind_events_published_total", 0)
        for source in self._runtime.consumer.sources:
            for name in ("tradewind_events_applied_total", "tradewind_events_parked_total"):
                telemetry.METRICS.count(name, 0, source=source)
            telemetry.METRICS.count("tradewind_event_gaps_total", 0, source=source)

    async def _ask(self) -> list[Any]:
        async with self._runtime.store.database.connection() as connection:
            cursor = await connection.execute("SELECT what, labels, value FROM measures()", prepare=True)
            return await cursor.fetchall()

    def _show(self, rows: list[Any]) -> None:
        """A value that has gone away is gone; what is there none of is nought."""
        for name in OF_THE_SERVICE:
            telemetry.METRICS.forget(name)
        if not rows:
            return
        for source in self._runtime.consumer.sources:
            telemetry.METRICS.set("tradewind_events_parked", 0, source=source)
            for part in range(PARTS):
                telemetry.METRICS.set("tradewind_event_position", 0, partition=str(part), source=source)
        for kind in self._runtime.sagas.kinds:
            telemetry.METRICS.set("tradewind_saga_oldest_seconds", 0, type=kind)
            for state in STATES:
                telemetry.METRICS.set("tradewind_sagas", 0, state=state, type=kind)
        for what, labels, value in rows:
            telemetry.METRICS.set(f"tradewind_{what}", value, **dict(sorted(labels.items())))


def _of_the_process() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    telemetry.METRICS.set("process_cpu_seconds_total", used.ru_utime + used.ru_stime)
    telemetry.METRICS.set("process_start_time_seconds", _STARTED)
    try:
        with open("/proc/self/statm") as statm:
            pages = int(statm.read().split()[1])
        telemetry.METRICS.set("process_resident_memory_bytes", pages * resource.getpagesize())
        telemetry.METRICS.set("process_open_fds", len(os.listdir("/proc/self/fd")))
    except OSError:
        telemetry.METRICS.forget("process_open_fds")  # not Linux
