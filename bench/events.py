"""Events on their way: published by the relay and folded by a consumer, beside one at a time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from tradewind.customer.v1 import customer_pb2, events_pb2
from tradewind.type.v1 import feed_pb2

from bench.alone import service, superuser, timed
from bench.harness import Bench, Sample
from bench.rig import Rig, rig
from chassis.bus import Bus
from chassis.call import new_id
from chassis.outbox import Relay, part_of
from chassis.service import Runtime

MANY, FEW = 6_000, 200  # facts in one round: all at once, one at a time
KIND = "tradewind.customer.v1.CustomerCreated"


def fact(number: int) -> events_pb2.CustomerCreated:
    """A customer as they are told of."""
    found = customer_pb2.Customer(
        name=f"customers/{new_id()}", etag="1", display_name=f"Customer {number}", industry="Tools",
        region="East", owner="users/0199", team="teams/0199", number=f"C-2026-{number:06d}",
    )  # fmt: skip
    return events_pb2.CustomerCreated(customer=found)


async def measure(bench: Bench) -> None:
    """Facts per second, out of the outbox into JetStream and out of a batch into a read model."""
    with rig() as found:
        async with service(found, "customer") as producer:
            await _relay(bench, found, producer)
        async with service(found, "analytics") as consumer:
            await _projection(bench, found, consumer)


async def _relay(bench: Bench, found: Rig, runtime: Runtime) -> None:
    assert found.servers.nats
    bus = Bus(found.servers.nats.url())
    await bus.connect()
    await bus.assert_stream("customer")
    tenant = new_id()

    async def relay() -> Sample:
        committed(found, tenant, MANY)
        relay = Relay("customer", runtime.store, bus)
        return await timed(found, lambda: _relayed(relay, part_of(tenant), MANY))

    async def single() -> Sample:
        committed(found, tenant, FEW)
        relay = Relay("customer", runtime.store, bus)
        await relay._number()
        events = await relay.outbox.read(part_of(tenant), 1, FEW)

        async def one_by_one() -> int:
            for event in events:
                await bus.publish("customer", [event])
            return FEW

        return await timed(found, one_by_one)

    runs = await bench.interleave(relay=relay, single=single)
    await bus.close()
    bench.row("relay, events per second", "an absolute number", runs.of("relay"), ("at least", 8_000),
              f"{runs.ratio('relay', 'single')} × one by one ({runs.of('single')} a second);"
              " the broker writes every batch to disk before it answers")  # fmt: skip
    bench.costs_of("an event relayed", runs, "relay")


def committed(found: Rig, tenant: str, count: int) -> None:
    """So many facts of one organization in the outbox, none of them numbered, and nothing else."""
    with superuser(found, "customer") as db:
        db.execute("TRUNCATE outbox")
        db.execute("UPDATE outbox_head SET pos = 0, published = 0, owner = NULL, lease_until = NULL")
        columns = "part, event_id, tenant_id, record, record_version, nth, type, payload, actor"
        with db.cursor().copy(
            f"COPY outbox ({columns}, on_behalf_of, cause, traceparent) FROM STDIN"
        ) as copy:
            for number in range(count):
                event = fact(number)
                copy.write_row((part_of(tenant), new_id(), tenant, event.customer.name, 1, 0, KIND,
                                event.SerializeToString(), "users/bench", "", "", ""))  # fmt: skip


async def _relayed(relay: Relay, part: int, count: int) -> int:
    task = asyncio.create_task(relay.run())
    while (await relay.outbox.head(part))[2] < count:  # noqa: ASYNC110 — it is the broker's word that counts
        await asyncio.sleep(0.01)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return count


async def _projection(bench: Bench, found: Rig, runtime: Runtime) -> None:
    async def together() -> Sample:
        return await _applied(found, runtime, MANY, 2_000)

    async def single() -> Sample:
        return await _applied(found, runtime, FEW, 1)

    runs = await bench.interleave(together=together, single=single)
    bench.row("projection, events per second", "an absolute number", runs.of("together"),
              ("at least", 8_000), "the customers of the reports")  # fmt: skip
    bench.row("projection, events per second", "one by one", runs.ratio("together", "single"),
              ("at least", 15.0), f"one by one {runs.of('single')} a second")  # fmt: skip
    bench.costs_of("an event folded", runs, "together")
    bench.costs_of("an event folded by itself", runs, "single")


async def _applied(found: Rig, runtime: Runtime, count: int, at_once: int) -> Sample:
    """So many facts of a new organization, applied by the consumer in batches as they were fetched."""
    tenant, epoch = new_id(), new_id()
    with superuser(found, "analytics") as db:
        db.execute("DELETE FROM event_cursor")
    events = [_told(tenant, epoch, position) for position in range(1, count + 1)]

    async def work() -> int:
        for at in range(0, count, at_once):
            await runtime.consumer.apply("customer", part_of(tenant), events[at : at + at_once])
        return count

    return await timed(found, work)


def _told(tenant: str, epoch: str, position: int) -> feed_pb2.FeedEvent:
    event: Any = fact(position)
    told = feed_pb2.FeedEvent(
        event_id=new_id(), partition=part_of(tenant), position=position, epoch=epoch, organization=tenant,
        type=KIND, record=event.customer.name, record_version=1, actor="users/bench",
    )  # fmt: skip
    told.occur_time.GetCurrentTime()
    told.payload.Pack(event)
    return told
