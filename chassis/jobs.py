"""What happens because time passes: one process at a time, one transaction per organization."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from chassis.call import Call, new_id
from chassis.database import is_away
from chassis.store import Store

if TYPE_CHECKING:
    from chassis.clients import Clients

log = logging.getLogger(__name__)
Job = Callable[..., Awaitable[None]]  # of a transaction; or, alone, of the store and the call
LEASE_SECONDS = 60
AT_ONCE = 3  # jobs of one process: a long one keeps none of those waiting that are due every second


def every(
    *, seconds: float = 0, minutes: float = 0, hours: float = 0, alone: bool = False
) -> Callable[[Job], Job]:
    """Marks a function of `jobs.py` to be run that often, in one transaction per organization.

    One that works *alone* is given the store and the call instead, and begins its own transactions: it has
    many, or asks other services between them.
    """

    def mark(function: Job) -> Job:
        function.period = seconds + 60 * minutes + 3600 * hours  # type: ignore[attr-defined]
        function.alone = alone  # type: ignore[attr-defined]
        return function

    return mark


class Jobs:
    """Runs the jobs of one service; a lease in the database keeps two processes apart."""

    def __init__(
        self,
        service: str,
        store: Store,
        module: ModuleType | None,
        clients: Clients | None,
        outbox_days: int = 0,
    ) -> None:
        self.chores = {
            "forget_answers": "SELECT forget_answers('7 days')",
            "forget_checkpoints": "SELECT forget_checkpoints()",
        }
        if outbox_days:
            self.chores["purge_outbox"] = f"SELECT outbox_purge('{outbox_days} days')"
        self.service, self.store, self.clients = service, store, clients
        found = vars(module).items() if module else ()
        self.jobs: dict[str, Any] = {name: job for name, job in found if hasattr(job, "period")}
        self._away = False  # whether the database was, when it was last asked
        self._listed: set[str] = set()  # those known to have their row
        self.who = f"{socket.gethostname()}/{os.getpid()}/{new_id()[-6:]}"

    def also(self, job: Job) -> None:
        """One more, which the chassis has for every service that needs it."""
        self.jobs[getattr(job, "__name__", "job")] = job

    async def run(self) -> None:
        """Look every second for what is due, until cancelled."""
        places = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for name, job in self.jobs.items():
                group.create_task(self._again(places, name, job.period, partial(self.carry_out, job)))
            for chore in self.chores:
                group.create_task(self._again(places, chore, 3600, partial(self.tidy, chore)))

    async def _again(
        self, places: asyncio.Semaphore, name: str, period: float, work: Callable[[], Awaitable[Any]]
    ) -> None:
        while True:
            try:
                async with places:
                    await self._try(name, period, work)
                self._away = False
            except _Away as problem:
                if not self._away:  # said once, however long it lasts
                    log.warning("jobs wait: %s", problem)
                self._away = True
            await asyncio.sleep(1)

    async def _try(self, name: str, period: float, work: Callable[[], Awaitable[Any]]) -> None:
        """One turn; what fails is said; raises _Away where the database is."""
        try:
            await self.turn(name, period, work)
        except Exception as problem:
            if is_away(problem):
                raise _Away(problem) from None
            log.exception("%s failed; it runs again when it is due", name)

    async def turn(self, name: str, period: float, work: Callable[[], Awaitable[Any]]) -> None:
        """Carry *work* out where it is due, *period* seconds after the last time in any process.

        What a stopping process breaks off stays due, for another.
        """
        if not await self._claim(name):
            return
        again, holding = period, asyncio.create_task(self._keep(name))
        try:
            await work()
        except asyncio.CancelledError:
            again = 0.0
            raise
        finally:
            holding.cancel()
            await asyncio.shield(self._done(name, again))

    async def tidy(self, chore: str) -> int:
        """Let go of what is older than it is kept, piece by piece; how many rows that were."""
        total = 0
        async with self.store.database.connection() as connection:
            while True:
                row = await (await connection.execute(self.chores[chore])).fetchone()
                if not row or not row[0]:
                    return total
                total += row[0]

    async def _claim(self, name: str) -> bool:
        """Hold the lease, if the job is due and nobody else does it.

        It stays due until it is done: what a killed process left half done begins again when its lease ends.
        """
        async with self.store.database.connection() as connection:
            if name not in self._listed:
                await connection.execute(
                    "INSERT INTO jobs (name) VALUES (%s) ON CONFLICT DO NOTHING", (name,)
                )
                self._listed.add(name)
            cursor = await connection.execute(
                "UPDATE jobs SET owner = %s, lease_until = clock_timestamp() + make_interval(secs => %s)"
                " WHERE name = %s AND next_at <= clock_timestamp()"
                " AND (lease_until IS NULL OR lease_until < clock_timestamp() OR owner = %s) RETURNING 1",
                (self.who, float(LEASE_SECONDS), name, self.who),
            )  # fmt: skip
            return await cursor.fetchone() is not None

    async def _keep(self, name: str) -> None:
        """Hold the lease for as long as the work takes, until cancelled."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                await self._hold(name)
            except Exception as problem:
                log.info("the lease of the job %s is not held on: %s", name, problem)

    async def _hold(self, name: str) -> None:
        """The lease counts anew."""
        async with self.store.database.connection() as connection:
            await connection.execute(
                "UPDATE jobs SET lease_until = clock_timestamp() + make_interval(secs => %s)"
                " WHERE name = %s AND owner = %s", (float(LEASE_SECONDS), name, self.who),
            )  # fmt: skip

    async def _done(self, name: str, again: float) -> None:
        """Give the lease back; the job is due *again* after so many seconds."""
        async with self.store.database.connection() as connection:
            await connection.execute(
                "UPDATE jobs SET lease_until = NULL, next_at = clock_timestamp() + make_interval(secs => %s)"
                " WHERE name = %s AND owner = %s", (float(again), name, self.who),
            )  # fmt: skip

    async def carry_out(self, job: Job) -> None:
        """Run a job once, for every organization; where it fails in one, the others have their turn."""
        name = getattr(job, "__name__", "job")
        problems: list[Exception] = []
        for organization in await organizations(self.store):
            call = Call(
                tenant=organization, user=f"services/{self.service}", cause=f"job:{name}",
                deadline=time.monotonic() + LEASE_SECONDS, clients=self.clients,
            )  # fmt: skip
            try:
                if getattr(job, "alone", False):
                    await job(self.store, call)
                    continue
                async with self.store.begin(call) as tx:
                    await job(tx)
            except Exception as problem:
                problem.add_note(f"in the organization {organization}")
                problems.append(problem)
        if problems:
            raise ExceptionGroup(f"{name} failed", problems)


class _Away(Exception):
    """The database cannot be reached."""


async def organizations(store: Store) -> list[str]:
    """The organizations that have ever changed something in this service."""
    async with store.database.connection() as connection:
        cursor = await connection.execute("SELECT id::text FROM tenants ORDER BY id")
        return [row[0] for row in await cursor.fetchall()]
