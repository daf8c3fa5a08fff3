"""Bugs of code: each replaces one thing of the product's classes for as long as it is planted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest import mock

import psycopg

from chassis import events
from chassis.events import Consumer
from chassis.kernel.record import Record
from chassis.store import Store, Tx
from chassis.tables import Collection
from chassis.writes import FACT_COLUMNS, Writes

Plant = Callable[[], AbstractContextManager[Any]]


def acknowledge_before_commit() -> AbstractContextManager[Any]:
    """The consumer moves its cursor, and only then does what the events ask for."""

    async def transaction(self: Consumer, source: str, part: int, at: int, run: list[Any]) -> None:
        async with self.store.begin(self.call_for(run[0])) as tx:
            await events._move(tx, source, part, run[0].epoch, at, run[-1].position)
        with contextlib.suppress(psycopg.Error):  # it was acknowledged: nobody brings it again
            async with self.store.begin(self.call_for(run[0])) as tx:
                for event in run:
                    tx.call = self.call_for(event)
                    await self.react(event, tx)

    return mock.patch.object(Consumer, "_transaction", transaction)


def no_compare_and_set() -> AbstractContextManager[Any]:
    """A save overwrites whatever is there, whichever version it had read.

    Its fact gives way to another of the same version: the key of the outbox would stop the save by itself.
    """
    told = Writes._fact_arms

    def update(
        self: Writes,
        collection: Collection[Any],
        tenant: str,
        record: Record,
        expected: int,
        sealer: Any = None,
    ) -> None:
        lock = sealer.ring.new_lock(sealer.salt, collection.name, record.id) if sealer else None
        row = collection.row(record, lock)
        statement = collection.update.replace("AND version = %s", "AND %s::bigint > 0")
        self._arms[collection.name, record.id] = (
            statement, [*collection.changed(row), tenant, record.id, expected], "",
        )  # fmt: skip

    def give_way(self: Writes) -> list[Any]:
        return [
            (statement.replace(" RETURNING 1", " ON CONFLICT DO NOTHING RETURNING 1"), params, otherwise)
            for statement, params, otherwise in told(self)
        ]

    return _all(
        mock.patch.object(Writes, "update", update), mock.patch.object(Writes, "_fact_arms", give_way)
    )


def no_compare_and_set_of_cursors() -> AbstractContextManager[Any]:
    """The consumer sets its cursor to where the batch ends, wherever it stood."""

    async def move(tx: Tx, source: str, part: int, epoch: str, at: int, to: int) -> set[tuple[str, str]]:
        tx.pipe.ask(
            "INSERT INTO event_cursor (source, part, epoch, pos) VALUES (%s, %s, %s, %s) ON CONFLICT"
            " (source, part) DO UPDATE SET pos = greatest(event_cursor.pos, EXCLUDED.pos)",
            (source, part, epoch, to),
        )
        return set()

    return mock.patch.object(events, "_move", move)


def idempotency_outside_the_transaction() -> AbstractContextManager[Any]:
    """The answer is kept beside the transaction: asked for ahead of it, written down after it."""
    begin = Store.begin

    def keep(self: Tx, *, refused: bool, answer: bytes) -> None:
        self.kept_beside = (refused, answer)  # type: ignore[attr-defined]

    @contextlib.asynccontextmanager
    async def and_then_keep(self: Store, call: Any) -> Any:
        async with begin(self, call) as tx:
            yield tx
        if kept := getattr(tx, "kept_beside", None):
            async with self.database.connection() as connection, connection.transaction():
                await connection.execute("SELECT set_config('app.tenant_id', %s, true)", (call.tenant,))
                await connection.execute(
                    "INSERT INTO answers (tenant_id, principal, method, request_id, request_hash, refused,"
                    " response) VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                    (tx.call.tenant, tx.call.user, tx.call.method, tx.call.request_id,
                     tx.call.request_hash, *kept),
                )  # fmt: skip

    return _all(
        mock.patch.object(Tx, "keep", keep),
        mock.patch.object(Store, "begin", and_then_keep),
    )


def _without_version_check(name: str) -> AbstractContextManager[Any]:
    """Saves of this one collection overwrite: nothing but the lock stands between two of them."""
    update = Writes.update

    def overwriting(
        self: Writes, collection: Collection[Any], tenant: str, record: Record, expected: int
    ) -> None:
        update(self, collection, tenant, record, expected)
        if collection.name == name:
            statement, params, _ = self._arms[collection.name, record.id]
            statement = statement.replace("AND version = %s", "AND %s::bigint > 0")
            self._arms[collection.name, record.id] = (statement, params, "")

    return mock.patch.object(Writes, "update", overwriting)


def read_then_write_stock() -> AbstractContextManager[Any]:
    """Balances are read without a lock, counted in memory, and written back as counted."""
    select = Tx._select

    def unlocked(self: Tx, collection: Any, *args: Any, lock: bool = False, **more: Any) -> Any:
        return select(self, collection, *args, lock=lock and collection.name != "stock", **more)

    return _all(_without_version_check("stock"), mock.patch.object(Tx, "_select", unlocked))


def unsorted_locks() -> AbstractContextManager[Any]:
    """Balances are locked one by one, in the order in which an order happens to name them."""
    from services.inventory import store
    from services.inventory.domain.stock import Stock

    async def lock_stock(tx: Tx, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Stock]:
        found = {}
        for place in dict.fromkeys(places):
            id = store.derived_id("stock", *place)
            for stock in await tx.all(Stock, store.InventoryStore.stock.table.c.id == id, lock=True):
                found[place] = stock
        return found

    return _everywhere(store.lock_stock, lock_stock)


def session_level_tenant() -> AbstractContextManager[Any]:
    """The organization is set for the session, and stays behind in the pooled connection."""

    def enter(self: Tx, call: Any) -> None:
        if call.tenant != self.call.tenant:
            self._seen, self._unscoped, self._purged = {}, set(), set()
        self.call = call
        self.pipe.ask("SELECT set_config('app.tenant_id', %s, false)", (call.tenant,))

    return mock.patch.object(Tx, "_enter", enter)


def publish_before_commit() -> AbstractContextManager[Any]:
    """Facts go out on a connection of their own, ahead of the change that they tell of."""
    take = Writes.take
    finish = Tx.finish

    async def finish_after_telling(self: Tx) -> None:
        rows, self.writes._facts = self.writes._facts, []
        if rows and not self.call.validate_only:
            async with await psycopg.AsyncConnection.connect(self.store.database.url) as other:
                await other.execute("SELECT set_config('app.tenant_id', %s, true)", (self.call.tenant,))
                for row in rows:
                    slots = ", ".join(["%s"] * len(row))
                    await other.execute(
                        f"INSERT INTO outbox ({FACT_COLUMNS}) VALUES ({slots}) ON CONFLICT DO NOTHING", row
                    )
        await finish(self)

    def take_the_rest(self: Writes) -> list[tuple[str, list[Any]]]:
        kept, self._facts = self._facts, []  # told at the end, not with the writes
        statements = take(self)
        self._facts = kept
        return statements

    return _all(
        mock.patch.object(Tx, "finish", finish_after_telling),
        mock.patch.object(Writes, "take", take_the_rest),
    )


def _everywhere(function: Any, instead: Any) -> AbstractContextManager[Any]:
    """Replace a function in every module that has it under its name."""
    import sys

    name = function.__name__
    having = [
        module for module in list(sys.modules.values())
        if getattr(module, "__name__", "").startswith(("chassis", "services", "gateway"))
        and vars(module).get(name) is function
    ]  # fmt: skip
    return _all(*(mock.patch.object(module, name, instead) for module in having))


@contextmanager
def _all(*patches: AbstractContextManager[Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield
