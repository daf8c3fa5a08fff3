"""The unit of work: reads first, writes kept back and sent as one statement together with the COMMIT.

A plain verb costs two round trips: BEGIN, organization, the stored answer and the first reads leave in
one pipeline; saves, outbox rows and the answer leave as one statement with the COMMIT. Nothing here
knows a noun: tables derive from records, the data scope from the call.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import psycopg
import sqlalchemy as sa

from chassis import scope, telemetry
from chassis.audit.places import Places
from chassis.call import Call, derived_id, new_id
from chassis.database import Database
from chassis.kernel.record import Record
from chassis.personal.keys import Keys
from chassis.reading import Ahead, Replayed, Where
from chassis.tables import Collection, ReadModel, Rows, Shares, quoted
from chassis.transaction import Tx, request_hash

__all__ = [
    "Ahead",
    "Collection",
    "ReadModel",
    "Replayed",
    "Rows",
    "Shares",
    "Store",
    "Tx",
    "Where",
    "derived_id",
    "new_id",
    "request_hash",
]

SHARED = b"shared index key"


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
                    part.be_shared(getattr(cls, part.follows[1], None))
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

    async def meet(self, tx: Any, person: Any) -> None:
        """Add to a `personal.Person` who else in here is the same; SUBJECT_UNFIT for what is nobody."""

    async def forget_besides(self, tx: Any, record: Any) -> None:
        """Let go of what stands about an erased record in rows that are no records."""

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
        field, *records = collection.within
        arms, values = list[str](), list[Any]()
        for record in records:
            above = self.collections[record]
            text, params = self.reach(above, call, shared=shared)
            if not text:
                return "", []
            named = f"SELECT '{above.prefix}' || id FROM {above.name} WHERE tenant_id = %s{text}"
            arms.append(f"{quoted(field)} IN ({named})")
            values += [call.tenant, *params]
        return f" AND ({' OR '.join(arms)})", values

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


def utc_now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)
