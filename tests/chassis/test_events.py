"""Facts on their way: nothing lost, nothing twice, in order per record, with the broker or without it."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from tradewind.customer.v1 import customer_pb2, events_pb2
from tradewind.type.v1 import feed_pb2

from chassis.bus import Bus
from chassis.call import Call, new_id
from chassis.events import ATTEMPTS, Consumer, on
from chassis.kernel.refusals import Refused
from chassis.outbox import Relay, part_of
from chassis.parked import parked, retry
from chassis.store import Tx
from tests.platform import EPOCH, Platform, Running
from tests.servers import Servers

ALL = {"customers.read": "all", "customers.write": "all"}


class Heard:
    """A reactions module that writes down, in its transaction, what it was told."""

    def __init__(self, owner_url: str) -> None:
        self.owner_url = owner_url
        self.fail: set[str] = set()
        self.problem: Exception = ValueError("this one is beyond us")
        self.tried: Counter[str] = Counter()
        with psycopg.connect(owner_url) as db:
            db.execute("DROP TABLE IF EXISTS told")
            db.execute("CREATE TABLE told (at int GENERATED ALWAYS AS IDENTITY, tenant_id uuid, name text)")
            db.execute("ALTER TABLE told ADD version bigint")

        @on(events_pb2.CustomerCreated, events_pb2.CustomerUpdated)
        async def remember(event: Any, tx: Tx) -> None:
            found = event.customer
            self.tried[found.display_name] += 1
            if found.display_name in self.fail:
                raise self.problem
            tx.writes.raw(
                "INSERT INTO told (tenant_id, name, version) VALUES (%s, %s, %s) RETURNING 1",
                [tx.call.tenant, found.display_name, int(found.etag)],
            )

        self.remember = remember

    @property
    def told(self) -> list[tuple[str, int]]:
        """(name, version) of everything that was kept, in the order of its keeping."""
        with psycopg.connect(self.owner_url) as db:
            return db.execute("SELECT name, version FROM told ORDER BY at").fetchall()


def fact(tenant: str, position: int, name: str, version: int = 1) -> feed_pb2.FeedEvent:
    """The fact that a customer was created, at a position."""
    found = customer_pb2.Customer(name=f"customers/{name}", display_name=name, etag=str(version))
    event = feed_pb2.FeedEvent(
        event_id=new_id(), partition=part_of(tenant), position=position, epoch=EPOCH, organization=tenant,
        type="tradewind.customer.v1.CustomerCreated", record=found.name, record_version=version,
        actor="users/tester",
    )  # fmt: skip
    event.payload.Pack(events_pb2.CustomerCreated(customer=found))
    event.occur_time.GetCurrentTime()
    return event


@pytest_asyncio.fixture
async def listener(platform: Platform) -> AsyncIterator[tuple[Consumer, Heard]]:
    """A consumer with its cursors at the beginning, kept in the opportunity service's database."""
    service = await platform.service("opportunity")
    heard = Heard(service.owner_url)
    consumer = Consumer("listener", service.store, heard, None)  # type: ignore[arg-type]
    async with service.store.database.connection() as connection:
        await connection.execute("DELETE FROM event_cursor WHERE source = 'customer'")
    yield consumer, heard
    async with service.store.database.connection() as connection:
        await connection.execute("DELETE FROM event_cursor WHERE source = 'customer'")
    with psycopg.connect(service.owner_url) as db:
        db.execute("DROP TABLE told")


async def test_twice_late_or_with_a_hole_counts_once_and_in_order(listener: tuple[Consumer, Heard]) -> None:
    consumer, heard = listener
    tenant = new_id()
    part, facts = part_of(tenant), [fact(tenant, n, f"c{n}") for n in range(1, 6)]
    assert await consumer.apply("customer", part, facts[:2]) == 2
    assert await consumer.apply("customer", part, facts[:2]) == 2  # delivered twice
    assert await consumer.apply("customer", part, facts[3:]) == 2  # a hole: nothing moves
    assert await consumer.apply("customer", part, facts) == 5  # the replay closes it
    assert [name for name, _ in heard.told] == ["c1", "c2", "c3", "c4", "c5"]


async def test_two_processes_with_the_same_batch_apply_it_once(listener: tuple[Consumer, Heard]) -> None:
    first, heard = listener
    second = Consumer("listener", first.store, heard, None)  # type: ignore[arg-type]
    tenant = new_id()
    facts = [fact(tenant, n, f"c{n}") for n in range(1, 101)]
    reached = await asyncio.gather(*(c.apply("customer", part_of(tenant), facts) for c in (first, second)))
    assert reached == [100, 100]
    assert heard.told == [(f"c{n}", 1) for n in range(1, 101)]


