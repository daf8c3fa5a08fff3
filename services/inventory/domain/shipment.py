"""Goods of one order that travel together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from chassis.kernel.erasable import Erasable
from chassis.kernel.lifecycle import Lifecycle
from chassis.kernel.pricing import Line, part
from chassis.kernel.record import Owned, replace
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import Money, Quantity
from services.inventory.domain.order import Address, Amounts, Order
from services.inventory.domain.order_line import NONE


class State(StrEnum):
    """Where a shipment stands."""

    PICKING = "PICKING"
    DISPATCHED = "DISPATCHED"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


LIFECYCLE = Lifecycle(
    {
        "dispatch": ({State.PICKING}, State.DISPATCHED),
        "deliver": ({State.DISPATCHED}, State.DELIVERED),
        "fail": ({State.PICKING, State.DISPATCHED}, State.FAILED),
    }
)


@dataclass(frozen=True, kw_only=True)
class ShipmentLine:
    """How much of one line of the order."""

    order_line: int
    product: str = ""
    sku: str = ""
    quantity: Quantity
    shipped_before: Quantity = NONE

    def free(self, order: Order) -> bool:
        """Whether nothing is asked for this part of the order's line."""
        line = order.lines[self.order_line - 1]
        whole = Line(
            quantity=line.quantity,
            unit_price=line.unit_price or Money.zero(order.currency),
            net=line.net,
            tax=line.tax,
        )
        worth = part(
            whole,
            before=self.shipped_before,
            now=self.quantity,
            rounding_mode=order.rounding_mode,
            precision=order.precision,
        )
        return not (worth.net or worth.tax)


@dataclass(frozen=True, kw_only=True)
class Shipment(Owned, Erasable):
    """Goods of one order that travel together; it belongs to whoever owns the order."""

    number: str = ""
    order: str
    customer: str = ""
    warehouse: str = ""
    state: State = State.PICKING
    lines: tuple[ShipmentLine, ...] = ()
    carrier: str = ""
    tracking_number: str = ""
    dispatch_date: date | None = None
    delivery_date: date | None = None
    ship_to: Address | None = None
    note: str = ""
    failure: str = ""
    historic: bool = False
    paid: bool = False

    @property
    def amounts(self) -> Amounts:
        """How much of each line of the order it carries."""
        return {line.order_line: line.quantity for line in self.lines}

    def dispatch(
        self, order: Order, *, on: date, carrier: str = "", tracking_number: str = "", historic: bool = False
    ) -> Shipment:
        """Handed to the carrier; paid already where nothing is asked for it."""
        state = LIFECYCLE.after("dispatch", self.state)
        if historic and not order.historic:
            raise Refused("ORDER_NOT_HISTORIC", order=order.number)
        if order.order_date and on < order.order_date:
            raise invalid("dispatch_date", "must not be before the order date")
        lines = tuple(
            replace(line, shipped_before=order.lines[line.order_line - 1].shipped) for line in self.lines
        )
        return replace(
            self,
            state=state,
            lines=lines,
            paid=all(line.free(order) for line in lines),
            dispatch_date=on,
            carrier=carrier or self.carrier,
            tracking_number=tracking_number or self.tracking_number,
            historic=historic,
        )

    def deliver(self, *, on: date) -> Shipment:
        """Arrived."""
        state = LIFECYCLE.after("deliver", self.state)
        if self.dispatch_date and on < self.dispatch_date:
            raise invalid("delivery_date", "must not be before the dispatch date")
        return replace(self, state=state, delivery_date=on)

    def fail(self, *, reason: str) -> Shipment:
        """Given up; nothing is to be paid for it."""
        return replace(self, state=LIFECYCLE.after("fail", self.state), failure=reason, paid=False)

    def pay(self) -> Shipment:
        """Its invoice is paid."""
        return replace(self, paid=True)

    def unpay(self) -> Shipment:
        """Its invoice was taken back."""
        return replace(self, paid=False)


def pick(
    order: Order, asked: Sequence[ShipmentLine], picking: Iterable[Shipment]
) -> tuple[ShipmentLine, ...]:
    """The lines of a new shipment: what is *asked*, or all that is left beside what is being picked."""
    left = {at: line.unshipped for at, line in enumerate(order.lines, 1)}
    for shipment in picking:
        for line_number, quantity in shipment.amounts.items():
            left[line_number] -= quantity
    if not asked:
        asked = [ShipmentLine(order_line=at, quantity=rest) for at, rest in left.items() if rest.amount > 0]
        if not asked:
            raise Refused("NOTHING_TO_SHIP", order=order.number)
    lines = []
    for index, line in enumerate(asked):
        if not 1 <= line.order_line <= len(order.lines):
            raise invalid(f"lines[{index}].order_line", f"must be from 1 to {len(order.lines)}")
        if line.quantity.amount <= 0:
            raise invalid(f"lines[{index}].quantity", "must be more than zero")
        if line.quantity > left[line.order_line]:
            raise Refused(
                "SHIPMENT_EXCEEDS_ORDER",
                line=line.order_line,
                left=left[line.order_line],
                asked=line.quantity,
            )
        left[line.order_line] -= line.quantity
        ordered = order.lines[line.order_line - 1]
        lines.append(replace(line, product=ordered.product, sku=ordered.sku, shipped_before=NONE))
    if len({line.order_line for line in lines}) < len(lines):
        raise invalid("lines", "must name each line of the order once")
    return tuple(lines)
