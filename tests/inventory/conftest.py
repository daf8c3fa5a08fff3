"""A shop for every test: an organization of its own, with what it takes to sell something."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from google.type import date_pb2
from tradewind.customer.v1 import customer_pb2
from tradewind.customer.v1 import events_pb2 as customer_events_pb2
from tradewind.inventory.v1 import order_pb2, product_pb2, shipment_pb2, warehouse_pb2

from chassis.call import new_id
from chassis.kernel.values import Quantity
from tests.messages import decimal, money
from tests.platform import Caller, Running, settle

Order, Shipment = order_pb2.Order, shipment_pb2.Shipment
EVERYTHING = {
    f"{noun}.{action}": "all"
    for noun, actions in {
        "products": "read write delete",
        "priceLists": "read write delete",
        "warehouses": "read write delete",
        "stock": "read receive adjust",
        "movements": "read",
        "reservations": "read write",
        "orders": "read write delete confirm cancel hold",
        "shipments": "read write dispatch deliver",
        "records": "backdate",
        "events": "read",
    }.items()
    for action in actions.split()
}


def day(value: date) -> date_pb2.Date:
    """A google.type.Date."""
    return date_pb2.Date(year=value.year, month=value.month, day=value.day)


class Shop:
    """One organization, as its administrator sees it."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.customer = f"customers/{new_id()}"

    def __getattr__(self, method: str) -> Any:
        return getattr(self.caller, method)

    async def product(self, sku: str = "", price: str = "100", stock: int = 0, **more: Any) -> Any:
        """A product, with so much of it in the first warehouse."""
        product = product_pb2.Product(
            sku=sku or f"SKU-{new_id()[-8:]}", display_name="Pump", list_price=money(price), **more
        )
        made = await self.caller.CreateProduct(product=product)
        if stock:
            await self.caller.ReceiveStock(product=made.name, quantity=decimal(stock), reason="opening stock")
        return made

    async def warehouse(self, code: str = "SHA") -> Any:
        """A warehouse."""
        return await self.caller.CreateWarehouse(
            warehouse=warehouse_pb2.Warehouse(code=code, display_name=f"Warehouse {code}")
        )

    async def order(self, *lines: tuple[Any, str | int], **more: Any) -> Any:
        """A draft order of (product, quantity) lines, priced from the catalogue."""
        made = Order(customer=self.customer, currency="CNY", **more)
        for product, quantity in lines:
            made.lines.add(product=product.name, quantity=decimal(quantity))
        return await self.caller.CreateOrder(order=made)

    async def shipment(self, order: Any, *lines: tuple[int, str | int]) -> Any:
        """A shipment of (line, quantity) of an order; of all that is left without any."""
        made = Shipment(order=order.name)
        for at, quantity in lines:
            made.lines.add(order_line=at, quantity=decimal(quantity))
        return await self.caller.CreateShipment(shipment=made)

    async def confirmed(self, *lines: tuple[Any, str | int], **more: Any) -> Any:
        """An order with its stock reserved and its credit held."""
        order = await self.order(*lines, **more)
        await self.caller.ConfirmOrder(name=order.name)
        await settle(self.caller.service)
        order = await self.caller.GetOrder(name=order.name)
        assert order.state == Order.CONFIRMED, order
        return order

    async def historic(self, *lines: tuple[Any, str | int], **more: Any) -> Any:
        """An order confirmed as history: what a test needs that is not about confirming."""
        order = await self.order(*lines, **more)
        return await self.caller.ConfirmOrder(name=order.name, historic=True)

    async def balance(self, product: Any) -> tuple[str, str, str]:
        """(on hand, reserved, available) of a product in its only warehouse."""
        found = (await self.caller.ListStock(filter=f'product = "{product.name}"')).stock
        if not found:
            return ("0", "0", "0")
        return found[0].on_hand.value, found[0].reserved.value, found[0].available.value


@pytest.fixture
async def shop(inventory: Running, contract: Running) -> Shop:
    """A shop with one warehouse, nothing in it, and one customer of unlimited credit."""
    found = Shop(inventory.as_(permissions=EVERYTHING))
    await found.warehouse()
    await know(contract, found)
    return found


async def know(contract: Running, shop: Shop, limit: str = "", version: int = 1) -> None:
    """Tell the contract service of the shop's customer, and what they may owe."""
    customer = customer_pb2.Customer(name=shop.customer, currency="CNY", etag=str(version))
    if limit:
        customer.credit_limit.CopyFrom(money(limit))
    event = customer_events_pb2.CustomerCreated(customer=customer)
    await contract.deliver(event, tenant=shop.caller.tenant)


def quantity(text: str | int) -> Quantity:
    """A Quantity of decimal text."""
    return Quantity.of(text)
