"""What is kept, how it is looked for, and the changes of stock that calls, reactions and jobs share.

Whoever changes balances locks them first, all at once and in one order: `lock_stock` is the only way.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from google.type import decimal_pb2
from tradewind.inventory.v1 import (
    events_pb2,
    movement_pb2,
    order_pb2,
    reservation_pb2,
    shipment_pb2,
    stock_pb2,
)

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import Percent, Quantity
from chassis.shapes import Shape, read_date
from chassis.store import Ahead, Collection, Rows, Shares, Store, Tx, Where, derived_id
from chassis.tables import quoted
from chassis.territories import customer_territories
from services.inventory.domain import reservation, shipment
from services.inventory.domain.movement import Movement
from services.inventory.domain.order import Order
from services.inventory.domain.order_line import NONE
from services.inventory.domain.price_list import PriceList
from services.inventory.domain.product import Product
from services.inventory.domain.reservation import Reservation
from services.inventory.domain.shipment import Shipment
from services.inventory.domain.stock import Stock
from services.inventory.domain.warehouse import Warehouse

Place = tuple[str, str]  # product, warehouse


RECEIVER = dict.fromkeys(("ship_to.recipient", "ship_to.phone", "ship_to.street"))


class InventoryStore(Store):
    """The tables of goods and orders."""

    shares = Shares("inventory")
    products = Collection(Product, index=(("category",), ("external_id",)), unique=(("sku",),))
    price_lists = Collection(PriceList, index=(("currency", "customer"),))
    warehouses = Collection(Warehouse, unique=(("code",),))
    stock = Collection(
        Stock,
        index=(("sku",), ("warehouse",)),
        unique=(("product", "warehouse"),),
        checks={"guarded": "0 <= reserved AND reserved <= on_hand"},
    )
    # The ledger of goods is written once: the service itself may not change or remove a line of it.
    movements = Collection(
        Movement,
        index=(("product",), ("order",), ("shipment",)),
        checks={"positive": "quantity > 0"},
        append_only=True,
    )
    reservations = Collection(
        Reservation,
        index=(("order",), ("state", "expire_time")),
        checks={"positive": "quantity > 0"},
        within=("order", Order),
    )
    orders = Collection(
        Order,
        index=(
            ("owner", "state"),
            ("customer",),
            ("contract",),
            ("external_id",),
            ("order_date",),
            ("team",),
        ),
        unique=(("number",),),
        sealed=RECEIVER,
        about=("customer",),
        names=("ship_to.recipient",),
        placed=True,
    )
    shipments = Collection(
        Shipment,
        index=(("order", "state"), ("owner", "state"), ("team",)),
        unique=(("number",),),
        follows=("order", "orders"),
        sealed=RECEIVER,
        about=("customer", "order"),
        names=("ship_to.recipient",),
        placed=True,
    )
    customer_territories = customer_territories()
    # Which products were last told to be low, and how often that changed.
    stock_levels = Rows(
        "stock_levels",
        sa.Column("product", sa.Text()),
        sa.Column("low", sa.Boolean(), nullable=False),
        sa.Column("crossings", sa.BigInteger(), nullable=False),
        key=("product",),
    )


show_movement = Shape(Movement, movement_pb2.Movement)
show_order = Shape(Order, order_pb2.Order)
show_reservation = Shape(Reservation, reservation_pb2.Reservation)
show_shipment = Shape(Shipment, shipment_pb2.Shipment)
show_stock = Shape(Stock, stock_pb2.Stock)


def among(column: sa.Column[Any], values: Iterable[str]) -> Where:
    """Whether the column is one of these values, as one parameter however many they are."""
    return f"{quoted(column.name)} = ANY(%s)", [list(values)]


def products_of(tx: Tx, names: Iterable[str]) -> Ahead[dict[str, Product]]:
    """Live products by their names; those that are not there are missing."""
    ids = sorted({name.removeprefix("products/") for name in names if name.startswith("products/")})
    found = tx.all(Product, among(InventoryStore.products.table.c.id, ids)) if ids else None

    async def receive() -> dict[str, Product]:
        return {tx.name(product): product for product in await found} if found else {}

    return Ahead(receive)


def prices_of(tx: Tx, currency: str, customer: str) -> Ahead[list[PriceList]]:
    """The price lists in a currency that may hold for a customer."""
    table = InventoryStore.price_lists.table
    return tx.all(PriceList, among(table.c.customer, ["", customer]), currency=currency)


async def warehouse_of(tx: Tx, name: str) -> Warehouse:
    """The warehouse of that name; the first by code when none is named."""
    if found := await perhaps_warehouse(tx, name):
        return found
    raise Refused("WAREHOUSE_MISSING")


def perhaps_warehouse(tx: Tx, name: str) -> Ahead[Warehouse | None]:
    """The warehouse of that name; without one the first by code, if there is any."""
    wanted = [among(InventoryStore.warehouses.table.c.id, [name.removeprefix("warehouses/")])] if name else []
    reading = tx.all(Warehouse, *wanted, order="code", limit=1)

    async def receive() -> Warehouse | None:
        found = next(iter(await reading), None)
        if name and (found is None or tx.name(found) != name):
            raise Refused("REFERENCE_UNKNOWN", field="warehouse", name=name)
        return found

    return Ahead(receive)


def warehouses_of(tx: Tx, names: Iterable[str]) -> Ahead[dict[str, str]]:
    """What these warehouses are called, "" being the first by code; those that are not there are missing."""
    names = set(names)
    ids = sorted(name.removeprefix("warehouses/") for name in names if name.startswith("warehouses/"))
    named = tx.all(Warehouse, among(InventoryStore.warehouses.table.c.id, ids)) if ids else None
    first = perhaps_warehouse(tx, "") if "" in names else None

    async def receive() -> dict[str, str]:
        found = {tx.name(warehouse): tx.name(warehouse) for warehouse in await named} if named else {}
        if first and (usual := await first):
            found[""] = tx.name(usual)
        return found

    return Ahead(receive)


async def lock_stock(tx: Tx, places: Iterable[Place]) -> dict[Place, Stock]:
    """The balances at these places, locked until the commit.

    Sorted by product and warehouse, whoever asks: two transactions never wait for each other in a ring.
    """
    ids = sorted({derived_id("stock", *place) for place in places})
    if not ids:
        return {}
    found = await tx.all(
        Stock, among(InventoryStore.stock.table.c.id, ids), order="product, warehouse", lock=True
    )
    return {(stock.product, stock.warehouse): stock for stock in found}


# "" is the first warehouse by code, as in perhaps_warehouse. Products and warehouses without a name have no
# balance: said so that the index over both, which leaves them out, may be used.
_ON_THE_SHELF = """product = ANY(%s) AND product <> '' AND warehouse <> '' AND warehouse IN (
  SELECT named FROM unnest(%s::text[]) AS named UNION ALL
  (SELECT 'warehouses/' || id FROM warehouses
   WHERE tenant_id = %s AND delete_time IS NULL AND '' = ANY(%s::text[]) ORDER BY code LIMIT 1))"""


def lock_shelf(tx: Tx, products: Iterable[str], warehouses: Iterable[str]) -> Ahead[dict[Place, Stock]]:
    """The balances of these products in these warehouses, locked like those of `lock_stock`.

    Named by what they are of, not by their ids: the warehouse that nobody named need not be known yet.
    """
    named = sorted(warehouses)
    where = (_ON_THE_SHELF, [sorted(products), named, tx.call.tenant, named])
    reading = tx.all(Stock, where, order="product, warehouse", lock=True)

    async def receive() -> dict[Place, Stock]:
        return {(stock.product, stock.warehouse): stock for stock in await reading}

    return Ahead(receive)


async def open_stock(tx: Tx, product: Product, warehouse: Warehouse) -> Stock:
    """The locked balance of a product in a warehouse, begun at nothing when there is none yet."""
    place = (tx.name(product), tx.name(warehouse))
    if found := (await lock_stock(tx, [place])).get(place):
        return found
    return Stock(id=derived_id("stock", *place), product=place[0], warehouse=place[1], sku=product.sku)


def keep(tx: Tx, stock: Stock) -> Stock:
    """Keep a balance, whether it was there before or is new."""
    return tx.save(stock) if stock.version else tx.add(stock)


def write_down(tx: Tx, **said: Any) -> Movement:
    """Add a line to the ledger of goods, with the fields of a Movement."""
    return tx.add(Movement(id=tx.call.new_id(), **said))


def hold(tx: Tx, stock: Stock, promise: Reservation) -> tuple[reservation_pb2.Reservation, Stock]:
    """Promise goods: the balance and the promise change together. The promise as it is shown."""
    kept = keep(tx, stock.reserve(promise.quantity))
    shown = show_reservation(tx.add(promise))
    tx.emit(events_pb2.ReservationHeld(reservation=shown, stock=show_stock(kept)))
    return shown, kept


async def reserve_lines(tx: Tx, order: Order, *, partly: bool) -> dict[int, Quantity]:
    """Promise the order what its lines are short of; all of it, or (*partly*) as much as there is."""
    short = {at: line for at, line in enumerate(order.lines, 1) if line.short}
    balances = await lock_stock(tx, [(line.product, order.warehouse) for line in short.values()])
    reserved: dict[int, Quantity] = {}
    for at, line in short.items():
        place = (line.product, order.warehouse)
        available = balances[place].available if place in balances else NONE
        wanted = min(line.short, available) if partly else line.short
        if wanted > available:
            raise Refused("STOCK_SHORT", sku=line.sku, asked=wanted, available=available)
        if not wanted:
            continue
        promise = Reservation(
            id=tx.call.new_id(), product=line.product, warehouse=order.warehouse, quantity=wanted,
            order=tx.name(order), order_line=at,
        )  # fmt: skip
        _, balances[place] = hold(tx, balances[place], promise)
        reserved[at] = wanted
    return reserved


async def promises_of(tx: Tx, order: str) -> list[Reservation]:
    """What is still promised to an order, oldest first, locked."""
    mine = InventoryStore.reservations.table.c.order == order
    return await tx.all(Reservation, mine, state=reservation.State.HELD.value, lock=True, scoped=False)


async def free(tx: Tx, promises: Iterable[Reservation], verb: str = "release") -> list[Reservation]:
    """Take promises back, because they are *release*d or *expire*d."""
    promises = list(promises)
    balances = await lock_stock(tx, [(each.product, each.warehouse) for each in promises])
    event = {"release": events_pb2.ReservationReleased, "expire": events_pb2.ReservationExpired}[verb]
    freed = []
    for promise in promises:
        place = (promise.product, promise.warehouse)
        balances[place] = tx.save(balances[place].release(promise.quantity))
        over = promise.release(at=tx.call.now) if verb == "release" else promise.expire(at=tx.call.now)
        freed.append(tx.save(over))
        tx.emit(event(reservation=show_reservation(freed[-1]), stock=show_stock(balances[place])))
    return freed


async def shipments_of(tx: Tx, order: str, *states: shipment.State) -> list[Shipment]:
    """The shipments of an order in these states, whoever may see them."""
    table = InventoryStore.shipments.table
    wanted = among(table.c.state, [state.value for state in states])
    return await tx.all(Shipment, table.c.order == order, wanted, scoped=False)


def number(tx: Tx, series: str) -> Ahead[str]:
    """The next number for people of a series that begins anew each year: "SO-2026-000042"."""
    series = f"{series}-{tx.call.now:%Y}"
    taken = tx.number(series)

    async def receive() -> str:
        return f"{series}-{await taken:06d}"

    return Ahead(receive)


async def describe(tx: Tx, order: Order) -> Order:
    """With what its lines leave unsaid taken from products and price lists, priced, and in a warehouse.

    Where there is no warehouse yet it has none: services need none, and goods are refused when confirmed.
    """
    reading = products_of(tx, (line.product for line in order.lines))
    unpriced = any(line.unit_price is None for line in order.lines)
    pricing = prices_of(tx, order.currency, order.customer) if unpriced else None
    finding = perhaps_warehouse(tx, order.warehouse)
    products, prices = await reading, await pricing if pricing else []
    described = order.described(products, prices, today=tx.call.today)
    warehouse = await finding
    return replace(described, warehouse=tx.name(warehouse) if warehouse else "")


def decimal(value: Quantity | Percent) -> decimal_pb2.Decimal:
    """A quantity or percentage as the wire says it."""
    return decimal_pb2.Decimal(value=str(value))


# It may be tomorrow already, or still yesterday, where the caller is.
EAST, WEST = timedelta(hours=14), timedelta(hours=12)


def said_day(request: Any, field: str, call: Call) -> date | None:
    """The business day a request names, if any; one that is over everywhere is for those who may backdate."""
    if not request.HasField(field):
        return None
    on = read_date(getattr(request, field), field)
    if on > (call.now + EAST).date():
        raise invalid(field, "must not be in the future")
    if is_past(on, call):
        call.require("records.backdate")
    return on


def is_past(on: date, call: Call) -> bool:
    """Whether that day is over, wherever the caller is."""
    return on < (call.now - WEST).date()
