"""What changed nothing and is on record all the same: bounded, by itself, and in nobody's way."""

from __future__ import annotations

from unittest import mock

import psycopg
import pytest
from tradewind.customer.v1 import customer_pb2
from tradewind.type.v1 import audit_pb2

from chassis.audit import history, sensitive, trail
from chassis.audit.trail import EACH, Trail
from chassis.call import Call, new_id
from chassis.kernel.refusals import Refused
from tests.platform import Running, refused, settle


@pytest.fixture
def notes(customer: Running) -> Trail:
    """A trail of its own over the customers' database."""
    return Trail("customer", customer.store)


def somebody(agent: str = "x") -> Call:
    return Call(tenant=new_id(), user=f"users/{new_id()}", method="/a.B/Get", peer="192.0.2.7", agent=agent)


async def kept(customer: Running, call: Call) -> list[audit_pb2.AuditEntry]:
    async with customer.store.begin(Call(tenant=call.tenant, user="services/customer")) as tx:
        found, _ = await history.page(tx, "customer", history.Wanted(), 200)
    return found


async def test_a_flood_is_noted_in_part_and_counted_for_the_rest(customer: Running, notes: Trail) -> None:
    call, other = somebody(), somebody()
    for _ in range(EACH + 512):
        notes.note(call, audit_pb2.REFUSED, reason="PERMISSION_DENIED")
    notes.note(other, audit_pb2.REFUSED)
    notes.note(call, audit_pb2.READ, records=["customers/1"])  # of another kind: it has a measure of its own
    await notes.stop()
    found = await kept(customer, call)
    assert len(found) == EACH + 2 and len(await kept(customer, other)) == 1
    assert sum(entry.more for entry in found if entry.outcome == audit_pb2.REFUSED) == 512


async def test_while_the_database_is_away_notes_wait_and_no_call_is_held_up(
    customer: Running, notes: Trail
) -> None:
    call = somebody()
    notes.note(call, audit_pb2.REFUSED, reason="PERMISSION_DENIED", records=["customers/1"])
    away = mock.patch.object(customer.store, "begin", side_effect=Refused("UNAVAILABLE", what="the database"))
    with away, pytest.raises(Refused):
        await notes.flush()
    with away, mock.patch.object(trail, "MOST_DUE", 3):
        for _ in range(10):  # as many as fit wait; it is known how many did not
            notes.note(call, audit_pb2.REFUSED)
    await notes.stop()
    found = await kept(customer, call)
    assert len(found) == 4 and sum(entry.more for entry in found) == 8
    assert [list(entry.records) for entry in found if entry.records] == [["customers/1"]]
    assert (found[0].network, found[0].device) == ("192.0.2.7", "x")


async def test_a_commit_whose_answer_was_lost_is_not_noted_twice(customer: Running, notes: Trail) -> None:
    call = somebody()
    notes.note(call, audit_pb2.REFUSED)
    batch = list(notes._due)
    await notes.flush()
    notes._due.extend(batch)
    for _ in range(5):
        notes.note(call, audit_pb2.READ)  # what came meanwhile is written with it
    await notes.flush()
    assert len(await kept(customer, call)) == 6


async def test_what_would_break_a_row_does_not_come_on_record(customer: Running, notes: Trail) -> None:
    call = somebody()
    names = [
        "customers/\0",
        "customers/two words",
        "no name",
        f"customers/{'x' * 500}",
        "customers/好",
        "customers/1",
    ]
    notes.note(call, audit_pb2.REFUSED, records=[*names, *(f"customers/{n}" for n in range(1, 300))])
    await notes.flush()
    [entry] = await kept(customer, call)
    assert len(entry.records) == 200 and entry.more_records == 99 and entry.records[0] == "customers/1"


async def test_notes_disturb_neither_consumers_nor_the_feed_nor_the_laws(
    customer: Running, opportunity: Running
) -> None:
    boss = customer.as_(permissions={"customers.read": "all", "customers.write": "all", "events.read": "all"})
    clerk = customer.as_(permissions={}, tenant=boss.tenant)
    made = await boss.CreateCustomer(customer=customer_pb2.Customer(display_name="Acme"))
    await refused(clerk.GetCustomer(name=made.name), "PERMISSION_DENIED")
    await customer.runtime.trail.flush()
    await settle(customer, opportunity)
    async with opportunity.store.database.connection() as connection:
        rows = await connection.execute("SELECT count(*) FROM parked_events")
        assert await rows.fetchone() == (0,)
    told = [event.type async for event in boss.WatchEvents(until_now=True)]
    assert told == ["tradewind.customer.v1.CustomerCreated"]
    async with customer.store.begin(Call(tenant=boss.tenant, user="services/customer")) as tx:
        rows = await tx.rows(
            "SELECT type, pos, form FROM outbox WHERE tenant_id = %s ORDER BY id", [boss.tenant]
        )
    assert [row["type"].rpartition(".")[2] for row in rows] == ["CustomerCreated", "CallNoted"]
    assert all(row["pos"] and row["form"] == 2 for row in rows)


def test_a_masked_field_was_not_read() -> None:
    masked = customer_pb2.Customer(name="customers/1", tax_id="***", phones=["***"])
    assert sensitive.shown(masked) == ([], set())
    masked.phones.append("+86 21 5555 0100")
    assert sensitive.shown(masked) == (["customers/1"], {"customers.phones"})


async def test_a_refused_call_costs_no_statement(customer: Running) -> None:
    clerk = customer.as_(permissions={})
    with mock.patch.object(customer.store, "begin", side_effect=AssertionError("asked the database")):
        await refused(clerk.GetCustomer(name="customers/1"), "PERMISSION_DENIED")


async def test_where_calls_come_from_stands_nowhere_in_the_clear_and_can_be_forgotten(
    customer: Running, notes: Trail
) -> None:
    call = somebody(agent="Canary/1")
    notes.note(call, audit_pb2.REFUSED)
    await notes.flush()
    with psycopg.connect(customer.owner_url) as db:
        for table in ("call_places", "outbox"):
            dump = repr(db.execute(f"SELECT * FROM {table} WHERE tenant_id = %s", [call.tenant]).fetchall())
            assert "192.0.2.7" not in dump and "Canary" not in dump and call.tenant in dump
        [entry] = await kept(customer, call)
        assert (entry.network, entry.device) == ("192.0.2.7", "Canary/1")
        # A row that stands for another place opens nothing; one that is gone is forgotten.
        db.execute("UPDATE call_places SET network = device WHERE tenant_id = %s", [call.tenant])
        db.commit()
        [entry] = await kept(customer, call)
        assert (entry.network, entry.device) == ("", "Canary/1")
        db.execute("DELETE FROM call_places WHERE tenant_id = %s", [call.tenant])
        db.commit()
    [entry] = await kept(customer, call)
    assert (entry.network, entry.device, entry.actor) == ("", "", call.user)
