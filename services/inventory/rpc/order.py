"""Calls on orders."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, time
from typing import Any

from tradewind.inventory.v1 import events_pb2

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.rpc import Rpc
from chassis.sagas import start
from chassis.store import Tx
from services.inventory.domain import shipment
from services.inventory.domain.order import LIFECYCLE, Order, State
from services.inventory.sagas import CONFIRM
from services.inventory.store import (
    describe,
    free,
    is_past,
    number,
    promises_of,
    reserve_lines,
    shipments_of,
    show_order,
    show_shipment,
    warehouse_of,
)

PATIENCE_SECONDS = 1.0


class OrderRpc(Rpc):
    """Orders, from draft to settlement."""

    service = "tradewind.inventory.v1.OrderService"
    shape = show_order

    async def admit(self, tx: Tx, record: Order, before: Order | None) -> Order:
        """Described and priced while it is a draft; later only what was not promised may change."""
        taken = number(tx, "SO") if before is None else None
        if before is not None:
            record.may_follow(before)
            if before.state != State.DRAFT:
                return record
        changed = before is None or record.order_date != before.order_date
        if changed and record.order_date and is_past(record.order_date, tx.call):
            tx.call.require("records.backdate")
        described = await describe(tx, record)
        return replace(described, number=await taken) if taken else described

    async def dismiss(self, tx: Tx, record: Order) -> None:
        """Only a draft is thrown away."""
        LIFECYCLE.after("delete", record.state)

    async def ConfirmOrder(self, request: Any, call: Call) -> Any:
        """Reserve every stocked line and ask for credit; history is only written down."""
        if request.historic:
            return await self._record(request, call)
        async with self.store.begin(call) as tx:
            order = await tx.get(Order, request.name, etag=request.etag, lock=True)
            order.confirming({}, at=call.now)  # refuses what cannot be confirmed, ahead of the stock
            if not order.warehouse and any(line.stocked for line in order.lines):
                order = replace(order, warehouse=tx.name(await warehouse_of(tx, "")))
            reserved = await reserve_lines(tx, order, partly=order.allow_backorder)
            made = tx.save(order.confirming(reserved, at=call.now))
            tx.emit(events_pb2.OrderConfirming(order=show_order(made)))
            assert made.totals is not None
            total = [made.totals.total.amount, made.currency]
            saga = start(tx, CONFIRM, request.name, {
                "key": made.version, "order": request.name, "customer": made.customer, "total": total,
            })  # fmt: skip
            answer = tx.reply(show_order(made))
        if not call.validate_only:
            # As a rule the credit is held before the caller reads on; if not, the saga goes on by itself.
            with suppress(TimeoutError):
                await asyncio.wait_for(self.runtime.sagas.advance(call.tenant, saga), PATIENCE_SECONDS)
        return answer

    async def _record(self, request: Any, call: Call) -> Any:
        """Confirm as of the order date what happened before this system knew of it."""
        call.require("records.backdate")
        async with self.store.begin(call) as tx:
            order = await tx.get(Order, request.name, etag=request.etag, lock=True)
            assert order.order_date is not None  # said when it was first kept
            made = tx.save(order.record(at=datetime.combine(order.order_date, time(), UTC)))
            tx.emit(events_pb2.OrderConfirmed(order=show_order(made)))
            return tx.reply(show_order(made))

    async def CancelOrder(self, request: Any, call: Call) -> Any:
        """Give an order up: its stock is free, what was being picked goes back to the shelf."""
        async with self.store.begin(call) as tx:
            order = await tx.get(Order, request.name, etag=request.etag, lock=True)
            made = tx.save(order.cancel(reason=request.reason))
            await free(tx, await promises_of(tx, request.name))
            for picked in await shipments_of(tx, request.name, shipment.State.PICKING):
                failed = tx.save(picked.fail(reason="the order was cancelled"))
                tx.emit(events_pb2.ShipmentFailed(shipment=show_shipment(failed), order=show_order(made)))
            tx.emit(events_pb2.OrderCancelled(order=show_order(made)))
            return tx.reply(show_order(made))

    async def HoldOrder(self, request: Any, call: Call) -> Any:
        """Stop an order for the time being."""
        async with self.store.begin(call) as tx:
            order = await tx.get(Order, request.name, etag=request.etag, lock=True)
            made = tx.save(order.hold(reason=request.reason))
            tx.emit(events_pb2.OrderHeld(order=show_order(made)))
            return tx.reply(show_order(made))

    async def ResumeOrder(self, request: Any, call: Call) -> Any:
        """Let a held order go on."""
        async with self.store.begin(call) as tx:
            order = await tx.get(Order, request.name, etag=request.etag, lock=True)
            made = tx.save(order.resume())
            tx.emit(events_pb2.OrderResumed(order=show_order(made)))
            return tx.reply(show_order(made))
