"""Calls on shipments: picked, dispatched, delivered or given up."""

from __future__ import annotations

from datetime import date
from typing import Any

from tradewind.inventory.v1 import events_pb2

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.kernel.values import Quantity
from chassis.rpc import Rpc
from chassis.store import Tx, derived_id
from services.inventory.domain import movement
from services.inventory.domain import order as orders
from services.inventory.domain.order import Order
from services.inventory.domain.order_line import NONE
from services.inventory.domain.reservation import Reservation
from services.inventory.domain.shipment import Shipment, ShipmentLine, State, pick
from services.inventory.domain.stock import Stock
from services.inventory.store import (
    hold,
    lock_stock,
    number,
    promises_of,
    said_day,
    shipments_of,
    show_movement,
    show_order,
    show_reservation,
    show_shipment,
    show_stock,
    write_down,
)


class ShipmentRpc(Rpc):
    """Shipments of orders. Whoever moves one holds its order's row: shipments of an order take turns."""

    service = "tradewind.inventory.v1.ShipmentService"
    shape = show_shipment

    async def admit(self, tx: Tx, record: Shipment, before: Shipment | None) -> Shipment:
        """A new one takes its lines from what is left of the order, and its owner from it too."""
        if before is not None:
            return record
        order = await tx.get(Order, record.order, lock=True)
        orders.LIFECYCLE.after("ship", order.state)
        picking = await shipments_of(tx, record.order, State.PICKING)
        return replace(
            record,
            number=await number(tx, "SH"),
            customer=order.customer,
            warehouse=order.warehouse,
            ship_to=order.ship_to,
            lines=pick(order, record.lines, picking),
            owner=order.owner,
            team=order.team,
            collaborators=order.collaborators,
        )

    async def _with_order(self, tx: Tx, request: Any) -> tuple[Shipment, Order]:
        seen = await tx.get(Shipment, request.name)
        order = await tx.get(Order, seen.order, lock=True)
        return await tx.get(Shipment, request.name, etag=request.etag, lock=True), order

    async def DispatchShipment(self, request: Any, call: Call) -> Any:
        """Hand the goods to the carrier."""
        said = said_day(request, "dispatch_date", call)
        if request.historic:
            call.require("records.backdate")
        async with self.store.begin(call) as tx:
            shipment, order = await self._with_order(tx, request)
            on = said or max(call.today, order.order_date or date.min)
            sent = shipment.dispatch(
                order, on=on, carrier=request.carrier, tracking_number=request.tracking_number,
                historic=request.historic,
            )  # fmt: skip
            order.ship(sent.amounts, {}, on=on)  # refuses an order that may not be shipped now
            last = await self._last_left(tx, order, on)
            taken = {} if sent.historic else await self._take(tx, order, sent)
            self._tell_moved(tx, order, sent, taken)
            promised = {at: part for at, (part, _) in taken.items()}
            shipped = order.ship(sent.amounts, promised, on=last)
            paid = sent.paid and await self._paid_before(tx, sent, shipped)
            shipped = tx.save(shipped.pay() if paid else shipped)
            made = tx.save(sent)
            tx.emit(events_pb2.ShipmentDispatched(shipment=show_shipment(made), order=show_order(shipped)))
            whole = shipped.state == orders.State.SHIPPED
            event = events_pb2.OrderShipped if whole else events_pb2.OrderPartlyShipped
            tx.emit(event(order=show_order(shipped)))
            if paid:
                tx.emit(events_pb2.OrderPaid(order=show_order(shipped)))
            return tx.reply(show_shipment(made))

    async def _paid_before(self, tx: Tx, last: Shipment, order: Order) -> bool:
        """Whether a shipment of free goods is the last of an order of which all else is paid."""
        if order.state != orders.State.SHIPPED:
            return False
        sent = await shipments_of(tx, last.order, State.DISPATCHED, State.DELIVERED)
        return all(shipment.paid for shipment in sent if shipment.id != last.id)

    async def _last_left(self, tx: Tx, order: Order, on: date) -> date:
        """The last day that anything of it left: shipments need not be told of in the order they went."""
        if not any(line.shipped for line in order.lines):
            return on
        earlier = await shipments_of(tx, tx.name(order), State.DISPATCHED, State.DELIVERED)
        return max([on, *(each.dispatch_date or on for each in earlier)])

    async def _last_arrived(self, tx: Tx, order: Order, on: date) -> date:
        """The last day that anything of it arrived."""
        if not any(line.delivered for line in order.lines):
            return on
        earlier = await shipments_of(tx, tx.name(order), State.DELIVERED)
        return max([on, *(each.delivery_date or on for each in earlier)])

    async def _take(self, tx: Tx, order: Order, shipment: Shipment) -> dict[int, tuple[Quantity, Stock]]:
        """Take the goods out of stock, promised ones first: line → how much was promised, the new balance."""
        promises = await promises_of(tx, shipment.order)
        lines = [line for line in shipment.lines if order.lines[line.order_line - 1].stocked]
        balances = await lock_stock(tx, [(line.product, order.warehouse) for line in lines])
        taken: dict[int, tuple[Quantity, Stock]] = {}
        for line in lines:
            place = (line.product, order.warehouse)
            if place not in balances:
                raise Refused("STOCK_SHORT", sku=line.sku, asked=line.quantity, available=NONE)
            promised = NONE
            for promise in promises:
                part = min(line.quantity - promised, promise.quantity)
                if promise.order_line == line.order_line and part:
                    balances[place] = self._commit(tx, promise, part, balances[place])
                    promised += part
            if rest := line.quantity - promised:
                balances[place] = tx.save(balances[place].take(rest))
            taken[line.order_line] = (promised, balances[place])
        return taken

    def _commit(self, tx: Tx, promise: Reservation, part: Quantity, stock: Stock) -> Stock:
        """So much of a promise is kept; what stays of it is a promise of its own."""
        leaving, staying = promise.split(part, rest_id=derived_id("rest", promise.id, tx.call.new_id()))
        committed = tx.save(leaving.commit(at=tx.call.now))
        kept = tx.save(stock.commit(part))
        tx.emit(
            events_pb2.ReservationCommitted(reservation=show_reservation(committed), stock=show_stock(kept))
        )
        if staying:
            rest = tx.add(staying)
            tx.emit(events_pb2.ReservationHeld(reservation=show_reservation(rest), stock=show_stock(kept)))
        return kept

    def _tell_moved(
        self, tx: Tx, order: Order, shipment: Shipment, taken: dict[int, tuple[Quantity, Stock]]
    ) -> None:
        """Write the movements; what left before the opening stock was counted comes from ADJUSTMENT."""
        for line in shipment.lines:
            if not order.lines[line.order_line - 1].stocked:
                continue
            stock = taken[line.order_line][1] if line.order_line in taken else None
            moved = write_down(
                tx,
                product=line.product,
                sku=line.sku,
                source=order.warehouse if stock else movement.ADJUSTMENT,
                destination=movement.CUSTOMER,
                quantity=line.quantity,
                effective_date=shipment.dispatch_date,
                reason="" if stock else "shipped before the opening stock was counted",
                order=shipment.order,
                shipment=tx.name(shipment),
            )
            tx.emit(
                events_pb2.StockMoved(
                    movement=show_movement(moved), stock=show_stock(stock) if stock else None
                )
            )

    async def DeliverShipment(self, request: Any, call: Call) -> Any:
        """The goods have arrived."""
        said = said_day(request, "delivery_date", call)
        async with self.store.begin(call) as tx:
            shipment, order = await self._with_order(tx, request)
            on = said or max(call.today, shipment.dispatch_date or date.min)
            last = await self._last_arrived(tx, order, on)
            made = tx.save(shipment.deliver(on=on))
            arrived = tx.save(order.deliver(made.amounts, on=last))
            tx.emit(events_pb2.ShipmentDelivered(shipment=show_shipment(made), order=show_order(arrived)))
            if arrived.state != orders.State.DELIVERED:
                tx.emit(events_pb2.OrderUpdated(order=show_order(arrived)))
                return tx.reply(show_shipment(made))
            tx.emit(events_pb2.OrderDelivered(order=show_order(arrived)))
            if arrived.paid:
                tx.emit(events_pb2.OrderSettled(order=show_order(tx.save(arrived.settle()))))
            return tx.reply(show_shipment(made))

    async def FailShipment(self, request: Any, call: Call) -> Any:
        """Give a shipment up; goods that had left are back, and promised to the order again."""
        async with self.store.begin(call) as tx:
            shipment, order = await self._with_order(tx, request)
            failed = shipment.fail(reason=request.reason)
            returned = shipment.state == State.DISPATCHED
            if returned:
                again = await self._take_back(tx, order, shipment)
                order = order.take_back(shipment.amounts, again)
                order = tx.save(order.unpay() if shipment.paid else order)
            made = tx.save(failed)
            tx.emit(events_pb2.ShipmentFailed(
                shipment=show_shipment(made), order=show_order(order), returned=returned))  # fmt: skip
            if returned:
                tx.emit(events_pb2.OrderPartlyShipped(order=show_order(order)))
            return tx.reply(show_shipment(made))

    async def _take_back(self, tx: Tx, order: Order, shipment: Shipment) -> dict[int, Quantity]:
        """The movements back, and the promises anew: line → how much is promised again."""
        lines = [line for line in shipment.lines if order.lines[line.order_line - 1].stocked]
        places = [] if shipment.historic else [(line.product, order.warehouse) for line in lines]
        balances = await lock_stock(tx, places)
        again: dict[int, Quantity] = {}
        for line in lines:
            place = (line.product, order.warehouse)
            stock = None
            if not shipment.historic:
                _, stock = hold(tx, balances[place].receive(line.quantity), self._promise(tx, order, line))
                balances[place], again[line.order_line] = stock, line.quantity
            moved = write_down(
                tx,
                product=line.product,
                sku=line.sku,
                source=movement.CUSTOMER,
                destination=order.warehouse if stock else movement.ADJUSTMENT,
                quantity=line.quantity,
                effective_date=tx.call.today,
                reason="the shipment failed",
                order=shipment.order,
                shipment=tx.name(shipment),
            )
            tx.emit(
                events_pb2.StockMoved(
                    movement=show_movement(moved), stock=show_stock(stock) if stock else None
                )
            )
        return again

    @staticmethod
    def _promise(tx: Tx, order: Order, line: ShipmentLine) -> Reservation:
        return Reservation(
            id=tx.call.new_id(),
            product=line.product,
            warehouse=order.warehouse,
            quantity=line.quantity,
            order=tx.name(order),
            order_line=line.order_line,
        )
