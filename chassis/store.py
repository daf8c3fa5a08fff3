"""The unit of work: reads first, writes kept back and sent as one statement together with the COMMIT.

A plain verb costs two round trips: BEGIN, organization, the stored answer and the first reads leave in
one pipeline; saves, outbox rows and the answer leave as one statement with the COMMIT. Nothing here
knows a noun: tables derive from records, the data scope from the call.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from google.protobuf.message import Message
from psycopg.rows import dict_row
from sqlalchemy.dialects.postgresql.psycopg import dialect as PsycopgDialect

from chassis import outbox, scope, telemetry
from chassis.call import Call, derived_id, new_id
from chassis.database import Database
from chassis.kernel.record import Owned, Record
from chassis.kernel.refusals import Refused
from chassis.tables import Collection, ReadModel, Rows, quoted
from chassis.writes import Writes

__all__ = ["Collection", "ReadModel", "Replayed", "Rows", "Store", "Tx", "derived_id", "new_id"]

R = TypeVar("R", bound=Record)
M = TypeVar("M", bound=Message)
_DIALECT: Any = PsycopgDialect()  # type: ignore[no-untyped-call]


class Replayed(Exception):
    """The same request was answered before: here is that answer."""

    def __init__(self, refused: bool, response: bytes) -> None:
        super().__init__("answered before")
        self.refused, self.response = refused, response


class Store:
    """The tables of one service; subclasses declare collections, read models and rows as attributes."""

    metadata: sa.MetaData
    collections: dict[type[Record], Collection[Any]]
    rows: list[Rows]  # read models and plain rows, in the order of their declaration
    # Tables that hold nothing but what another service told: emptied, and told again, when it was restored.
    sources: Mapping[str, Sequence[Rows]] = MappingProxyType({})

    def __init_subclass__(cls) -> None:
        cls.metadata = sa.MetaData()
        cls.collections = {}
        cls.rows = []
        for name, part in vars(cls).copy().items():
            if isinstance(part, Collection):
                part.attach(name, cls.metadata)
                cls.collections[part.record] = part
            elif isinstance(part, Rows):
                part.attach(name, cls.metadata)
                cls.rows.append(part)

    def __init__(self, database: Database) -> None:
        self.database = database
        self.woken = asyncio.Event()  # set after a commit that left events: the relay waits for it
        self.known_organizations: set[str] = set()  # those in the table `tenants`
        self.version_floor = -1  # not known yet; see know_floor

    async def know_floor(self) -> None:
        """The least version of a change: a restoration lifts it above all versions it took back, so that
        neither an etag of then nor what follows from such a version once only is ever met again."""
        async with self.database.connection() as connection:
            cursor = await connection.execute("SELECT max(version_floor) FROM outbox_head")
            row = await cursor.fetchone()
        self.version_floor = row[0] if row else 0

    def prefix(self, record: type[Record]) -> str:
        """`opportunities/`, for building names."""
        return self.collections[record].prefix

    @asynccontextmanager
    async def begin(self, call: Call) -> AsyncIterator[Tx]:
        """One transaction in the call's organization: committed at the end of the block, or not at all."""
        if not call.tenant:
            raise RuntimeError("a transaction needs an organization")
        if self.version_floor < 0:
            await self.know_floor()
        with telemetry.span("transaction"):
            async with self.database.connection() as connection:
                try:
                    async with connection.pipeline() as pipeline:
                        tx = Tx(self, connection, pipeline, call)
                        await tx.start()
                        yield tx
                        await tx.finish()
                except (Refused, Replayed):
                    # Where nothing was sent there is nothing to take back, and the driver forgets every
                    # prepared statement at a ROLLBACK. After any other error the connection is thrown away.
                    await connection.execute("ROLLBACK" if tx.sent else "COMMIT")
                    raise
                if call.validate_only:
                    await connection.execute("ROLLBACK")
        if not call.validate_only:
            self.known_organizations |= tx.organizations
            if tx.emitted:
                self.woken.set()


