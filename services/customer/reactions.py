"""What the customer service does when something happens elsewhere."""

from __future__ import annotations

from typing import Any

from tradewind.access.v1 import events_pb2 as access_events_pb2
from tradewind.customer.v1 import events_pb2
from tradewind.inventory.v1 import events_pb2 as inventory_events_pb2

from chassis.events import on
from chassis.shapes import read_date
from chassis.shares import end_shares
from chassis.store import Tx
from services.customer.domain.customer import Customer, State
from services.customer.rpc import territories
from services.customer.rpc.customer import show


@on(inventory_events_pb2.OrderConfirmed)
async def note_the_order(event: inventory_events_pb2.OrderConfirmed, tx: Tx) -> None:
    """Whoever has a confirmed order is an active customer; the same order heard of twice changes nothing."""
    order = event.order
    customer = await tx.find(Customer, id=order.customer.removeprefix("customers/"))
    if customer is None:
        return  # put away since: an order does not bring it back
    day = read_date(order.order_date, "order_date") if order.HasField("order_date") else tx.call.today
    after = customer.ordered(day)
    if after == customer:
        return
    kept = tx.save(after)
    if customer.state is State.ACTIVE:
        tx.emit(events_pb2.CustomerOrdered(customer=show(kept), order=order.name))
    else:
        tx.emit(events_pb2.CustomerActivated(customer=show(kept), order=order.name))


@on(access_events_pb2.UserDisabled)
async def end_shares_of_a_user(event: access_events_pb2.UserDisabled, tx: Tx) -> None:
    await end_shares(tx, event.user.name)


@on(access_events_pb2.TeamDeleted)
async def end_shares_of_a_team(event: access_events_pb2.TeamDeleted, tx: Tx) -> None:
    await end_shares(tx, event.team.name)


@on(
    access_events_pb2.TerritoryCreated,
    access_events_pb2.TerritoryUpdated,
    access_events_pb2.TerritoryMoved,
    access_events_pb2.TerritoryDeleted,
)
async def follow_the_territories(event: Any, tx: Tx) -> None:
    """Customers are settled by the territories of now, and those that lie elsewhere by them move."""
    await territories.know(tx, event.territory, deleted=event.territory.HasField("delete_time"))
