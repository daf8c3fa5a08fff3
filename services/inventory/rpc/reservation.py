"""Calls on promises of goods."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from chassis.call import Call
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import Quantity
from chassis.rpc import Rpc
from chassis.shapes import read_decimal
from services.inventory.domain.reservation import Reservation
from services.inventory.domain.stock import positive
from services.inventory.store import (
    free,
    hold,
    lock_stock,
    products_of,
    show_reservation,
    warehouse_of,
)

USUAL, LONGEST = timedelta(minutes=15), timedelta(days=30)


class ReservationRpc(Rpc):
    """Reservations: made and given back by clients; an order keeps its own."""

    service = "tradewind.inventory.v1.ReservationService"
    shape = show_reservation

    async def ReserveStock(self, request: Any, call: Call) -> Any:
        """Goods are promised to the caller for a while."""
        quantity = positive(Quantity(read_decimal(request.quantity, "quantity")))
        expire_time = _expiry(request, call)
        async with self.store.begin(call) as tx:
            known = await products_of(tx, [request.product])
            if request.product not in known:
                raise Refused("REFERENCE_UNKNOWN", field="product", name=request.product)
            product = known[request.product].must_be_stocked()
            warehouse = tx.name(await warehouse_of(tx, request.warehouse))
            stock = (await lock_stock(tx, [(request.product, warehouse)])).get((request.product, warehouse))
            if stock is None:
                raise Refused("STOCK_SHORT", sku=product.sku, asked=quantity, available=Quantity(0))
            promise = Reservation(
                id=call.new_id(), product=request.product, warehouse=warehouse, quantity=quantity,
                purpose=request.purpose, expire_time=expire_time,
            )  # fmt: skip
            made, _ = hold(tx, stock, promise)
            return tx.reply(show_reservation(made))

    async def ReleaseReservation(self, request: Any, call: Call) -> Any:
        """Promised goods are free again."""
        async with self.store.begin(call) as tx:
            promise = await tx.get(Reservation, request.name, etag=request.etag, lock=True)
            if promise.order:
                raise Refused("IN_USE", name=request.name, by=promise.order)
            promise.release(at=call.now)  # refuses what was resolved before, ahead of the balance
            (freed,) = await free(tx, [promise])
            return tx.reply(show_reservation(freed))


def _expiry(request: Any, call: Call) -> datetime:
    if not request.HasField("expire_time"):
        return call.now + USUAL
    try:
        asked: datetime = request.expire_time.ToDatetime(tzinfo=UTC)
    except ValueError:
        raise invalid("expire_time", "is out of the range of times") from None
    if not call.now < asked <= call.now + LONGEST:
        raise invalid("expire_time", f"must be in the future, at most {LONGEST.days} days ahead")
    return asked
