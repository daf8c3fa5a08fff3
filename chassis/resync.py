"""What a consumer does about a service that was restored to an earlier state.

The restored service says up to which position the facts of its former epoch still count. What a consumer has
applied beyond that has no ground any more: tables that hold nothing but what the service told are emptied
and told again; what was done because of it is taken back, or named, by the functions that a service marks
with `after_restoring`. Each compares what stands here with what the restored service says now, so that it
may run again and again, and is right whatever was lost.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import Message
from tradewind.type.v1 import feed_pb2

from chassis.call import Call
from chassis.jobs import organizations
from chassis.kernel.record import Record, replace
from chassis.kernel.refusals import Refused
from chassis.outbox import part_of
from chassis.store import Store, Tx

if TYPE_CHECKING:
    from chassis.clients import Clients

log = logging.getLogger(__name__)
NOBODY = "00000000-0000-7000-8000-000000000000"  # the organization of calls that concern none
# A change is dated when its call came in; it may have been committed, and lost, a while later.
MARGIN = timedelta(minutes=5)
EVER = datetime(1970, 1, 1, tzinfo=UTC)
SECONDS = 60.0  # for one step of one organization
MOST = 1_000_000  # records of one organization that can be looked at
R = TypeVar("R", bound=Record)
Repair = Callable[["Loss"], Awaitable[None]]


def after_restoring(source: str) -> Callable[[Repair], Repair]:
    """Marks a function that puts this service in order after *source* was restored to an earlier state.

    It is run for one organization at a time, perhaps more than once and by two processes at once.
    """

    def mark(function: Repair) -> Repair:
        function.restores = source  # type: ignore[attr-defined]
        return function

    return mark


def repairs_of(module: ModuleType | None) -> dict[str, list[Repair]]:
    """source → its repairs, in the order of their writing."""
    found: dict[str, list[Repair]] = {}
    for function in vars(module).values() if module else ():
        if source := getattr(function, "restores", ""):
            found.setdefault(source, []).append(function)
    return found


def put_away(tx: Tx, record: R) -> R:
    """Delete a draft that this service made itself because of something that no longer happened."""
    return tx.save(replace(record, delete_time=tx.call.now))


def may_return(tx: Tx, record: Record) -> bool:
    """Whether a record was put away here by a repair, not by a person: it comes back with its cause."""
    return record.delete_time is not None and record.updater == tx.call.user


def bring_back(tx: Tx, before: R, fresh: R) -> R:
    """What was put away, as it is to be now; read in this transaction."""
    return tx.save(
        replace(fresh, version=before.version, create_time=before.create_time, creator=before.creator)
    )


@dataclass(frozen=True)
class Loss:
    """What one organization lost at *source*: everything that happened there since a moment."""

    source: str
    epoch: str  # the one that began with the restoration
    since: datetime
    store: Store
    call: Call

    def begin(self) -> AbstractAsyncContextManager[Tx]:
        """A transaction of this service in the organization."""
        return self.store.begin(self._now())

    async def ask(self, method: str, request: Message) -> Any:
        """The restored service's answer to `OrderService.GetOrder`; None where it knows no such record."""
        assert self.call.clients is not None
        try:
            return await self.call.clients.ask(f"tradewind.{self.source}.v1.{method}", request, self._now())
        except Refused as no:
            if no.reason == "NOT_FOUND":
                return None
            raise

    async def changed(self, record: type[R]) -> list[R]:
        """The live records that were changed here since then, whoever owns them."""
        changed = self.store.collections[record].table.c.update_time >= self.since
        async with self.begin() as tx:
            return await tx.all(record, changed, limit=MOST, scoped=False)

    def report(self, tx: Tx, record: str, done: str, said: str) -> None:
        """Write down for people what was done about a record, or that it has to be looked at (LOOK)."""
        tx.writes.raw(
            "INSERT INTO reconciled (tenant_id, source, epoch, record, done, said)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (tenant_id, source, epoch, record, done)"
            " DO UPDATE SET said = EXCLUDED.said RETURNING 1",
            [self.call.tenant, self.source, self.epoch, record, done, said],
        )

    def _now(self) -> Call:
        return replace(self.call, now=datetime.now(UTC), deadline=time.monotonic() + SECONDS)


class Resync:
    """Brings what a service keeps in line with another one that was restored."""

    def __init__(
        self, service: str, store: Store, repairs: ModuleType | None, clients: Clients | None
    ) -> None:
        self.service, self.store, self.clients = service, store, clients
        self.repairs = repairs_of(repairs)

    async def run(
        self, source: str, part: int, before: tuple[str, int], epoch: str, branch: feed_pb2.Branch
    ) -> int:
        """Go over from the cursor *before* (epoch, position) to the new epoch; the position to go on from."""
        _, at = before
        kept = min(at, branch.position)
        retold = source in self.store.sources and kept < at
        if retold:
            await self._must_tell_all(source, part, epoch)
            kept = 0
        since = branch.time.ToDatetime(UTC) - MARGIN if branch.HasField("time") else EVER
        log.warning("%s/%d was restored: %d facts are gone", source, part, at - min(at, branch.position))
        mine = [one for one in await organizations(self.store) if part_of(one) == part]
        for organization in mine:
            call = Call(
                tenant=organization, user=f"services/{self.service}", cause=f"restoration:{source}",
                clients=self.clients,
            )  # fmt: skip
            await self._repair(Loss(source, epoch, since, self.store, call))
        await self._move(source, part, before, (epoch, kept), mine if retold else [], mine)
        return kept

    async def _repair(self, loss: Loss) -> None:
        """What the source was answered since then it never asked: asked again, it is done again."""
        async with loss.begin() as tx:
            await tx.run(
                "DELETE FROM answers WHERE tenant_id = %s AND principal = %s AND created_at >= %s",
                [loss.call.tenant, f"services/{loss.source}", loss.since],
            )
        for repair in self.repairs.get(loss.source, ()):
            await repair(loss)

    async def _must_tell_all(self, source: str, part: int, epoch: str) -> None:
        """Refuses, before anything is emptied, when the source keeps its facts no longer from the first."""
        if self.clients is None:
            return
        request = feed_pb2.ReplayEventsRequest(partition=part, from_position=1, limit=1, epoch=epoch)
        call = Call(tenant=NOBODY, user=f"services/{self.service}")
        await self.clients.ask(f"tradewind.{source}.v1.EventsService.ReplayEvents", request, call)

    async def _move(
        self, source: str, part: int, before: tuple[str, int], after: tuple[str, int],
        emptied: list[str], known: list[str],
    ) -> None:  # fmt: skip
        """Move the cursor over, and empty with it what will be told again; once, however many try."""
        call = Call(tenant=known[0] if known else NOBODY, user=f"services/{self.service}")
        async with self.store.begin(call) as tx:
            moved = await tx.rows(
                "UPDATE event_cursor SET epoch = %s, pos = %s WHERE source = %s AND part = %s"
                " AND epoch = %s AND pos = %s RETURNING 1 AS moved", [*after, source, part, *before],
            )  # fmt: skip
            for organization in known if moved else []:
                await tx.enter(replace(call, tenant=organization))
                await tx.run(
                    "DELETE FROM parked_events WHERE tenant_id = %s AND source = %s AND part = %s"
                    " AND pos > %s",
                    [organization, source, part, after[1]],
                )
                for rows in self.store.sources[source] if organization in emptied else ():
                    await tx.run(f"DELETE FROM {rows.name} WHERE tenant_id = %s", [organization])
