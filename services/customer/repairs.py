"""What the customer service names when the inventory service was restored."""

from __future__ import annotations

from tradewind.customer.v1 import events_pb2
from tradewind.inventory.v1 import order_pb2

from chassis.resync import Loss, after_restoring

_TOLD = {
    kind.DESCRIPTOR.full_name: kind for kind in (events_pb2.CustomerOrdered, events_pb2.CustomerActivated)
}
_UNPROMISED = (order_pb2.Order.DRAFT, order_pb2.Order.CONFIRMING)


@after_restoring("inventory")
async def name_whose_orders_are_gone(loss: Loss) -> None:
    """A customer stays active, and counts as having ordered that day, until somebody says otherwise."""
    async with loss.begin() as tx:
        rows = await tx.rows(
            "SELECT type, payload FROM outbox WHERE tenant_id = %s AND type = ANY(%s) AND occurred_at >= %s",
            [loss.call.tenant, list(_TOLD), loss.since],
        )
    for row in rows:
        event = _TOLD[row["type"]].FromString(bytes(row["payload"]))
        if not event.order:
            continue
        order = await loss.ask("OrderService.GetOrder", order_pb2.GetOrderRequest(name=event.order))
        if order is None or order.state in _UNPROMISED:
            async with loss.begin() as tx:
                what = "is gone" if order is None else "is not confirmed"
                loss.report(
                    tx, event.customer.name, "LOOK", f"counts as having ordered {event.order}, which {what}"
                )
