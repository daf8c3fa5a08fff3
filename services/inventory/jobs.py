"""What happens to goods and orders because time passes."""

from __future__ import annotations

import sqlalchemy as sa
from tradewind.inventory.v1 import events_pb2, product_pb2

from chassis.jobs import every
from chassis.kernel.values import Quantity
from chassis.shapes import Shape
from chassis.store import Tx
from services.inventory.domain import reservation
from services.inventory.domain.order import Order, State
from services.inventory.domain.product import Product
from services.inventory.domain.reservation import Reservation
from services.inventory.store import (
    InventoryStore,
    among,
    decimal,
    free,
    lock_stock,
    reserve_lines,
    show_order,
)

AT_ONCE = 200
show_product = Shape(Product, product_pb2.Product)

# Products of which it was last told that they are low though they are not, or the other way round.
_CROSSED = """
SELECT p.id, sum(s.on_hand - s.reserved) AS available, coalesce(l.crossings, 0) AS crossings
FROM products p
JOIN stock s ON s.tenant_id = p.tenant_id AND s.product = 'products/' || p.id
LEFT JOIN stock_levels l ON l.tenant_id = p.tenant_id AND l.product = 'products/' || p.id
WHERE p.tenant_id = %s AND p.delete_time IS NULL AND p.kind = 'STOCKED'
GROUP BY p.id, p.reorder_level, p.discontinued, l.low, l.crossings
HAVING (sum(s.on_hand - s.reserved) < p.reorder_level AND NOT p.discontinued) <> coalesce(l.low, false)
ORDER BY p.id LIMIT %s
"""

# Short of something that is there: orders that nothing came in for would keep later ones from their goods.
_FILLABLE = """EXISTS (
  SELECT 1 FROM jsonb_array_elements(orders.lines) AS line
  JOIN stock s ON s.tenant_id = orders.tenant_id AND s.product = line->>'product' AND s.product <> ''
    AND s.warehouse = orders.warehouse AND s.warehouse <> '' AND s.on_hand > s.reserved
  WHERE (line->>'stocked')::boolean
    AND (line->>'quantity')::bigint > (line->>'shipped')::bigint + (line->>'reserved')::bigint)"""


@every(seconds=20)
async def expire_reservations(tx: Tx) -> None:
    """Promises whose time is over give their goods free."""
    table = InventoryStore.reservations.table
    over = await tx.all(
        Reservation,
        table.c.expire_time <= tx.call.now,
        state=reservation.State.HELD.value,
        lock=True,
        limit=AT_ONCE,
    )
    await free(tx, over, "expire")


@every(seconds=10)
async def watch_levels(tx: Tx) -> None:
    """Tell once when what is available of a product falls under its reorder level, and when it recovers."""
    for row in await tx.rows(_CROSSED, [tx.call.tenant, AT_ONCE]):
        product = await tx.get(Product, f"products/{row['id']}")
        available = Quantity(int(row["available"]))
        low, crossings = product.is_low(available), int(row["crossings"]) + 1
        event = events_pb2.StockLow if low else events_pb2.StockReplenished
        tx.put(
            InventoryStore.stock_levels,
            key={"product": tx.name(product)},
            values={"low": low, "crossings": crossings},
        )
        tx.emit(
            event(product=show_product(product), available=decimal(available)),
            record=f"stockLevels/{product.id}",
            version=crossings,
        )


@every(seconds=20)
async def fill_backorders(tx: Tx) -> None:
    """Goods that came in go to the orders that are short of them, the oldest order first."""
    table = InventoryStore.orders.table
    waiting = await tx.all(
        Order,
        among(table.c.state, [State.CONFIRMED.value, State.PARTLY_SHIPPED.value]),
        table.c.allow_backorder.is_(True),
        table.c.historic.is_(False),
        sa.literal_column(_FILLABLE, sa.Boolean()),
        order="confirm_time, id",
        lock=True,
        limit=AT_ONCE,
    )
    # All balances at once, ahead of any change: they are locked in one order.
    await lock_stock(
        tx, [(line.product, order.warehouse) for order in waiting for line in order.lines if line.short]
    )
    for order in waiting:
        if reserved := await reserve_lines(tx, order, partly=True):
            made = tx.save(order.replenish(reserved))
            tx.emit(events_pb2.OrderReplenished(order=show_order(made)))
