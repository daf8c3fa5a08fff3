"""Connections to one service's PostgreSQL: a bounded pool that hands them on in the order of asking.

A slot is given back exactly once, whatever happens to the task that had it: a connection that is not idle
then, or whose task was cancelled, is closed, and the next one who takes the slot opens another.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import psycopg
from psycopg.adapt import Loader
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8Dumper

from chassis.kernel.refusals import Refused
from chassis.pipe import Pipe

PATIENCE_SECONDS = 5
OLDEST_SECONDS = 1800
CALL_OFF_SECONDS = 2.0
MOST_PREPARED = 500  # statements of a connection: lists are asked for in many ways
# A host that is gone without a word is noticed after some ten seconds, waited for or written to.
NOTICE: dict[str, Any] = {
    "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000,
}  # fmt: skip
# Nothing but the database is waited for inside a transaction: one that stands still for 3 s belongs to a
# process that is frozen or cut off, and others want its locks before their own 5 s are over.
OPTIONS = "-c timezone=UTC -c lock_timeout=2000 -c idle_in_transaction_session_timeout=3000"


def _driver_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise ValueError("a database URL begins with postgresql://")
    return f"postgresql://{rest}"


class _Json(Loader):
    """JSON as PostgreSQL writes it."""

    def load(self, data: Any) -> Any:
        return orjson.loads(data)


class _Slot:
    """A place in the pool, with a connection once somebody has needed it."""

    def __init__(self) -> None:
        self.pipe: Pipe | None = None
        self.born = 0.0

    async def opened(self, url: str) -> Pipe:
        """The connection, opened when there is none."""
        if self.pipe is None or self.pipe.driver.closed:
            driver = await psycopg.AsyncConnection.connect(
                url, autocommit=True, connect_timeout=5, prepare_threshold=0, options=OPTIONS, **NOTICE
            )
            # One integer width for every parameter: otherwise each size of number prepares a statement anew.
            driver.adapters.register_dumper(int, Int8Dumper)
            driver.adapters.register_loader("jsonb", _Json)
            driver.prepared_max = MOST_PREPARED
            self.pipe, self.born = Pipe(driver), time.monotonic()
        return self.pipe

    @property
    def worn(self) -> bool:
        """Whether the connection should not be lent again."""
        if self.pipe is None:
            return False
        old = time.monotonic() - self.born > OLDEST_SECONDS
        return old or self.pipe.prepared > MOST_PREPARED or not self.pipe.idle

    def taken(self) -> psycopg.AsyncConnection[Any] | None:
        """The connection, for its end: the slot has none from now on."""
        pipe, self.pipe = self.pipe, None
        return pipe.driver if pipe is not None else None


async def _call_off(driver: psycopg.AsyncConnection[Any]) -> None:
    """End a connection together with the statement under way on it."""
    try:
        with contextlib.suppress(psycopg.Error, OSError):
            await driver.cancel_safe(timeout=CALL_OFF_SECONDS)
    finally:
        await driver.close()


class Database:
    """A bounded pool of connections; a full one answers OVERLOADED, an absent server UNAVAILABLE."""

    def __init__(self, url: str, size: int = 10) -> None:
        self.url, self.size = url, size
        self._url = _driver_url(url)
        self._free = [_Slot() for _ in range(size)]  # the one used last is taken first
        self._waiting: deque[asyncio.Future[_Slot]] = deque()
        self._closed = False
        self._ending: set[asyncio.Task[None]] = set()  # connections whose statements are being called off

    @property
    def busy(self) -> int:
        """How many connections are lent."""
        return self.size - len(self._free)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection in autocommit mode; a broken one is thrown away, not given back."""
        async with self._lent() as slot:
            pipe = await self._open(slot)
            try:
                yield pipe.driver
            except psycopg.Error:
                # A pipeline that broke off may have lost what the driver believes to be prepared.
                await self._empty(slot)
                raise

    @asynccontextmanager
    async def pipe(self) -> AsyncIterator[Pipe]:
        """A connection whose statements go through a pipe; whoever has it ends its transaction."""
        async with self._lent() as slot:
            pipe = await self._open(slot)
            pipe.enter()
            try:
                yield pipe
            finally:
                if pipe.idle:
                    pipe.leave()

    async def _open(self, slot: _Slot) -> Pipe:
        try:
            return await slot.opened(self._url)
        except (psycopg.OperationalError, psycopg.InterfaceError, OSError):
            raise Refused("UNAVAILABLE", what="the database") from None

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[_Slot]:
        slot = self._free.pop() if self._free and not self._waiting else await self._next()
        try:
            yield slot
        except asyncio.CancelledError:
            await self._empty(slot)
            raise
        finally:
            try:
                if slot.worn or self._closed:
                    await self._empty(slot)
            finally:
                self._give(slot)

    async def _empty(self, slot: _Slot) -> None:
        """Close a slot's connection. What is still carried out there is called off: the server would go on
        with it, and hold its locks, until it had an answer for nobody."""
        driver = slot.taken()
        if driver is None:
            return
        if driver.closed or driver.info.transaction_status != TransactionStatus.ACTIVE:
            await driver.close()
            return
        ending = asyncio.create_task(_call_off(driver))  # the slot need not wait for it
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _next(self) -> _Slot:
        """Wait for a slot; first come, first served."""
        waiter: asyncio.Future[_Slot] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await waiter
        except (TimeoutError, asyncio.CancelledError) as gone:
            if waiter.done() and not waiter.cancelled():
                self._give(waiter.result())  # it came while we were leaving
            if isinstance(gone, TimeoutError):
                raise Refused("OVERLOADED", limit="all database connections are busy") from None
            raise

    def _give(self, slot: _Slot) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(slot)
                return
        self._free.append(slot)

    async def let_go(self) -> None:
        """Close every connection that is not lent; who needs one opens another."""
        for slot in list(self._free):
            await self._empty(slot)

    async def close(self) -> None:
        """Close every connection; one that is lent is closed when it comes back."""
        self._closed = True
        await self.let_go()
        if self._ending:
            await asyncio.wait(self._ending)


_NOBODYS_FAULT = (
    "40001", "40P01",  # in each other's way
    "55P03",  # a lock that was not given in time
)  # fmt: skip


def is_nobodys_fault(problem: BaseException) -> bool:
    """Whether what failed may succeed as it is, once there is room: nothing is wrong with what was asked."""
    if isinstance(problem, Refused):
        return problem.reason == "OVERLOADED" or is_away(problem)
    state = problem.sqlstate or "" if isinstance(problem, psycopg.Error) else ""
    return state in _NOBODYS_FAULT or state[:2] == "53" or is_away(problem)  # 53: disk, memory, connections


def is_away(problem: BaseException) -> bool:
    """Whether it says no more than that the database cannot be reached: what failed may be done again."""
    if isinstance(problem, ExceptionGroup):
        return all(is_away(one) for one in problem.exceptions)
    if isinstance(problem, Refused):
        return problem.reason == "UNAVAILABLE" and problem.facts.get("what") == "the database"
    # Of a connection that is lost there is no SQLSTATE, or one of the server's goodbye.
    gone = isinstance(problem, psycopg.OperationalError) and (problem.sqlstate or "57P01")[:3] == "57P"
    return gone or isinstance(problem, (psycopg.InterfaceError, ConnectionError))
