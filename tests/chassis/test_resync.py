"""A restored service and those who listened to it: what it lost is taken back, once, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import psycopg
import pytest
import pytest_asyncio
import sqlalchemy as sa
from tradewind.customer.v1 import customer_pb2, events_pb2
from tradewind.type.v1 import feed_pb2

from chassis import migrate
from chassis.call import Call, new_id
from chassis.database import Database
from chassis.events import Consumer, on
from chassis.jobs import Jobs
from chassis.kernel.refusals import Refused
from chassis.outbox import part_of
from chassis.resync import Loss, after_restoring
from chassis.store import ReadModel, Rows, Store, Tx
from tests.chassis.notes import Note, NoteStore
from tests.platform import Platform
from tests.servers import Servers

ALL = {"customers.read": "all", "customers.write": "all"}


class Reader(NoteStore):
    """A store whose counts hold nothing but what the customer service told."""

    counts = ReadModel("counts", key={"word": sa.Text()}, sums=("seen", "weight"))
    sources: Mapping[str, Sequence[Rows]] = {"customer": (counts,)}


class Listening:
    """A reader of the customer service: counts every customer it hears of, and notes what it repaired."""

    def __init__(self, store: Store, clients: Any) -> None:
        self.losses: list[Loss] = []
        module = ModuleType("listening")

        @on(events_pb2.CustomerCreated, events_pb2.CustomerUpdated)
        async def count(event: Any, tx: Tx) -> None:
            tx.fold(Reader.counts, key={"word": event.customer.display_name}, add={"seen": 1, "weight": 1})

        @after_restoring("customer")
        async def repair(loss: Loss) -> None:
            self.losses.append(loss)
            async with loss.begin() as tx:
                loss.report(tx, "customers/one", "LOOK", "was here")

        module.count, module.repair = count, repair  # type: ignore[attr-defined]
        self.consumer = Consumer("reader", store, module, clients, module)


@pytest_asyncio.fixture
async def reader(servers: Servers, platform: Platform) -> AsyncIterator[Listening]:
    """Its cursors stand at the end of what the customer service has told so far."""
    urls = servers.database("reader")
    migrate.upgrade("tests.chassis.notes", *urls)
    service = await platform.service("customer")
    store = Reader(Database(urls[1], 5))
    with psycopg.connect(urls[0]) as db:
        db.execute("DELETE FROM event_cursor")
        db.execute("DELETE FROM reconciled")
    while await service.runtime.relay.step():
        pass
    other = await platform.service("opportunity")
    yield Listening(store, other.runtime.clients)
    await store.database.close()


def seen(urls: str) -> dict[str, int]:
    """Word → how often it was counted."""
    with psycopg.connect(urls) as db:
        return dict(db.execute("SELECT word, seen FROM counts").fetchall())


async def test_what_a_restored_service_lost_is_counted_no_more_and_the_rest_once(
    platform: Platform, servers: Servers, reader: Listening
) -> None:
    customer = await platform.service("customer")
    owner = servers.database("reader")[0]
    boss = customer.as_(permissions=ALL)
    part, consumer = part_of(boss.tenant), reader.consumer
    for name in ("kept", "lost"):
        await boss.CreateCustomer(customer=customer_pb2.Customer(display_name=name))
    while await customer.runtime.relay.step():
        pass
    await consumer.catch_up("customer", part)
    assert (seen(owner)["kept"], seen(owner)["lost"]) == (1, 1)
    epoch, at = await consumer.cursor("customer", part)
    # As a restoration leaves it: the last fact is gone, the epoch is another, and the branch is known.
    with psycopg.connect(customer.owner_url) as db:
        before = db.execute("SELECT hash FROM outbox WHERE part = %s AND pos = %s", (part, at - 1)).fetchone()
        db.execute("DELETE FROM outbox WHERE part = %s AND pos = %s", (part, at))
        db.execute(
            "UPDATE outbox_head SET epoch = gen_random_uuid(), pos = pos - 1, hash = %s, owner = NULL,"
            " lease_until = NULL WHERE part = %s", (before[0] if before else b"", part),
        )  # fmt: skip
        db.execute("INSERT INTO outbox_branches VALUES (%s, %s, %s, now())", (part, epoch, at - 1))
    assert await consumer.catch_up("customer", part) == at - 1
    counts = seen(owner)
    assert (counts.get("kept"), counts.get("lost")) == (1, None)
    assert boss.tenant in {loss.call.tenant for loss in reader.losses}
    assert (await consumer.cursor("customer", part))[1] == at - 1
    losses = len(reader.losses)
    await boss.CreateCustomer(customer=customer_pb2.Customer(display_name="after"))
    while await customer.runtime.relay.step():
        pass
    assert await consumer.catch_up("customer", part) == 1
    assert (seen(owner)["kept"], seen(owner)["after"]) == (1, 1)
    assert len(reader.losses) == losses  # it is asked for once
    with psycopg.connect(owner) as db:
        said = db.execute("SELECT source, record, done FROM reconciled WHERE tenant_id = %s", [boss.tenant])
        assert said.fetchall() == [("customer", "customers/one", "LOOK")]


async def test_a_reader_that_was_not_that_far_goes_on_where_it_is(
    platform: Platform, servers: Servers, reader: Listening
) -> None:
    customer = await platform.service("customer")
    boss = customer.as_(permissions=ALL)
    part, consumer = part_of(boss.tenant), reader.consumer
    await boss.CreateCustomer(customer=customer_pb2.Customer(display_name="early"))
    while await customer.runtime.relay.step():
        pass
    await consumer.catch_up("customer", part)
    epoch, at = await consumer.cursor("customer", part)
    with psycopg.connect(customer.owner_url) as db:
        db.execute("UPDATE outbox_head SET epoch = gen_random_uuid() WHERE part = %s", (part,))
        db.execute("INSERT INTO outbox_branches VALUES (%s, %s, %s, now())", (part, epoch, at + 3))
    assert await consumer.catch_up("customer", part) == 0
    again, kept = await consumer.cursor("customer", part)
    assert (again != epoch, kept) == (True, at)
    assert seen(servers.database("reader")[0])["early"] == 1


async def test_another_process_with_facts_of_before_changes_nothing(
    platform: Platform, servers: Servers, reader: Listening
) -> None:
    tenant, consumer = new_id(), reader.consumer
    part, old, new = part_of(tenant), new_id(), new_id()

    def fact(epoch: str, position: int) -> feed_pb2.FeedEvent:
        event = feed_pb2.FeedEvent(
            event_id=new_id(), partition=part, position=position, epoch=epoch, organization=tenant,
            type="tradewind.customer.v1.CustomerCreated", record="customers/x", record_version=position,
        )  # fmt: skip
        event.payload.Pack(events_pb2.CustomerCreated(customer=customer_pb2.Customer(display_name="twice")))
        event.occur_time.GetCurrentTime()
        return event

    consumer.clients = None
    assert await consumer.apply("customer", part, [fact(old, 1)]) == 1
    at = await consumer.cursor("customer", part)
    branch = feed_pb2.Branch(position=1)
    await consumer.resync.run("customer", part, at, new, branch)
    # Both positions fit, but the batch is of an epoch that is over.
    late = Consumer("reader", consumer.store, None, None)
    assert await late._apply_run("customer", part, 1, [fact(old, 2)]) == 1
    assert await consumer.cursor("customer", part) == (new, 1)


async def test_versions_of_before_a_restoration_never_come_again(
    notes: NoteStore, notes_urls: tuple[str, str]
) -> None:
    call = Call(tenant=new_id(), user="users/a")
    async with notes.begin(call) as tx:
        first = tx.add(Note(id=new_id(), title=new_id()))
    with psycopg.connect(notes_urls[0]) as db:
        db.execute("UPDATE outbox_head SET version_floor = 1000")
    restored = NoteStore(Database(notes_urls[1], 2))
    try:
        async with restored.begin(call) as tx:
            assert (await tx.get(Note, tx.name(first))).version == 1
            assert tx.save(await tx.get(Note, tx.name(first))).version == 1000
        async with restored.begin(call) as tx:
            with pytest.raises(Refused):
                await tx.get(Note, tx.name(first), etag="2")
            assert tx.save(await tx.get(Note, tx.name(first))).version == 1001
            assert tx.add(Note(id=new_id(), title=new_id())).version == 1000
    finally:
        await restored.database.close()
        with psycopg.connect(notes_urls[0]) as db:
            db.execute("UPDATE outbox_head SET version_floor = 0")


async def test_old_facts_go_when_that_is_wished_and_a_late_reader_is_told(
    platform: Platform, servers: Servers
) -> None:
    """In a database of its own: what others have told stays."""
    urls = servers.database("purged")
    migrate.upgrade("tests.chassis.notes", *urls)
    tenant = new_id()
    part = part_of(tenant)
    with psycopg.connect(urls[0], autocommit=True) as db:
        for n, age in enumerate((30, 20, 15, 1, 20), 1):
            db.execute(
                "INSERT INTO outbox (part, event_id, tenant_id, record, record_version, nth, type, payload,"
                " actor, on_behalf_of, cause, traceparent, occurred_at) VALUES (%s, gen_random_uuid(), %s,"
                " 'notes/1', %s, 0, 't.NoteAdded', '', '', '', '', '', now() - make_interval(days => %s))",
                (part, tenant, n, age),
            )  # fmt: skip
        db.execute("SELECT outbox_number(%s::smallint, 'me', 5)", (part,))
        db.execute("SELECT outbox_published(%s::smallint, 'me', 2)", (part,))
        store = NoteStore(Database(urls[1], 2))
        jobs = Jobs("notes", store, None, None, outbox_days=14)
        try:
            assert await jobs.tidy("purge_outbox") == 2  # the third is not published yet
            db.execute("SELECT outbox_published(%s::smallint, 'me', 5)", (part,))
            assert await jobs.tidy("purge_outbox") == 1  # the fifth is behind one that stays
            with pytest.raises(psycopg.errors.RaiseException):
                db.execute("SELECT outbox_purge('13 days')")
            from chassis.outbox import Outbox

            outbox = Outbox(store)
            for first in (0, 1, 3):
                with pytest.raises(Refused) as no:
                    await outbox.refuse_purged(part, first, await outbox.read(part, first, 10))
                assert (no.value.reason, no.value.facts) == ("EVENTS_PURGED", {"first": "4"})
            found = await outbox.read(part, 4, 10)
            await outbox.refuse_purged(part, 4, found)
            assert [event.position for event in found] == [4, 5]
            await outbox.refuse_purged(part, 6, [])
        finally:
            await store.database.close()
    assert "purge_outbox" not in Jobs("notes", store, None, None).chores


async def test_replay_says_what_became_of_an_epoch(platform: Platform) -> None:
    await platform.service("customer")
    clients = (await platform.service("opportunity")).runtime.clients
    call = Call(tenant=new_id(), user="services/opportunity")

    async def replay(epoch: str) -> Any:
        request = feed_pb2.ReplayEventsRequest(partition=0, from_position=1, limit=1, epoch=epoch)
        return await clients.ask("tradewind.customer.v1.EventsService.ReplayEvents", request, call)

    now = await replay("")
    assert not now.HasField("branch")
    assert not (await replay(now.epoch)).HasField("branch")
    unknown = await replay(new_id())
    assert (unknown.branch.position, unknown.branch.HasField("time"), len(unknown.events)) == (0, False, 0)
    assert unknown.epoch == now.epoch
