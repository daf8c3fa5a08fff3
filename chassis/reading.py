"""What a transaction reads: asked for ahead, limited to what the call reaches, and remembered.

What was read once stands: a later read gives the same record, with what was changed since.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import dialect as PsycopgDialect

from chassis.call import Call
from chassis.kernel.record import Record, replace
from chassis.kernel.refusals import Refused
from chassis.personal.seals import Seals
from chassis.pipe import Asked, Pipe
from chassis.tables import Collection, quoted
from chassis.writes import Writes

if TYPE_CHECKING:
    from chassis.store import Store

R = TypeVar("R", bound=Record)
T = TypeVar("T")
Where = tuple[str, list[Any]]  # SQL text and its parameters
_DIALECT: Any = PsycopgDialect()  # type: ignore[no-untyped-call]


class Ahead(Generic[T]):
    """A read on its way since it was asked for: await it when it is needed, after asking for others."""

    __slots__ = ("_receive",)

    def __init__(self, receive: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._receive = receive

    def __await__(self) -> Generator[Any, None, T]:
        return self._receive().__await__()


class Replayed(Exception):
    """The same request was answered before: here is that answer."""

    def __init__(self, refused: bool, response: bytes) -> None:
        super().__init__("answered before")
        self.refused, self.response = refused, response


class Reading:
    """A transaction as far as it reads; what it writes is sent before, where a read is to see it."""

    seals: Seals

    def __init__(self, store: Store, pipe: Pipe, call: Call) -> None:
        self.store, self.pipe, self.call = store, pipe, call
        self.writes = Writes()
        self._seen: dict[tuple[str, str], Record] = {}
        self._unscoped: set[tuple[str, str]] = set()  # seen, but perhaps beyond the caller's scope
        self._purged: set[tuple[str, str]] = set()
        self._answer: Asked | None = None

    def flush(self) -> None:
        """Send the writes kept back so far; reads that follow see them."""
        if self.writes:
            for statement, params in self.writes.take():
                self.pipe.ask(statement, params)

    async def check_answer(self) -> None:
        """Raise Replayed if this request was answered before; REQUEST_ID_REUSED if another was."""
        if self._answer is None:
            return
        asked, self._answer = self._answer, None
        for stored_hash, refused, response in await asked.rows():
            if stored_hash != self.call.request_hash:
                raise Refused("REQUEST_ID_REUSED", field="request_id")
            raise Replayed(refused, response if refused else await self.seals.opened(response))

    def _collection(self, record: type[R]) -> Collection[R]:
        return self.store.collections[record]

    def get(
        self, record: type[R], name: str, *, etag: str = "", lock: bool = False, deleted: bool = False,
        permission: str = "", shared: bool = True,
    ) -> Ahead[R]:  # fmt: skip
        """The record of that resource name, or NOT_FOUND: outside the scope, deleted and absent are one.

        A different *etag* refuses with ETAG_MISMATCH; *lock* holds the row until the commit; *permission*
        reads with the scope the caller has for that one instead of the method's; *shared* off leaves out
        what is within reach by a share alone.
        """
        collection = self._collection(record)
        prefix, _, key = name.rpartition("/")
        place = (collection.name, key)
        anew = lock or permission or not shared or place in self._unscoped
        known = None if anew else self._seen.get(place)
        named = prefix + "/" == collection.prefix and bool(key) and place not in self._purged
        reach = self.call.can(permission) if permission else ""
        reading: Ahead[list[R]] | None = None
        if named and known is None and reach is not None:
            reading = self._select(
                collection, " AND id = %s", [key], lock=lock, reach=reach, permission=permission, one=key,
                shared=shared,
            )  # fmt: skip

        async def receive() -> R:
            if reach is None:
                raise Refused("PERMISSION_DENIED", permission=permission)
            found = await reading if reading else [known] if known and named else []
            if not found or (found[0].delete_time and not deleted):
                raise Refused("NOT_FOUND", name=name or collection.prefix)
            if etag and etag != str(found[0].version):
                raise Refused("ETAG_MISMATCH", name=name)
            return found[0]  # type: ignore[return-value]

        return Ahead(receive)

    async def owners_side(self, record: Record, permission: str = "") -> None:
        """OWNER_ONLY for whoever reaches the record by a share alone: what a share does not give."""
        name = self.name(record)
        try:
            await self.get(type(record), name, deleted=True, permission=permission, shared=False)
        except Refused as refused:
            if refused.reason != "NOT_FOUND":
                raise
            raise Refused("OWNER_ONLY", name=name) from None

    async def find(self, record: type[R], /, **equals: Any) -> R | None:
        """The one live record with these column values, or None."""
        found = await self.all(record, limit=1, **equals)
        return found[0] if found else None

    def all(
        self, record: type[R], /, *where: sa.ColumnElement[bool] | Where, order: str = "id",
        limit: int = 1000, lock: bool = False, deleted: bool = False, scoped: bool = True, **equals: Any,
    ) -> Ahead[list[R]]:  # fmt: skip
        """Live records with these column values and conditions, at most *limit*."""
        self.flush()
        collection = self._collection(record)
        text = "" if deleted else " AND delete_time IS NULL"
        params: list[Any] = []
        for column, value in equals.items():
            text += f" AND {quoted(collection.table.c[column].name)} = %s"
            params.append(value)
        for condition in where:
            sql, values = condition if isinstance(condition, tuple) else self.compile(condition)
            text += f" AND ({sql})"
            params += values
        tail = f" ORDER BY {order} LIMIT {int(limit)}"
        return self._select(collection, text, params, tail=tail, lock=lock, scoped=scoped)

    def _select(
        self, collection: Collection[R], text: str, params: list[Any], *, tail: str = "",
        lock: bool = False, scoped: bool = True, reach: str = "", permission: str = "", one: str = "",
        shared: bool = True,
    ) -> Ahead[list[R]]:  # fmt: skip
        scope_text, scope_params = "", list[Any]()
        if scoped:
            call = replace(self.call, scope=reach, permission=permission) if reach else self.call
            scope_text, scope_params = self.store.reach(collection, call, one=one, shared=shared)
        asked = self.pipe.ask(
            collection.select + text + scope_text + tail + (" FOR UPDATE" if lock else ""),
            [self.call.tenant, *params, *scope_params],
        )

        async def receive() -> list[R]:
            await self.check_answer()
            rows = await asked.rows()
            records = await self.seals.loaded(collection, rows)
            return [self._met(collection, record, lock, scoped, reach) for record in records]

        return Ahead(receive)

    def _met(self, collection: Collection[R], record: R, lock: bool, scoped: bool, reach: str) -> R:
        """The record as this transaction knows it: what it has changed wins over what the table said."""
        place = (collection.name, record.id)
        known = self._seen.get(place)
        if scoped and not reach:
            self._unscoped.discard(place)
        elif known is None:
            self._unscoped.add(place)
        if known is None or (lock and known.version <= record.version):
            self._seen[place] = known = record
        return known  # type: ignore[return-value]

    @staticmethod
    def compile(statement: Any) -> tuple[str, list[Any]]:
        """A Core statement or condition as text with positional parameters."""
        compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
        params = compiled.construct_params()
        for name, process in compiled._bind_processors.items():
            if name in params:
                params[name] = process(params[name])
        order: list[Any] = []

        def place(match: re.Match[str]) -> str:
            order.append(params[match[1]])
            return "%s"

        return re.sub(r"%\((\w+)\)s", place, str(compiled)), order

    def rows(self, statement: Any, params: Iterable[Any] = ()) -> Ahead[list[dict[str, Any]]]:
        """The rows of a Core statement, or of SQL text with %s parameters, as mappings."""
        asked = self._asked(statement, params)

        async def receive() -> list[dict[str, Any]]:
            await self.check_answer()
            return await asked.mappings()

        return Ahead(receive)

    async def run(self, statement: Any, params: Iterable[Any] = ()) -> int:
        """Carry out a statement now; how many rows it touched."""
        asked = self._asked(statement, params)
        await self.check_answer()
        return await asked.count()

    def _asked(self, statement: Any, params: Iterable[Any]) -> Asked:
        self.flush()
        if isinstance(statement, str):
            return self.pipe.ask(statement, list(params))
        return self.pipe.ask(*self.compile(statement))

    def name(self, record: Record) -> str:
        """The resource name of a record."""
        return self._collection(type(record)).prefix + record.id
