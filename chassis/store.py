"""The unit of work: reads first, writes kept back and sent as one statement together with the COMMIT.

A plain verb costs two round trips: BEGIN, organization, the stored answer and the first reads leave in
one pipeline; saves, outbox rows and the answer leave as one statement with the COMMIT. Nothing here
knows a noun: tables derive from records, the data scope from the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import psycopg
import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.dialects.postgresql.psycopg import dialect as PsycopgDialect

from chassis import outbox, scope, telemetry
from chassis.call import Call, derived_id, new_id
from chassis.database import Database
from chassis.kernel.record import Owned, Record, replace
from chassis.kernel.refusals import Refused
from chassis.keys import Keys
from chassis.pipe import Asked, Pipe
from chassis.places import HERE, LONGEST_DEVICE, Places
from chassis.seals import Seals
from chassis.tables import Collection, ReadModel, Rows, Shares, quoted
from chassis.writes import Writes

__all__ = ["Collection", "ReadModel", "Replayed", "Rows", "Shares", "Store", "Tx", "derived_id", "new_id"]

R = TypeVar("R", bound=Record)
M = TypeVar("M", bound=Message)
_DIALECT: Any = PsycopgDialect()  # type: ignore[no-untyped-call]


T = TypeVar("T")
Where = tuple[str, list[Any]]  # SQL text and its parameters
SHARED = b"shared index key"


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


class Store:
    """The tables of one service; subclasses declare collections, read models and rows as attributes."""

    metadata: sa.MetaData
    collections: dict[type[Record], Collection[Any]]
    tables: dict[str, str]  # prefix of resource names → table
    seals: bool  # whether any collection keeps personal values
    looks_everywhere: bool  # whether any is looked for before the organization is known
    rows: list[Rows]  # read models and plain rows, in the order of their declaration
    # Tables that hold nothing but what another service told: emptied, and told again, when it was restored.
    sources: Mapping[str, Sequence[Rows]] = MappingProxyType({})

    def __init_subclass__(cls) -> None:
        cls.metadata = sa.MetaData()
        cls.collections = {}
        cls.tables = {}
        cls.rows = []
        for name, part in vars(cls).copy().items():
            if isinstance(part, Collection):
                part.attach(name, cls.metadata)
                cls.collections[part.record] = part
                cls.tables[part.prefix] = name
            elif isinstance(part, Rows):
                part.attach(name, cls.metadata)
                cls.rows.append(part)
        if any(isinstance(part, Shares) for part in cls.collections.values()):
            for part in cls.collections.values():
                if part.owned:
                    part.be_shared()
        cls.seals = any(part.sealed for part in cls.collections.values())
        found = [find for part in cls.collections.values() for find in part.found_by.values()]
        cls.looks_everywhere = any(find.shared for find in found)

    def __init__(self, database: Database, keys: Keys | None = None) -> None:
        self.database = database
        self.keys = keys if self.seals else None
        if self.seals and keys is None:
            raise RuntimeError(f"{type(self).__name__} keeps personal values: it needs keys")
        self.woken = asyncio.Event()  # set after a commit that left events: the relay waits for it
        self.known_organizations: set[str] = set()  # those in the table `tenants`
        self.places = Places()
        self.version_floor = -1  # not known yet; see know_floor

    async def know_floor(self) -> None:
        """The least version of a change: a restoration lifts it above all versions it took back, so that
        neither an etag of then nor what follows from such a version once only is ever met again."""
        async with self.database.connection() as connection:
            cursor = await connection.execute("SELECT max(version_floor) FROM outbox_head")
            row = await cursor.fetchone()
        self.version_floor = row[0] if row else 0

    async def shared_key(self) -> bytes:
        """The key under which is looked for before the organization is known; made by who needs it first."""
        assert self.keys
        if not self.keys.shared:
            async with self.database.connection() as connection:
                made = self.keys.master.wrap(os.urandom(32), SHARED)
                await connection.execute("UPDATE sealing SET shared = %s WHERE shared IS NULL", (made,))
                row = await (await connection.execute("SELECT shared FROM sealing")).fetchone()
            assert row
            self.keys.shared = self.keys.master.unwrap(row[0], SHARED)
        return self.keys.shared

    def prefix(self, record: type[Record]) -> str:
        """`opportunities/`, for building names."""
        return self.collections[record].prefix

    def reach(
        self, collection: Collection[Any], call: Call, *, one: str = "", shared: bool = True
    ) -> Where:  # fmt: skip
        """The condition that keeps what the call reaches of a collection; see scope.arms."""
        if collection.owned:
            return scope.condition(call, collection.place, one=one, shared=shared)
        if collection.within is None:
            return "", []
        field, record = collection.within
        above = self.collections[record]
        text, params = self.reach(above, call, shared=shared)
        if not text:
            return "", []
        named = f"SELECT '{above.prefix}' || id FROM {above.name} WHERE tenant_id = %s{text}"
        return f" AND {quoted(field)} IN ({named})", [call.tenant, *params]

    @asynccontextmanager
    async def begin(self, call: Call) -> AsyncIterator[Tx]:
        """One transaction in the call's organization: committed at the end of the block, or not at all."""
        if not call.tenant:
            raise RuntimeError("a transaction needs an organization")
        if self.version_floor < 0:
            await self.know_floor()
        if self.looks_everywhere:
            await self.shared_key()
        with telemetry.span("transaction"):
            async with self.database.pipe() as pipe:
                tx = Tx(self, pipe, call)
                try:
                    tx.start()
                    await tx.seals.know()
                    yield tx
                    await tx.finish()
                except Exception as problem:
                    if self.keys is not None and isinstance(problem, psycopg.Error):
                        self.keys.forget(tx.call.tenant)  # it may be about them
                    await tx.rollback()
                    raise
                if call.validate_only:
                    await pipe.rollback()
        if not call.validate_only:
            self.known_organizations |= tx.organizations
            self.places.keep(tx.places)
            if tx.emitted:
                self.woken.set()