class Tx:
    """A transaction under way; see Store.begin."""

    def __init__(
        self,
        store: Store,
        connection: psycopg.AsyncConnection[Any],
        pipeline: psycopg.AsyncPipeline,
        call: Call,
    ) -> None:
        self.store, self.connection, self.pipeline, self.call = store, connection, pipeline, call
        self.writes = Writes()
        self.emitted = 0
        self.sent = False
        self.organizations: set[str] = set()
        self.batch: Sequence[Any] = ()  # the events applied in it: what a reaction may read ahead for
        self._seen: dict[tuple[str, str], Record] = {}
        self._unscoped: set[tuple[str, str]] = set()  # seen, but perhaps beyond the caller's scope
        self._purged: set[tuple[str, str]] = set()
        self._answer: psycopg.AsyncCursor[Any] | None = None
        self._nth: dict[tuple[str, int], int] = {}

    # -- the frame ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Queue BEGIN, the organization, the time limit and the look for a stored answer."""
        await self.connection.execute("BEGIN")
        await self.enter(self.call)
        if self.call.request_id:
            self._answer = await self.connection.execute(
                "SELECT request_hash, refused, response FROM answers"
                " WHERE tenant_id = %s AND principal = %s AND method = %s AND request_id = %s",
                (self.call.tenant, self.call.user, self.call.method, self.call.request_id), prepare=True,
            )  # fmt: skip

    async def enter(self, call: Call) -> None:
        """Go on as this call, in its organization."""
        if call.tenant != self.call.tenant:  # the same id may stand in both
            self._seen, self._unscoped, self._purged = {}, set(), set()
        self.call = call
        limit = max(1, int(call.remaining() * 1000))
        await self.connection.execute(
            "SELECT set_config('app.tenant_id', %s, true), set_config('statement_timeout', %s, true)",
            (call.tenant, str(limit)), prepare=True,
        )  # fmt: skip

    async def check_answer(self) -> None:
        """Raise Replayed if this request was answered before; REQUEST_ID_REUSED if another was."""
        if self._answer is None:
            return
        cursor, self._answer = self._answer, None
        if row := await cursor.fetchone():
            if bytes(row[0]) != self.call.request_hash:
                raise Refused("REQUEST_ID_REUSED", field="request_id")
            raise Replayed(row[1], bytes(row[2]))

    async def finish(self) -> None:
        """Send what was kept back together with the COMMIT; a dry run only finds out what it would do."""
        # The stored answer need not have been looked at: writing the same one again raises, see rpc.
        await self.flush()
        if self.call.validate_only:
            await self.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        else:
            await self.connection.execute("COMMIT")

    async def flush(self) -> None:
        """Send the writes kept back so far; reads that follow see them."""
        for statement, params in self.writes.take():
            self.sent = True
            await self.connection.execute(statement, params, prepare=True)

    # -- reading --------------------------------------------------------------------------------

    def _collection(self, record: type[R]) -> Collection[R]:
        return self.store.collections[record]

    async def get(
        self, record: type[R], name: str, *, etag: str = "", lock: bool = False, deleted: bool = False,
        permission: str = "",
    ) -> R:  # fmt: skip
        """The record of that resource name, or NOT_FOUND: outside the scope, deleted and absent are one.

        A different *etag* refuses with ETAG_MISMATCH; *lock* holds the row until the commit; *permission*
        reads with the scope the caller has for that one instead of the method's.
        """
        collection = self._collection(record)
        prefix, _, key = name.rpartition("/")
        if prefix + "/" != collection.prefix or not key:
            raise Refused("NOT_FOUND", name=name or collection.prefix)
        place = (collection.name, key)
        if place in self._purged:
            raise Refused("NOT_FOUND", name=name)
        found = None if lock or permission or place in self._unscoped else self._seen.get(place)
        if found is None:
            scope_of = self.call.can(permission) if permission else ""
            if scope_of is None:
                raise Refused("PERMISSION_DENIED", permission=permission)
            rows = await self._select(collection, " AND id = %s", [key], lock=lock, reach=scope_of)
            if not rows:
                raise Refused("NOT_FOUND", name=name)
            found = rows[0]
        if found.delete_time and not deleted:
            raise Refused("NOT_FOUND", name=name)
        if etag and etag != str(found.version):
            raise Refused("ETAG_MISMATCH", name=name)
        return found  # type: ignore[return-value]

    async def find(self, record: type[R], **equals: Any) -> R | None:
        """The one live record with these column values, or None."""
        found = await self.all(record, limit=1, **equals)
        return found[0] if found else None

    async def all(
        self, record: type[R], *where: sa.ColumnElement[bool], order: str = "id", limit: int = 1000,
        lock: bool = False, deleted: bool = False, scoped: bool = True, **equals: Any,
    ) -> list[R]:  # fmt: skip
        """Live records with these column values and conditions, at most *limit*."""
        await self.flush()
        collection = self._collection(record)
        text = "" if deleted else " AND delete_time IS NULL"
        params: list[Any] = []
        for column, value in equals.items():
            text += f" AND {quoted(collection.table.c[column].name)} = %s"
            params.append(value)
        for condition in where:
            sql, values = self.compile(condition)
            text += f" AND ({sql})"
            params += values
        tail = f" ORDER BY {order} LIMIT {int(limit)}"
        return await self._select(collection, text, params, tail=tail, lock=lock, scoped=scoped)

    async def _select(
        self, collection: Collection[R], text: str, params: list[Any], *, tail: str = "",
        lock: bool = False, scoped: bool = True, reach: str = "",
    ) -> list[R]:  # fmt: skip
        scope_text, scope_params = "", list[Any]()
        if collection.owned and scoped:
            call = replace(self.call, scope=reach) if reach else self.call
            scope_text, scope_params = scope.condition(call)
        cursor = await self.connection.execute(
            collection.select + text + scope_text + tail + (" FOR UPDATE" if lock else ""),
            [self.call.tenant, *params, *scope_params], prepare=True,
        )  # fmt: skip
        if self._answer is not None:
            await self.check_answer()
        found = []
        for row in await cursor.fetchall():
            record = collection.load(row)
            # What this transaction has already changed wins over what the table said.
            place = (collection.name, record.id)
            known = self._seen.get(place)
            if scoped and not reach:
                self._unscoped.discard(place)
            elif known is None:
                self._unscoped.add(place)
            if known is None or (lock and known.version <= record.version):
                self._seen[collection.name, record.id] = known = record
            found.append(known)
        return found  # type: ignore[return-value]

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

    async def rows(self, statement: Any, params: Iterable[Any] = ()) -> list[dict[str, Any]]:
        """The rows of a Core statement, or of SQL text with %s parameters, as mappings."""
        cursor = await self._run(statement, params, row_factory=dict_row)
        self.sent = True  # it may have written: text can be anything
        found: list[dict[str, Any]] = await cursor.fetchall()
        return found

    async def run(self, statement: Any, params: Iterable[Any] = ()) -> int:
        """Carry out a statement now; how many rows it touched."""
        cursor = await self._run(statement, params)
        self.sent = True
        await self.pipeline.sync()
        return int(cursor.rowcount)

    async def _run(self, statement: Any, params: Iterable[Any], **options: Any) -> Any:
        await self.check_answer()
        await self.flush()
        if isinstance(statement, str):
            text, values = statement, list(params)
        else:
            text, values = self.compile(statement)
        cursor = self.connection.cursor(**options)
        await cursor.execute(text, values, prepare=True)
        return cursor

    # -- writing --------------------------------------------------------------------------------

    def add(self, record: R, *, scoped: bool = True) -> R:
        """Keep a new record; owner and team are the caller's unless it names them within the scope.

        *scoped* off keeps them as they are: for what follows from a record the caller may reach.
        """
        record.check()
        collection, call = self._collection(type(record)), self.call
        if isinstance(record, Owned) and scoped:
            record = scope.admit(record, call)  # type: ignore[assignment]
        made = replace(
            record, version=max(1, self.store.version_floor), create_time=call.now, update_time=call.now,
            creator=record.creator or call.user, updater=call.user,
        )  # fmt: skip
        self.writes.insert(collection, call.tenant, made)
        self._purged.discard((collection.name, made.id))
        self._seen[collection.name, made.id] = made
        return made

    def save(self, record: R) -> R:
        """Keep the next version of a record read in this transaction; others' changes since then refuse."""
        record.check()
        collection, call = self._collection(type(record)), self.call
        before = self._seen.get((collection.name, record.id))
        if before is None:
            raise RuntimeError(f"{collection.prefix}{record.id} was not read in this transaction")
        if before.version != record.version:
            record = replace(record, version=before.version)
        version = max(record.version + 1, self.store.version_floor)
        made = replace(record, version=version, update_time=call.now, updater=call.user)
        self.writes.update(collection, call.tenant, made, expected=before.version)
        self._seen[collection.name, made.id] = made
        return made

    def purge(self, record: Record) -> None:
        """Delete the row for good."""
        collection = self._collection(type(record))
        self.writes.delete(collection, self.call.tenant, record)
        self._seen.pop((collection.name, record.id), None)
        self._purged.add((collection.name, record.id))

    def emit(self, event: Message, *, record: str = "", version: int = 0, cause: str = "") -> None:
        """Publish a fact with this change. Record and version are those of the event's first field."""
        if not record:
            resource = getattr(event, event.DESCRIPTOR.fields[0].name)
            record, version = resource.name, int(resource.etag)
        nth = self._nth.get((record, version), 0)
        self._nth[record, version] = nth + 1
        self.emitted += 1
        self._know()
        self.writes.fact(outbox.row(event, record, version, nth, self.call, cause))

    def _know(self) -> None:
        """Jobs, laws and rebuilds go through the organizations that have anything here at all."""
        if self.call.tenant not in self.store.known_organizations | self.organizations:
            self.organizations.add(self.call.tenant)
            self.writes.raw("INSERT INTO tenants (id) VALUES (%s) ON CONFLICT DO NOTHING RETURNING 1",
                            [self.call.tenant])  # fmt: skip

    def reply(self, message: M) -> M:
        """The answer to the call, kept under its request_id so that asking again answers the same."""
        if self.call.request_id and not self.call.validate_only:
            self.keep(refused=False, answer=message.SerializeToString())
        return message

    def keep(self, *, refused: bool, answer: bytes) -> None:
        """Keep what is answered to the call's request_id. A second answer raises: the first one stands."""
        call = self.call
        self.writes.answer(
            [call.tenant, call.user, call.method, call.request_id, call.request_hash, refused, answer]
        )

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """What is written inside, where nothing may be awaited, is forgotten if it ends in a refusal."""
        kept = (self.writes.copy(), dict(self._seen), set(self._unscoped), set(self._purged),
                dict(self._nth), self.emitted, set(self.organizations))  # fmt: skip
        try:
            yield
        except Refused:
            (self.writes, self._seen, self._unscoped, self._purged,
             self._nth, self.emitted, self.organizations) = kept  # fmt: skip
            raise

    def fold(self, model: Rows, *, key: Mapping[str, Any], add: Mapping[str, int]) -> None:
        """Add to the sums of one key of a read model; one key is sent once, however often it is added to."""
        self._know()
        self.writes.fold(model, self.call.tenant, key, add)

    def put(self, rows: Rows, *, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Make the row of that key say these values."""
        self._know()
        self.writes.put(rows, self.call.tenant, key, values)

    def append(self, rows: Rows, values: Mapping[str, Any]) -> None:
        """Insert a row that must not be there yet."""
        self._know()
        self.writes.append(rows, self.call.tenant, values)

    async def number(self, series: str) -> int:
        """The next number of a series, without gaps: taken in this transaction, given back if it fails."""
        rows = await self.rows(
            "INSERT INTO number_series (tenant_id, series, last) VALUES (%s, %s, 1)"
            " ON CONFLICT (tenant_id, series) DO UPDATE SET last = number_series.last + 1 RETURNING last",
            [self.call.tenant, series],
        )  # fmt: skip
        return int(rows[0]["last"])

    def name(self, record: Record) -> str:
        """The resource name of a record."""
        return self._collection(type(record)).prefix + record.id


def request_hash(request: Message) -> bytes:
    """What tells a repeated request from a different one under the same id."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


def utc_now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)