async def test_organizations_of_one_partition_are_told_in_order_and_each_in_one_go(
    listener: tuple[Consumer, Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, heard = listener
    tenants = [new_id()]
    while len(tenants) < 3:
        if part_of(other := new_id()) == part_of(tenants[0]):
            tenants.append(other)
    facts = [fact(tenants[n % 3], n, f"c{n % 3}", n) for n in range(1, 61)]
    entered: list[str] = []
    enter = Tx._enter

    def watched(tx: Tx, call: Call) -> None:
        entered.append(call.tenant)
        enter(tx, call)

    monkeypatch.setattr(Tx, "_enter", watched)
    assert await consumer.apply("customer", part_of(tenants[0]), facts) == 60
    assert sorted(entered) == sorted(tenants)
    for which in range(3):
        mine = [version for name, version in heard.told if name == f"c{which}"]
        assert mine == sorted(mine) and len(mine) == 20


async def test_a_commit_whose_answer_was_lost_is_not_applied_again(
    listener: tuple[Consumer, Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, heard = listener
    tenant = new_id()
    part, facts = part_of(tenant), [fact(tenant, n, f"c{n}") for n in range(1, 6)]
    commit, answers = consumer._transaction, iter([True])

    async def cut_off(*batch: Any) -> None:
        await commit(*batch)
        if next(answers, False):
            raise psycopg.OperationalError("the connection is closed")

    monkeypatch.setattr(consumer, "_transaction", cut_off)
    assert await consumer.apply("customer", part, facts) == 5
    assert [name for name, _ in heard.told] == ["c1", "c2", "c3", "c4", "c5"]


async def test_a_database_that_keeps_going_away_parks_nothing(
    listener: tuple[Consumer, Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, heard = listener
    tenant = new_id()
    part, facts = part_of(tenant), [fact(tenant, n, f"c{n}") for n in range(1, 4)]
    commit, goes = consumer._transaction, iter(range(ATTEMPTS + 2))

    async def cut_off(*batch: Any) -> None:
        if next(goes, None) is not None:
            raise psycopg.OperationalError("consuming input failed: server closed the connection")
        await commit(*batch)

    monkeypatch.setattr(consumer, "_transaction", cut_off)
    assert await consumer.apply("customer", part, facts) == 3
    assert [name for name, _ in heard.told] == ["c1", "c2", "c3"]


async def test_an_event_that_keeps_failing_is_parked_and_the_others_go_on(
    listener: tuple[Consumer, Heard],
) -> None:
    consumer, heard = listener
    tenant = new_id()
    part = part_of(tenant)
    facts = [
        fact(tenant, 1, "good"),
        fact(tenant, 2, "bad"),
        fact(tenant, 3, "fine"),
        fact(tenant, 4, "bad", 2),
    ]
    heard.fail.add("bad")
    reached, rounds = 0, 0
    while reached < 4 and rounds < 10:
        reached, rounds = await consumer.apply("customer", part, facts), rounds + 1
    assert (reached, [name for name, _ in heard.told]) == (4, ["good", "fine"])
    assert heard.tried["bad"] == ATTEMPTS, "with its batch and alone; the later one is not tried"
    heard.fail.clear()
    assert await retry(consumer) == (2, [])
    assert heard.told[2:] == [("bad", 1), ("bad", 2)]  # in their order


async def test_what_is_parked_is_shown_and_tried_again_by_source_and_record(
    listener: tuple[Consumer, Heard],
) -> None:
    consumer, heard = listener
    tenant = new_id()
    part = part_of(tenant)
    gone = fact(tenant, 3, "bad", 2)  # nobody here listens to it, but it has its place in the order
    gone.type = "tradewind.customer.v1.CustomerDeleted"
    gone.payload.type_url = "type.googleapis.com/" + gone.type
    facts = [fact(tenant, 1, "bad"), fact(tenant, 2, "worse"), gone, fact(tenant, 4, "bad", 3)]
    heard.fail |= {"bad", "worse"}
    reached = 0
    while reached < 4:
        reached = await consumer.apply("customer", part, facts)
    waiting = await parked(consumer)
    assert [(one.record, one.version) for one in waiting] == [
        ("customers/bad", 1), ("customers/worse", 1), ("customers/bad", 2), ("customers/bad", 3),
    ]  # fmt: skip
    assert "beyond us" in waiting[0].problem and "earlier event" in waiting[3].problem
    assert await parked(consumer, source="contract") == [] == await parked(consumer, record="customers/x")
    heard.fail -= {"bad"}
    assert (await retry(consumer, record="customers/worse"))[0] == 0
    applied, left = await retry(consumer)
    assert (applied, [one.record for one in left]) == (3, ["customers/worse"])
    assert heard.told == [("bad", 1), ("bad", 3)]
    heard.fail.clear()
    assert await retry(consumer, source="customer") == (1, [])


async def test_what_one_process_parked_waits_in_every_other_and_no_longer_than_it_must(
    listener: tuple[Consumer, Heard],
) -> None:
    first, heard = listener
    second = Consumer("listener", first.store, heard, None)  # type: ignore[arg-type]
    tenant = new_id()
    part = part_of(tenant)
    facts = [fact(tenant, 1, "bad"), fact(tenant, 2, "bad", 2), fact(tenant, 3, "bad", 3)]
    heard.fail.add("bad")
    for _ in range(5):
        await first.apply("customer", part, facts[:1])
    heard.fail.clear()
    assert await second.apply("customer", part, facts[:2]) == 2
    assert heard.told == []  # the second version does not overtake the first
    third = Consumer("listener", first.store, heard, None)  # type: ignore[arg-type]
    assert await retry(third) == (2, [])
    for consumer in (first, second):
        assert await consumer.apply("customer", part, facts) == 3
    assert heard.told == [("bad", 1), ("bad", 2), ("bad", 3)]


@pytest.mark.parametrize(
    "problem",
    [
        Refused("OVERLOADED", limit="all database connections are busy"),
        psycopg.errors.DeadlockDetected(),
        psycopg.errors.LockNotAvailable(),
        psycopg.errors.DiskFull(),
    ],
    ids=lambda problem: type(problem).__name__,
)
async def test_want_of_room_parks_no_event_however_long_it_lasts(
    listener: tuple[Consumer, Heard], monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    monkeypatch.setattr("chassis.events.AWAY_SECONDS", 0.01)
    consumer, heard = listener
    tenant = new_id()
    heard.fail.add("late")
    heard.problem = problem
    facts = [fact(tenant, 1, "late"), fact(tenant, 2, "later", 2)]
    applying = asyncio.create_task(consumer.apply("customer", part_of(tenant), facts))
    async with asyncio.timeout(30):
        while heard.tried["late"] < 10:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        heard.fail.clear()
        assert await applying == 2
    assert heard.told == [("late", 1), ("later", 2)]
    assert await retry(consumer) == (0, [])


async def test_only_the_producer_says_that_it_begins_anew(listener: tuple[Consumer, Heard]) -> None:
    consumer, heard = listener
    tenant = new_id()
    part = part_of(tenant)

    def facts(epoch: str, *names: str) -> list[feed_pb2.FeedEvent]:
        found = [fact(tenant, n, name) for n, name in enumerate(names, 1)]
        for event in found:
            event.epoch = epoch
        return found

    before, after = new_id(), new_id()
    assert await consumer.apply("customer", part, facts(before, "a", "b")) == 2
    assert await consumer.apply("customer", part, facts(after, "a", "b", "c")) == 0
    assert await consumer.cursor("customer", part) == (before, 2)
    await consumer.resync.run(
        "customer", part, (before, 2), after, feed_pb2.Branch()
    )  # the producer's own word
    assert await consumer.apply("customer", part, facts(after, "c")) == 1
    # One batch of the broker, half from before: only what is of the epoch counts.
    mixed = [*facts(after, "c", "d"), fact(tenant, 3, "late")]
    assert await consumer.apply("customer", part, mixed) == 2
    assert await consumer.cursor("customer", part) == (after, 2)
    assert [name for name, _ in heard.told] == ["a", "b", "c", "d"]


async def through(
    customer: Running, bus: Bus, relay: Relay, consumer: Consumer, tenant: str, count: int
) -> int:
    """Relay and consume until *count* facts of the organization's partition were applied, or it is no use."""
    part, _epoch = part_of(tenant), None
    for _ in range(60):
        await relay.step()
        fetched = await bus.fetch("listener", "customer", part)
        if fetched and fetched[0]:
            await consumer.apply("customer", part, fetched[0])
            await fetched[1]()
        if (
            fetched is None
            or not fetched[0]
            or (await consumer.cursor("customer", part))[1] < fetched[0][-1].position
        ):
            await consumer.catch_up("customer", part)
        if (await consumer.cursor("customer", part))[1] >= count:
            return (await consumer.cursor("customer", part))[1]
    return -1


async def test_the_brokers_store_deleted_in_flight_loses_nothing(
    platform: Platform, servers: Servers, listener: tuple[Consumer, Heard]
) -> None:
    customer = await platform.service("customer")
    consumer, heard = listener
    consumer.clients = (await platform.service("opportunity")).runtime.clients
    boss = customer.as_(permissions=ALL)
    part = part_of(boss.tenant)
    bus = Bus(servers.nats_url)
    await bus.connect()
    relay = Relay("customer", customer.store, bus)
    await customer.runtime.relay._release()
    try:
        for n in range(30):
            await boss.CreateCustomer(customer=customer_pb2.Customer(display_name=f"Flight {n}"))
            if n == 15:
                await relay.step()
                servers.nats.stop()
                shutil.rmtree(servers.nats.home / "nats", ignore_errors=True)
                servers.nats.start()
        while await relay.step():
            pass
        head = (await relay.outbox.head(part))[1]
        assert await through(customer, bus, relay, consumer, boss.tenant, head) == head
    finally:
        await relay._release()
        await bus.close()
    mine = [name for name, _ in heard.told if name.startswith("Flight")]
    assert mine == [f"Flight {n}" for n in range(30)]
