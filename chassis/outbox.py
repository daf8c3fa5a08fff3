"""Events leave with the change that made them: rows of the outbox, numbered after the commit, then published.

A sequencer numbers committed rows per partition (cursors over ids lose rows of transactions that commit
late); the head row's lock is the fence, its lease decides who tries. PostgreSQL holds every fact; the
broker is a cache that may be deleted at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
import uuid
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from google.protobuf.any_pb2 import Any as Any_
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from tradewind.type.v1 import feed_pb2, options_pb2

from chassis import telemetry
from chassis.call import Call, new_id
from chassis.kernel.refusals import Refused

if TYPE_CHECKING:
    from chassis.bus import Bus
    from chassis.store import Store

PARTS = 4
LEASE_SECONDS = 5
POLL_SECONDS = 0.2
PACE_SECONDS = 0.1  # from one numbering to the next while facts keep coming: they go on together
AT_ONCE = 500  # facts read and published at a time
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_HEAD = "SELECT epoch::text, pos, published FROM outbox_head WHERE part = %s"
_READ = "SELECT * FROM outbox_read(%s::smallint, %s, %s::integer)"
_BEHIND = (
    "SELECT fact.* FROM outbox_head AS head, outbox_read(head.part, head.published + 1, %s::integer) AS fact"
    " WHERE head.part = %s"
)
log = logging.getLogger(__name__)


@lru_cache(maxsize=10_000)
def part_of(tenant: str) -> int:
    """The partition an organization lives in, the same for ever."""
    return zlib.crc32(uuid.UUID(tenant).bytes) % PARTS


@cache
def holds_personal(descriptor: Descriptor, above: tuple[str, ...] = ()) -> bool:
    """Whether anything personal can stand in a message of this type."""
    for field in descriptor.fields:
        options = field.GetOptions()
        if options.Extensions[options_pb2.personal] or options.Extensions[options_pb2.personal_when]:
            return True
        inner = field.message_type
        known = inner is None or inner.full_name in above or not inner.full_name.startswith("tradewind.")
        if not known and holds_personal(inner, (*above, descriptor.full_name)):
            return True
    return False


@cache
def personal_fields(descriptor: Descriptor) -> tuple[list[str], list[tuple[str, bool]]]:
    """(the personal fields of a message; those inside which there may be more, and whether they repeat)."""
    own = [f for f in descriptor.fields if f.GetOptions().Extensions[options_pb2.personal]]
    inner = [
        (field.name, bool(field.is_repeated))
        for field in descriptor.fields
        if field not in own and field.message_type is not None
        and field.message_type.full_name.startswith("tradewind.") and holds_personal(field.message_type)
    ]  # fmt: skip
    return [field.name for field in own], inner


@cache
def _sometimes_personal(descriptor: Descriptor) -> list[tuple[str, int, list[str]]]:
    """(field, number of its value, which fields are personal while it has that value)."""
    found: dict[tuple[str, int], list[str]] = {}
    for field in descriptor.fields:
        if when := field.GetOptions().Extensions[options_pb2.personal_when]:
            name, _, value = when.partition("=")
            values: Any = descriptor.fields_by_name[name].enum_type
            found.setdefault((name, values.values_by_name[value].number), []).append(field.name)
    return [(name, number, fields) for (name, number), fields in found.items()]


def also_personal(message: Any) -> list[str]:
    """The fields that are personal because of what this message says: a private customer's name."""
    return [
        field
        for name, number, fields in _sometimes_personal(message.DESCRIPTOR)
        if getattr(message, name) == number
        for field in fields
    ]


def impersonal(message: Any) -> Any:
    """The message without its personal fields: all that an event may carry."""
    own, inner = personal_fields(message.DESCRIPTOR)
    for name in also_personal(message):
        message.ClearField(name)
    for name in own:
        message.ClearField(name)
    for name, repeated in inner:
        if repeated:
            for item in getattr(message, name):
                impersonal(item)
        elif message.HasField(name):
            impersonal(getattr(message, name))
    return message


