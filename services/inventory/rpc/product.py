"""Calls on the catalogue."""

from __future__ import annotations

from typing import Any

from tradewind.inventory.v1 import product_pb2

from chassis.call import Call
from chassis.kernel.refusals import Refused
from chassis.kernel.values import Quantity
from chassis.rpc import Rpc
from chassis.shapes import Shape, money_message, read_date, read_decimal
from chassis.store import Tx
from services.inventory.domain.price_list import price_of
from services.inventory.domain.product import Product
from services.inventory.domain.stock import Stock, positive
from services.inventory.store import InventoryStore, decimal, prices_of

ONE = Quantity.of(1)


class ProductRpc(Rpc):
    """Products, and what they cost whom."""

    service = "tradewind.inventory.v1.ProductService"
    shape = Shape(Product, product_pb2.Product)

    async def admit(self, tx: Tx, record: Product, before: Product | None) -> Product:
        """What has stock cannot become a service."""
        if before and before.stocked and not record.stocked:
            await self._without_stock(tx, record)
        return record

    async def dismiss(self, tx: Tx, record: Product) -> None:
        """What has stock is still needed."""
        await self._without_stock(tx, record)

    async def _without_stock(self, tx: Tx, record: Product) -> None:
        table = InventoryStore.stock.table
        name = tx.name(record)
        if left := await tx.all(Stock, table.c.on_hand > 0, product=name, limit=1):
            raise Refused("IN_USE", name=name, by=left[0].warehouse)

    async def ResolvePrice(self, request: Any, call: Call) -> Any:
        """What one unit costs this customer on this day."""
        asked = read_decimal(request.quantity, "quantity") if request.HasField("quantity") else ONE.amount
        on = read_date(request.date, "date") if request.HasField("date") else call.today
        quantity = positive(Quantity(asked))
        async with self.store.begin(call) as tx:
            product = await tx.get(Product, request.product)
            currency = request.currency or (product.list_price.currency if product.list_price else "")
            lists = await prices_of(tx, currency, request.customer)
        price = price_of(
            product, lists, name=request.product, currency=currency, customer=request.customer,
            quantity=quantity, on=on,
        )  # fmt: skip
        return product_pb2.ResolvePriceResponse(
            unit_price=money_message(price.unit_price),
            price_list=price.price_list,
            min_quantity=decimal(price.min_quantity),
            tax_percent=decimal(product.tax_percent),
        )
