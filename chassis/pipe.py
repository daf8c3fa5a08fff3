"""Statements of one connection in PostgreSQL's pipeline: asked one after another, answered in one round trip.

psycopg's own pipeline sends and waits around every statement, and forgets what it has prepared at a ROLLBACK;
here statements pile up until somebody wants an answer, and stay prepared as long as the connection lives.
psycopg still connects, converts values and names errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import errors, pq
from psycopg.adapt import PyFormat, Transformer

_FAILED = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.PIPELINE_ABORTED, pq.ExecStatus.BAD_RESPONSE)


class Asked:
    """A statement on its way."""

    __slots__ = ("_pipe", "error", "result")

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self.result: Any = None
        self.error: psycopg.Error | None = None  # its own, or of what was asked before it

    async def rows(self) -> list[tuple[Any, ...]]:
        """Its rows; raises the first error of what was asked together with it."""
        return self._pipe.load(await self._answer(), tuple)

    async def mappings(self) -> list[dict[str, Any]]:
        """Its rows by column name."""
        result = await self._answer()
        names = [result.fname(at).decode() for at in range(result.nfields)]
        return [dict(zip(names, row, strict=True)) for row in self._pipe.load(result, tuple)]

    async def count(self) -> int:
        """How many rows it touched."""
        return (await self._answer()).command_tuples or 0

    async def _answer(self) -> Any:
        if self.result is None:
            await self._pipe.settle()
        if self.error is not None:
            raise self.error
        return self.result


class Pipe:
    """The statements of one connection; see the module. Not for two tasks at once."""

    def __init__(self, driver: psycopg.AsyncConnection[Any]) -> None:
        self.driver = driver
        self._connection = driver.pgconn
        self._values = Transformer(driver)
        # statement → its prepared forms: the types of its parameters, and what the server calls it
        self._prepared: dict[bytes, list[tuple[tuple[int, ...], bytes]]] = {}
        self.prepared = 0  # so many, ever
        self._due: deque[Asked | Callable[[bool], None]] = deque()  # whose results are still to come

    def enter(self) -> None:
        """From now on statements go through here, and none through psycopg."""
        self._connection.enter_pipeline_mode()

    def leave(self) -> None:
        """Give the connection back to psycopg; nothing is on its way."""
        self._connection.exit_pipeline_mode()

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way and no transaction is open."""
        quiet = self._connection.transaction_status == pq.TransactionStatus.IDLE
        return not self._due and quiet and not self.driver.closed

    def ask(self, statement: str, params: Sequence[Any] = ()) -> Asked:
        """Put a statement (with %s for parameters) behind those asked before; nothing is waited for."""
        values: Sequence[Any] = ()
        types: tuple[int, ...] = ()
        formats: Sequence[Any] = ()
        if params:
            values = self._values.dump_sequence(params, [PyFormat.AUTO] * len(params))
            types, formats = self._values.types or (), self._values.formats or ()
        name = self._name(_numbered(statement), types, values)
        self._connection.send_query_prepared(name, values, formats)
        asked = Asked(self)
        self._due.append(asked)
        return asked

    def _name(self, text: bytes, types: tuple[int, ...], values: Sequence[Any]) -> bytes:
        """What the server calls the statement, prepared now if it is not yet; a NULL is of any type."""
        forms = self._prepared.setdefault(text, [])
        for known, name in forms:
            if known == types or all(
                a == b or value is None for a, b, value in zip(types, known, values, strict=True)
            ):
                return name
        name = b"tw%d" % self.prepared
        self.prepared += 1
        form = (types, name)
        forms.append(form)
        self._connection.send_prepare(name, text, types)
        self._due.append(lambda well: None if well else forms.remove(form))
        return name

    async def settle(self) -> None:
        """Wait for the answers to everything asked so far; raises the first error among them."""
        if not self._due:
            return
        self._connection.pipeline_sync()
        first: psycopg.Error | None = None
        while self._due:
            result = await self._next()
            asked = self._due.popleft()
            failed = result.status in _FAILED
            if failed and first is None:
                first = errors.error_from_result(result, self._connection._encoding)
            if isinstance(asked, Asked):
                asked.result, asked.error = result, first if failed else None
            else:
                asked(not failed)
        await self._fetch()  # the end of the batch
        if isinstance(first, errors.InvalidSqlStatementName):
            self._prepared.clear()  # somebody deallocated them: asked again, they are prepared again
        if first is not None:
            raise first

    async def _next(self) -> Any:
        """The result of the next statement: the last before the mark that ends it."""
        found = await self._fetch()
        if found is None:  # nothing more will come of what was asked
            raise psycopg.OperationalError("the connection to the database is lost")
        while (more := await self._fetch()) is not None:
            found = more
        return found

    async def _fetch(self) -> Any:
        connection = self._connection
        while connection.is_busy():
            await self._wait(connection.flush())
            connection.consume_input()
        return connection.get_result()

    async def _wait(self, unsent: int) -> None:
        loop, socket = asyncio.get_running_loop(), self._connection.socket
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(socket, _tell, ready)
        if unsent:
            loop.add_writer(socket, _tell, ready)
        try:
            await ready
        finally:
            loop.remove_reader(socket)
            if unsent:
                loop.remove_writer(socket)

    def load(self, result: Any, make_row: Any) -> list[Any]:
        """The rows of a result as Python values."""
        if result.status != pq.ExecStatus.TUPLES_OK:
            return []
        self._values.set_pgresult(result)
        found: list[Any] = self._values.load_rows(0, result.ntuples, make_row)
        return found

    async def rollback(self) -> None:
        """Take back the open transaction, whatever is on its way or has failed."""
        with contextlib.suppress(psycopg.Error):  # it has been said, or nobody waits for it any more
            await self.settle()
        # Of a connection that is lost the server takes it back by itself; it is not idle, nor lent again.
        with contextlib.suppress(psycopg.OperationalError):
            self.ask("ROLLBACK")
            await self.settle()


def _tell(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


@lru_cache(maxsize=4096)
def _numbered(statement: str) -> bytes:
    """With $1, $2, … for each %s, as PostgreSQL numbers them."""
    number = 0

    def slot(found: re.Match[str]) -> str:
        nonlocal number
        if found[0] == "%%":
            return "%"
        number += 1
        return f"${number}"

    return re.sub(r"%[%s]", slot, statement).encode()
