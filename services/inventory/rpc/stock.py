"""Calls on balances of goods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from tradewind.inventory.v1 import events_pb2, stock_pb2

from chassis.call import Call
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import SCALE, Money, Quantity, round_div
from chassis.rpc import Rpc
from chassis.shapes import money_message, read_decimal
from chassis.store import Tx
from services.inventory.domain import movement
from services.inventory.domain.product import Product
from services.inventory.domain.stock import positive
from services.inventory.domain.warehouse import Warehouse
from services.inventory.store import (
    InventoryStore,
    decimal,
    keep,
    open_stock,
    products_of,
    said_day,
    show_movement,
    show_stock,
    warehouse_of,
    write_down,
)


class StockRpc(Rpc):
    """Stock: read, received, adjusted."""

    service = "tradewind.inventory.v1.StockService"
    shape = show_stock

    async def ReceiveStock(self, request: Any, call: Call) -> Any:
        """Goods come in from a supplier."""
        quantity = positive(Quantity(read_decimal(request.quantity, "quantity")))
        on = said_day(request, "effective_date", call) or call.today
        async with self.store.begin(call) as tx:
            product, warehouse = await self._place(tx, request)
            stock = keep(tx, (await open_stock(tx, product, warehouse)).receive(quantity))
            moved = write_down(
                tx,
                product=stock.product,
                sku=stock.sku,
                source=movement.SUPPLIER,
                destination=stock.warehouse,
                quantity=quantity,
                effective_date=on,
                reason=request.reason,
            )
            tx.emit(events_pb2.StockReceived(movement=show_movement(moved), stock=show_stock(stock)))
            return tx.reply(show_movement(moved))

    async def AdjustStock(self, request: Any, call: Call) -> Any:
        """A difference between the balance and what is really there."""
        difference = read_decimal(request.difference, "difference")
        if not difference:
            raise invalid("difference", "must not be zero")
        on = said_day(request, "effective_date", call) or call.today
        quantity = Quantity(abs(difference))
        async with self.store.begin(call) as tx:
            product, warehouse = await self._place(tx, request)
            before = await open_stock(tx, product, warehouse)
            stock = keep(tx, before.receive(quantity) if difference > 0 else before.take(quantity))
            places = [movement.ADJUSTMENT, stock.warehouse]
            source, destination = places if difference > 0 else reversed(places)
            moved = write_down(
                tx,
                product=stock.product,
                sku=stock.sku,
                source=source,
                destination=destination,
                quantity=quantity,
                effective_date=on,
                reason=request.reason,
            )
            tx.emit(events_pb2.StockAdjusted(movement=show_movement(moved), stock=show_stock(stock)))
            return tx.reply(show_movement(moved))

    async def _place(self, tx: Tx, request: Any) -> tuple[Product, Warehouse]:
        known = await products_of(tx, [request.product])
        if request.product not in known:
            raise Refused("REFERENCE_UNKNOWN", field="product", name=request.product)
        return known[request.product].must_be_stocked(), await warehouse_of(tx, request.warehouse)

    async def GetAvailability(self, request: Any, call: Call) -> Any:
        """Whether each line could be promised now."""
        async with self.store.begin(call) as tx:
            if request.warehouse:
                await warehouse_of(tx, request.warehouse)
            products = await products_of(tx, (line.product for line in request.lines))
            balances = await self._balances(tx, list(products), request.warehouse)
        answer = stock_pb2.GetAvailabilityResponse()
        for index, line in enumerate(request.lines):
            product = products.get(line.product)
            if product is None:
                raise Refused("REFERENCE_UNKNOWN", field=f"lines[{index}].product", name=line.product)
            field = f"lines[{index}].quantity"
            asked = read_decimal(line.quantity, field) if line.HasField("quantity") else SCALE
            positive(Quantity(asked), field)
            on_hand, reserved = balances.get(line.product, (0, 0))
            answer.lines.add(
                product=line.product,
                sku=product.sku,
                asked=decimal(Quantity(asked)),
                on_hand=decimal(Quantity(on_hand)),
                reserved=decimal(Quantity(reserved)),
                available=decimal(Quantity(on_hand - reserved)),
                sufficient=not product.stocked or asked <= on_hand - reserved,
            )
        return answer

    async def _balances(self, tx: Tx, products: list[str], warehouse: str) -> Mapping[str, tuple[int, int]]:
        table = InventoryStore.stock.table
        query = (
            sa.select(
                table.c.product,
                sa.func.sum(table.c.on_hand).label("on_hand"),
                sa.func.sum(table.c.reserved).label("reserved"),
            )
            .where(table.c.tenant_id == tx.call.tenant, table.c.product.in_(products))
            .group_by(table.c.product)
        )
        if warehouse:
            query = query.where(table.c.warehouse == warehouse)
        rows = await tx.rows(query)
        return {row["product"]: (int(row["on_hand"]), int(row["reserved"])) for row in rows}

    async def SummarizeStock(self, request: Any, call: Call) -> Any:
        """What the goods are worth, and how many products are short."""
        async with self.store.begin(call) as tx:
            if request.warehouse:
                await warehouse_of(tx, request.warehouse)
            rows = await tx.rows(_SUMMARY, [request.warehouse, request.warehouse, call.tenant])
        answer = stock_pb2.SummarizeStockResponse(
            products_below_reorder_level=sum(row["below"] for row in rows)
        )
        sold: dict[str, int] = {}
        dropped: dict[str, int] = {}
        cost: dict[str, int] = {}
        for row in rows:
            listed = dropped if row["discontinued"] else sold
            _count(listed, row["list_price_currency"], row["at_list_price"])
            _count(cost, row["cost_currency"], row["at_cost"])
        for field, sums in (
            (answer.value_at_list_price, sold),
            (answer.discontinued_value_at_list_price, dropped),
            (answer.value_at_cost, cost),
        ):
            field.extend(money_message(Money(round_div(sums[code], SCALE), code)) for code in sorted(sums))
        return answer


# Products with what is on hand of them, grouped by what their worth is counted in.
_SUMMARY = """
SELECT discontinued, list_price_currency, cost_currency,
       count(*) FILTER (WHERE NOT discontinued AND kind = 'STOCKED' AND on_hand < reorder_level) AS below,
       sum(on_hand * list_price) AS at_list_price, sum(on_hand * cost) AS at_cost
FROM (SELECT p.discontinued, p.kind, p.reorder_level, p.list_price, p.list_price_currency, p.cost,
             p.cost_currency,
             coalesce(sum(s.on_hand) FILTER (WHERE %s::text = '' OR s.warehouse = %s), 0) AS on_hand
      FROM products p
      LEFT JOIN stock s ON s.tenant_id = p.tenant_id AND s.product = 'products/' || p.id
      WHERE p.tenant_id = %s::uuid AND p.delete_time IS NULL
      GROUP BY p.tenant_id, p.id) AS each
GROUP BY discontinued, list_price_currency, cost_currency
"""


def _count(sums: dict[str, int], currency: str | None, amount: Any) -> None:
    if currency and amount is not None:
        sums[currency] = sums.get(currency, 0) + int(amount)
