"""What confirmed orders make of a customer, however often and in whatever order they are heard of."""

from __future__ import annotations

import itertools

import pytest
from google.type.date_pb2 import Date
from tradewind.customer.v1 import customer_pb2, events_pb2
from tradewind.inventory.v1 import events_pb2 as inventory
from tradewind.inventory.v1 import order_pb2

from tests.customer.people import somebody
from tests.customer.test_customer_service import brought_to, events_of, make
from tests.platform import Running


def confirmed(customer: str, day: int, id: str = "o1") -> inventory.OrderConfirmed:
    order = order_pb2.Order(
        name=f"orders/{id}", customer=customer, order_date=Date(year=2026, month=3, day=day), etag="2"
    )
    return inventory.OrderConfirmed(order=order)


@pytest.mark.parametrize("state", ["PROSPECT", "ACTIVE", "DORMANT", "LOST"])
async def test_whoever_orders_is_active(customer: Running, state: str) -> None:
    me = somebody(customer)
    before = await brought_to(me, state)
    await customer.deliver(confirmed(before.name, 5), tenant=me.tenant)
    after = await me.GetCustomer(name=before.name)
    assert (after.state, after.state_reason) == (customer_pb2.Customer.ACTIVE, "")
    assert after.first_order_date == after.last_order_date == Date(year=2026, month=3, day=5)
    kind = events_pb2.CustomerOrdered if state == "ACTIVE" else events_pb2.CustomerActivated
    assert (await events_of(me, kind))[-1].order == "orders/o1"


@pytest.mark.parametrize("days", list(itertools.permutations([5, 12, 20])))
async def test_orders_heard_of_late_or_twice_leave_the_same_customer(
    customer: Running, days: tuple[int, ...]
) -> None:
    me = somebody(customer)
    acme = await make(me)
    for day in (*days, days[0]):
        await customer.deliver(confirmed(acme.name, day, f"o{day}"), tenant=me.tenant)
    after = await me.GetCustomer(name=acme.name)
    assert (after.first_order_date.day, after.last_order_date.day) == (5, 20)
    assert len(await events_of(me, events_pb2.CustomerActivated)) == 1


async def test_an_order_of_a_customer_put_away_changes_nothing(customer: Running) -> None:
    me = somebody(customer)
    gone = await make(me)
    await me.DeleteCustomer(name=gone.name)
    await customer.deliver(confirmed(gone.name, 5), tenant=me.tenant)
    await customer.deliver(confirmed("customers/never", 5), tenant=me.tenant)
    assert (await me.GetCustomer(name=gone.name)).state == customer_pb2.Customer.PROSPECT
