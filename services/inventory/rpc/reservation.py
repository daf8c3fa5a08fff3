"""Calls on promises of goods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chassis.call import Call
from chassis.coalescer import Coalescer
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import Quantity
from chassis.rpc import Rpc
from chassis.service import Runtime
from chassis.shapes import read_decimal, read_time
from chassis.store import Ahead, Tx
from services.inventory.domain.product import Product
from services.inventory.domain.reservation import Reservation
from services.inventory.domain.stock import Stock, positive
from services.inventory.store import (
    Place,
    free,
    hold,
    lock_shelf,
    products_of,
    show_reservation,
    warehouses_of,
)

USUAL, LONGEST = timedelta(minutes=15), timedelta(days=30)


class ReservationRpc(Rpc):
    """Reservations: made and given back by clients; an order keeps its own."""

    service = "tradewind.inventory.v1.ReservationService"
    shape = show_reservation

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.reserving = Coalescer(self.store, "inventory", runtime.reasons, _read_shelf, _reserve)

    async def ReserveStock(self, request: Any, call: Call) -> Any:
        """Goods are promised to the caller for a while, together with what others ask for at that moment."""
        positive(Quantity(read_decimal(request.quantity, "quantity")))
        _expiry(request, call)
        if not call.validate_only:
            return await self.reserving.ask(request, call)
        async with self.store.begin(call) as tx:
            return _reserve(tx, request, await _read_shelf(tx, [request]))

    async def ReleaseReservation(self, request: Any, call: Call) -> Any:
        """Promised goods are free again."""
        async with self.store.begin(call) as tx:
            promise = await tx.get(Reservation, request.name, etag=request.etag, lock=True)
            if promise.order:
                raise Refused("IN_USE", name=request.name, by=promise.order)
            promise.release(at=call.now)  # refuses what was resolved before, ahead of the balance
            (freed,) = await free(tx, [promise])
            return tx.reply(show_reservation(freed))


@dataclass
class _Shelf:
    """What the requests of a transaction may need, and how it stands after those decided so far."""

    products: Mapping[str, Product]
    warehouses: Mapping[str, str]  # as it was asked for, perhaps not at all → its name
    stock: dict[Place, Stock]


def _read_shelf(tx: Tx, requests: Sequence[Any]) -> Ahead[_Shelf]:
    """Products and warehouses, and every balance that may change, locked all at once and in one order."""
    asked = {request.product for request in requests}
    named = {request.warehouse for request in requests}
    products, warehouses = products_of(tx, asked), warehouses_of(tx, named)
    stock = lock_shelf(tx, asked, named)

    async def receive() -> _Shelf:
        return _Shelf(await products, await warehouses, await stock)

    return Ahead(receive)


def _reserve(tx: Tx, request: Any, shelf: _Shelf) -> Any:
    """One promise, of what those before it have left."""
    if request.product not in shelf.products:
        raise Refused("REFERENCE_UNKNOWN", field="product", name=request.product)
    product = shelf.products[request.product].must_be_stocked()
    if request.warehouse not in shelf.warehouses:
        if not request.warehouse:
            raise Refused("WAREHOUSE_MISSING")
        raise Refused("REFERENCE_UNKNOWN", field="warehouse", name=request.warehouse)
    place = (request.product, shelf.warehouses[request.warehouse])
    quantity = Quantity(read_decimal(request.quantity, "quantity"))
    if place not in shelf.stock:
        raise Refused("STOCK_SHORT", sku=product.sku, asked=quantity, available=Quantity(0))
    promise = Reservation(
        id=tx.call.new_id(), product=place[0], warehouse=place[1], quantity=quantity,
        purpose=request.purpose, expire_time=_expiry(request, tx.call),
    )  # fmt: skip
    made, shelf.stock[place] = hold(tx, shelf.stock[place], promise)
    return tx.reply(made)


def _expiry(request: Any, call: Call) -> datetime:
    if not request.HasField("expire_time"):
        return call.now + USUAL
    asked = read_time(request.expire_time, "expire_time")
    if not call.now < asked <= call.now + LONGEST:
        raise invalid("expire_time", f"must be in the future, at most {LONGEST.days} days ahead")
    return asked
