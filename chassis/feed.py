"""The EventsService every service offers: replay for gap repair, and the endless feed for everyone else."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from typing import Any

from tradewind.type.v1 import audit_pb2, feed_pb2

from chassis.audit import AuditRpc
from chassis.call import Call
from chassis.kernel.refusals import Refused
from chassis.outbox import Outbox, Relay, part_of
from chassis.rpc import Rpc

BATCH = 500
POLL_SECONDS = 1.0


def feed_of(service: str) -> type[Rpc]:
    """The rpc class of `tradewind.<service>.v1.EventsService`."""
    importlib.import_module(f"tradewind.{service}.v1.events_pb2")  # a service may have no events of its own
    return type("FeedRpc", (_Feed, AuditRpc), {"service": f"tradewind.{service}.v1.EventsService"})


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

    async def WatchEvents(self, request: Any, call: Call) -> AsyncIterator[feed_pb2.FeedEvent]:
        outbox, part, wanted = Outbox(self.store), part_of(call.tenant), set(request.types)
        at = request.after_position
        relay: Relay = self.runtime.relay
        await outbox.refuse_purged(part, at + 1, [])
        self.runtime.trail.note(call, audit_pb2.READ, fields=[f"{self.runtime.service.name}.events"])
        while True:
            _, head, _ = await outbox.head(part)
            while events := await outbox.read(part, at + 1, BATCH):
                for event in events:
                    at = event.position
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