class Tx:
    """A transaction under way; see Store.begin."""

    def __init__(self, store: Store, pipe: Pipe, call: Call) -> None:
        self.store, self.pipe, self.call = store, pipe, call
        self.writes = Writes()
        self.emitted = 0
        self.organizations: set[str] = set()
        self.places: set[tuple[str, str]] = set()
        self.batch: Sequence[Any] = ()  # the events applied in it: what a reaction may read ahead for
        self._seen: dict[tuple[str, str], Record] = {}
        self._unscoped: set[tuple[str, str]] = set()  # seen, but perhaps beyond the caller's scope
        self._purged: set[tuple[str, str]] = set()
        self._answer: Asked | None = None
        self._nth: dict[tuple[str, int], int] = {}
        self.seals = Seals(self, store.keys)

    # -- the frame ------------------------------------------------------------------------------

    def start(self) -> None:
        """Ask for BEGIN, the organization, the time limit and the stored answer."""
        self.pipe.ask("BEGIN")
        self._enter(self.call)
        if self.call.request_id:
            self._answer = self.pipe.ask(
                "SELECT request_hash, refused, response FROM answers"
                " WHERE tenant_id = %s AND principal = %s AND method = %s AND request_id = %s",
                (self.call.tenant, self.call.user, self.call.method, self.call.request_id),
            )

    async def enter(self, call: Call) -> None:
        """Go on as this call, in its organization; what was kept back for the one before is sent first."""
        self.flush()
        self._enter(call)
        await self.seals.know()

    def _enter(self, call: Call) -> None:
        if call.tenant != self.call.tenant:  # the same id may stand in both
            self._seen, self._unscoped, self._purged = {}, set(), set()
        self.call = call
        limit = max(1, int(call.remaining() * 1000))
        self.pipe.ask(
            "SELECT set_config('app.tenant_id', %s, true), set_config('statement_timeout', %s, true)",
            (call.tenant, str(limit)),
        )

    async def check_answer(self) -> None:
        """Raise Replayed if this request was answered before; REQUEST_ID_REUSED if another was."""
        if self._answer is None:
            return
        asked, self._answer = self._answer, None
        for stored_hash, refused, response in await asked.rows():
            if stored_hash != self.call.request_hash:
                raise Refused("REQUEST_ID_REUSED", field="request_id")
            raise Replayed(refused, response if refused else await self.seals.opened(response))

    async def finish(self) -> None:
        """Send what was kept back together with the COMMIT; a dry run only finds out what it would do."""
        # The stored answer need not have been looked at: writing the same one again raises, see rpc.
        self.flush()
        self.pipe.ask("SET CONSTRAINTS ALL IMMEDIATE" if self.call.validate_only else "COMMIT")
        await self.pipe.settle()

    async def rollback(self) -> None:
        """Take everything back; a connection that is gone has done so."""
        with contextlib.suppress(psycopg.Error):
            await self.pipe.rollback()

    def flush(self) -> None:
        """Send the writes kept back so far; reads that follow see them."""
        if self.writes:
            for statement, params in self.writes.take():
                self.pipe.ask(statement, params)

    # -- reading --------------------------------------------------------------------------------

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
        self.writes.insert(collection, call.tenant, made, self.seals.sealer(collection, made))
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
        sealer = self.seals.sealer(collection, made, before)
        self.writes.update(collection, call.tenant, made, before.version, sealer)
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
        self.writes.fact(outbox.row(event, record, version, nth, self.call, cause, self.place()))

    def place(self) -> str:
        """From where the call comes, as facts name it; who works for itself is where its process is."""
        call, places = self.call, self.store.places
        network, device = (call.peer, call.agent) if call.peer else (HERE, call.user)
        digest = places.digest(call.tenant, network, device)
        if (row := (call.tenant, digest)) not in places.kept and row not in self.places:
            self.places.add(row)
            about = "\n".join(row)
            cells = [
                places.sealed(network, f"network\n{about}"),
                places.sealed(device[:LONGEST_DEVICE], f"device\n{about}"),
            ]
            self.writes.raw(
                "INSERT INTO call_places (tenant_id, id, network, device) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING RETURNING 1", [*row, *cells],
            )  # fmt: skip
        return digest

    def _know(self) -> None:
        """Jobs, laws and rebuilds go through the organizations that have anything here at all."""
        if self.call.tenant not in self.store.known_organizations | self.organizations:
            self.organizations.add(self.call.tenant)
            self.writes.raw("INSERT INTO tenants (id) VALUES (%s) ON CONFLICT DO NOTHING RETURNING 1",
                            [self.call.tenant])  # fmt: skip

    def reply(self, message: M) -> M:
        """The answer to the call, kept under its request_id so that asking again answers the same."""
        if self.call.request_id and not self.call.validate_only:
            self.keep(refused=False, answer=self.seals.answer(message))
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
                dict(self._nth), self.emitted, set(self.organizations), set(self.places))  # fmt: skip
        seals = self.seals.state()
        try:
            yield
        except Refused:
            (self.writes, self._seen, self._unscoped, self._purged,
             self._nth, self.emitted, self.organizations, self.places) = kept  # fmt: skip
            self.seals.put_back(seals)
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

    def number(self, series: str) -> Ahead[int]:
        """The next number of a series, without gaps: taken in this transaction, given back if it fails."""
        taken = self.rows(
            "INSERT INTO number_series (tenant_id, series, last) VALUES (%s, %s, 1)"
            " ON CONFLICT (tenant_id, series) DO UPDATE SET last = number_series.last + 1 RETURNING last",
            [self.call.tenant, series],
        )

        async def receive() -> int:
            return int((await taken)[0]["last"])

        return Ahead(receive)

    def name(self, record: Record) -> str:
        """The resource name of a record."""
        return self._collection(type(record)).prefix + record.id


def request_hash(request: Message) -> bytes:
    """What tells a repeated request from a different one under the same id."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


def utc_now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)