def row(
    event: Message, record: str, version: int, nth: int, call: Call, cause: str, place: str = ""
) -> list[Any]:
    """The outbox row of one event, in the order of writes.FACT_COLUMNS."""
    source = call.event
    if not cause:
        cause = call.cause or (f"event:{source.event_id}" if source is not None else "")
    return [
        part_of(call.tenant), new_id(), call.tenant, record, version, nth, event.DESCRIPTOR.full_name,
        impersonal(event).SerializeToString(deterministic=True), call.user, call.actor, cause,
        telemetry.traceparent() or call.traceparent, call.now, place,
    ]  # fmt: skip


def feed_event(row: Any, epoch: str) -> feed_pb2.FeedEvent:
    """A row of outbox_read as the event everyone else sees."""
    part, event_id, tenant, record, version, kind, payload, actor, behalf, cause, trace, at, pos = row
    since = at - _FIRST
    return feed_pb2.FeedEvent(
        event_id=event_id, partition=part, position=pos, epoch=epoch, organization=tenant, type=kind,
        record=record, record_version=version, actor=actor, on_behalf_of=behalf, cause=cause,
        occur_time=Timestamp(
            seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000),
        traceparent=trace, payload=Any_(type_url="type.googleapis.com/" + kind, value=payload),
    )  # fmt: skip


class Outbox:
    """Reads the numbered facts of one service."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def head(self, part: int) -> tuple[str, int, int]:
        """(epoch, last position, last published position) of a partition."""
        async with self.store.database.pipe() as pipe:
            rows = await pipe.ask(_HEAD, (part,)).rows()
        if not rows:
            raise Refused("FIELD_INVALID", field="partition", problem=f"must be from 0 to {PARTS - 1}")
        return rows[0]

    async def branch(self, part: int, epoch: str) -> feed_pb2.Branch:
        """What became of an epoch that is over; position 0 for one that nobody here knows."""
        async with self.store.database.connection() as connection:
            cursor = await connection.execute(
                "SELECT pos, since FROM outbox_branches WHERE part = %s AND epoch = %s", (part, epoch)
            )
            row = await cursor.fetchone()
        branch = feed_pb2.Branch()
        if row is not None:
            branch.position = row[0]
            branch.time.FromDatetime(row[1].astimezone(UTC))
        return branch

    async def refuse_purged(self, part: int, first: int, events: Sequence[feed_pb2.FeedEvent]) -> None:
        """EVENTS_PURGED when what was read from position *first* on begins later: the rest is not kept."""
        if events and events[0].position == max(first, 1):
            return
        async with self.store.database.connection() as connection:
            cursor = await connection.execute("SELECT purged FROM outbox_head WHERE part = %s", (part,))
            row = await cursor.fetchone()
        if row is not None and max(first, 1) <= row[0]:
            raise Refused("EVENTS_PURGED", first=row[0] + 1)

    async def read(self, part: int, first: int, most: int, epoch: str = "") -> list[feed_pb2.FeedEvent]:
        """Up to *most* facts from position *first* on; *epoch* is the partition's, where it is known."""
        epoch = epoch or (await self.head(part))[0]
        async with self.store.database.pipe() as pipe:
            rows = await pipe.ask(_READ, (part, first, most)).rows()
        return [feed_event(row, epoch) for row in rows]

    async def waiting(self, part: int, most: int) -> tuple[str, int, list[feed_pb2.FeedEvent]]:
        """(epoch, last published position, up to *most* facts behind it) of a partition."""
        async with self.store.database.pipe() as pipe:
            head = pipe.ask(_HEAD, (part,))
            behind = pipe.ask(_BEHIND, (most, part))
            [(epoch, _, published)], rows = await head.rows(), await behind.rows()
        return epoch, published, [feed_event(row, epoch) for row in rows]


