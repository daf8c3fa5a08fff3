"""The EventsService every service offers: replay for gap repair, and the endless feed for everyone else."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from tradewind.type.v1 import audit_pb2, feed_pb2

from chassis import scope
from chassis.audit.entries import AuditRpc
from chassis.call import SCOPES, Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.outbox import Outbox, Relay, part_of
from chassis.rpc import Rpc
from chassis.tables import Collection

BATCH = 500
POLL_SECONDS = 1.0


def feed_of(service: str) -> type[Rpc]:
    """The rpc class of `tradewind.<service>.v1.EventsService`."""
    importlib.import_module(f"tradewind.{service}.v1.events_pb2")  # a service may have no events of its own
    return type("FeedRpc", (_Feed, AuditRpc), {"service": f"tradewind.{service}.v1.EventsService"})


def narrower(one: str, other: str) -> str:
    """The narrower of two scopes."""
    return min(one, other, key=SCOPES.index)


class _Feed(Rpc):
    """Reads facts by position; an organization lives in one partition, so one position is enough."""

    async def ReplayEvents(self, request: Any, call: Call) -> Any:
        outbox = Outbox(self.store)
        part, first = request.partition, request.from_position
        epoch, head, _ = await outbox.head(part)
        if request.epoch and request.epoch != epoch:
            branch = await outbox.branch(part, request.epoch)
            return feed_pb2.ReplayEventsResponse(epoch=epoch, head=head, branch=branch)
        events = await outbox.read(part, first, min(request.limit or BATCH, 1000))
        await outbox.refuse_purged(part, first, events)
        return feed_pb2.ReplayEventsResponse(events=events, epoch=epoch, head=head)

    async def _within_reach(self, call: Call, events: Sequence[feed_pb2.FeedEvent]) -> set[str] | None:
        """The records of those events that the caller may read at present; None: all there are.

        Whoever watches within a scope is told of a record what they could read of it: by the scope they have
        for its noun, or for events where that is narrower. What nobody owns they see who see all of it.
        """
        if scope.unlimited(call):
            return None
        asked: dict[Collection[Any], list[str]] = {}
        for event in events:
            prefix, _, key = event.record.rpartition("/")
            for collection in self.store.collections.values():
                if event.organization == call.tenant and collection.prefix == f"{prefix}/":
                    asked.setdefault(collection, []).append(key)
        found = set[str]()
        async with self.store.begin(replace(call, request_id="")) as tx:
            for collection, keys in asked.items():
                permission = f"{collection.prefix.rstrip('/')}.read"
                reach = call.can(permission)
                hands = collection.owned or collection.within
                if reach is None or not (hands or reach == "all"):
                    continue
                reader = replace(call, permission=permission, scope=narrower(reach, call.scope))
                text, params = self.store.reach(collection, reader)
                rows = await tx.rows(
                    f"SELECT id FROM {collection.name} WHERE tenant_id = %s AND id = ANY(%s){text}",
                    [call.tenant, keys, *params],
                )
                found |= {collection.prefix + row["id"] for row in rows}
        return found

    async def WatchEvents(self, request: Any, call: Call) -> AsyncIterator[feed_pb2.FeedEvent]:
        outbox, part, wanted = Outbox(self.store), part_of(call.tenant), set(request.types)
        at = request.after_position
        relay: Relay = self.runtime.relay
        await outbox.refuse_purged(part, at + 1, [])
        self.runtime.trail.note(call, audit_pb2.READ, fields=[f"{self.runtime.service.name}.events"])
        while True:
            _, head, _ = await outbox.head(part)
            while events := await outbox.read(part, at + 1, BATCH):
                seen = await self._within_reach(call, events)
                for event in events:
                    at = event.position
                    if seen is not None and event.record not in seen:
                        continue
                    if event.organization != call.tenant or event.type.endswith(".CallNoted"):
                        continue
                    if not wanted or event.type in wanted:
                        yield event
            if request.until_now and at >= head:
                return
            if self.runtime.leaving.is_set():  # whoever listens comes back, and finds another process
                raise Refused("UNAVAILABLE", what=f"the {self.runtime.service.name} service")
            try:
                await asyncio.wait_for(relay.fresh.wait(), POLL_SECONDS)
            except TimeoutError:
                continue