class Relay:
    """Numbers what was committed and publishes it, in order, one leader per partition at a time."""

    def __init__(self, service: str, store: Store, bus: Bus | None) -> None:
        self.service, self.store, self.bus = service, store, bus
        self.outbox = Outbox(store)
        self.who = f"{socket.gethostname()}/{os.getpid()}/{new_id()[-6:]}"
        self.fresh = asyncio.Event()  # set when positions were given: feeds that wait wake up
        self._numbered = 0.0  # when facts were last given positions, by time.monotonic()
        self._due = [asyncio.Event() for _ in range(PARTS)]  # set when there is something to publish

    async def run(self) -> None:
        """Relay until cancelled; give the lease back at the end."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._number_on())
                if self.bus is not None:
                    for part in range(PARTS):
                        group.create_task(self._publish_on(part))
        finally:
            await asyncio.shield(self._release())

    async def step(self) -> bool:
        """Number and publish once over all partitions; whether there may be more to do."""
        busy = await self._number()
        await asyncio.gather(*(self._publish(part) for part in range(PARTS) if self._due[part].is_set()))
        return busy

    async def _number_on(self) -> None:
        """Number whatever is committed, whether the broker takes it or not."""
        while True:
            began = time.monotonic()
            try:
                busy = await self._number()
            except asyncio.CancelledError:
                raise
            except Exception as problem:  # the server may be away for a while: try again, visibly
                log.warning("relay waits: %s", problem)
                busy = False
                await asyncio.sleep(0.5)
            if not busy:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.store.woken.wait(), POLL_SECONDS)
                if self._numbered >= began:  # facts are coming: the next go on together
                    await asyncio.sleep(began + PACE_SECONDS - time.monotonic())
                self.store.woken.clear()

    async def _publish_on(self, part: int) -> None:
        """Publish what is numbered of a partition, while the next facts are being numbered."""
        while True:
            await self._due[part].wait()
            try:
                await self._publish(part)
            except asyncio.CancelledError:
                raise
            except Exception as problem:
                log.warning("relay waits: %s", problem)
                await asyncio.sleep(0.5)

    async def _release(self) -> None:
        try:
            async with self.store.database.connection() as connection:
                await connection.execute("SELECT outbox_release(%s)", (self.who,))
        except Exception as problem:
            log.info("the lease ends by itself: %s", problem)

    async def _number(self) -> bool:
        """Give positions to what was committed, in the partitions led from here; whether there is more."""
        # In one piece with its end: whoever is frozen here, or cut off, leaves no lock on the heads behind.
        async with self.store.database.pipe() as pipe:
            asked = [
                pipe.ask(
                    "SELECT outbox_turn(%s::smallint, %s, %s::double precision), published, pos"
                    " FROM outbox_head WHERE part = %s",
                    (part, self.who, float(LEASE_SECONDS), part),
                )
                for part in range(PARTS)
            ]
            counts = [(await one.rows())[0] for one in asked]
        busy = False
        for part, (numbered, published, before) in enumerate(counts):
            if numbered > 0:
                self._numbered = time.monotonic()
                self.fresh.set()
                self.fresh.clear()
            if numbered >= 0 and published < before + numbered:
                self._due[part].set()
            busy = busy or numbered >= 1000
        return busy

    async def _publish(self, part: int) -> None:
        """Publish all that is numbered of a partition; the next facts are read while these are under way."""
        self._due[part].clear()
        if self.bus is None:
            return
        epoch, published, events = await self.outbox.waiting(part, AT_ONCE)
        while events:
            done, ahead = await asyncio.gather(
                self.bus.publish(self.service, events), self._ahead(part, events, epoch)
            )
            if done > published:
                await self._published(part, done)
            if done < events[-1].position:
                return  # the broker is away or slow: the facts wait here, readers can still replay them
            published, events = done, ahead

    async def _ahead(
        self, part: int, events: Sequence[feed_pb2.FeedEvent], epoch: str
    ) -> list[feed_pb2.FeedEvent]:
        """The facts behind these, when they were as many as are read at once: fewer were all there are."""
        if len(events) < AT_ONCE:
            return []
        return await self.outbox.read(part, events[-1].position + 1, AT_ONCE, epoch)

    async def _published(self, part: int, upto: int) -> None:
        """Note how far the broker got. Forgotten in a crash it is published again, and dropped there."""
        async with self.store.database.pipe() as pipe:
            pipe.ask(
                "SELECT set_config('synchronous_commit', 'off', true),"
                " outbox_published(%s::smallint, %s, %s)",
                (part, self.who, upto),
            )
            await pipe.settle()
