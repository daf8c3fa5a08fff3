"""What a customer has ordered, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from enum import StrEnum

from chassis.kernel import pricing
from chassis.kernel.erasable import Erasable
from chassis.kernel.lifecycle import Lifecycle
from chassis.kernel.pricing import NOTHING, RoundingMode, TaxMode, Totals
from chassis.kernel.record import Owned, replace
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import Money, Percent, Quantity
from services.inventory.domain.order_line import NONE, OrderLine
from services.inventory.domain.price_list import PriceList
from services.inventory.domain.product import Product

Amounts = Mapping[int, Quantity]  # line (counted from 1) → how much of it


class State(StrEnum):
    """Where an order stands."""

    DRAFT = "DRAFT"
    CONFIRMING = "CONFIRMING"
    CONFIRMED = "CONFIRMED"
    PARTLY_SHIPPED = "PARTLY_SHIPPED"
    SHIPPED = "SHIPPED"
    DELIVERED = "DELIVERED"
    SETTLED = "SETTLED"
    CANCELLED = "CANCELLED"
    ON_HOLD = "ON_HOLD"


LIFECYCLE = Lifecycle(
    {
        "confirm": ({State.DRAFT}, State.CONFIRMING),
        "accept": ({State.CONFIRMING}, State.CONFIRMED),
        "refuse": ({State.CONFIRMING}, State.DRAFT),
        "record": ({State.DRAFT}, State.CONFIRMED),
        # While it is being confirmed, too: the confirmation then finds out and gives the credit back.
        "cancel": ({State.DRAFT, State.CONFIRMING, State.CONFIRMED, State.ON_HOLD}, State.CANCELLED),
        "hold": ({State.CONFIRMED, State.PARTLY_SHIPPED}, State.ON_HOLD),
        # Back to where it was held from, which is one of those two.
        "resume": ({State.ON_HOLD}, State.CONFIRMED),
        "delete": ({State.DRAFT}, State.DRAFT),
        # Whether it is then shipped in part or in full, its lines say.
        "ship": ({State.CONFIRMED, State.PARTLY_SHIPPED}, State.SHIPPED),
        "settle": ({State.DELIVERED}, State.SETTLED),
        "reopen": ({State.SETTLED}, State.DELIVERED),
    }
)
OVER = frozenset({State.SETTLED, State.CANCELLED})

# What may still change once the order is promised.
_LOOSE = frozenset(
    {"required_date", "promise_date", "ship_to", "note", "external_id", "owner", "team", "collaborators"}
)


class Outcome(StrEnum):
    """How a step of a confirmation went."""

    DONE = "DONE"
    REFUSED = "REFUSED"
    UNDONE = "UNDONE"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a confirmation; no outcome yet while it is waited for."""

    title: str
    outcome: Outcome | None = None
    reason: str = ""
    time: datetime | None = None


RESERVE, CREDIT, RECORD = "reserve stock", "hold credit", "record history"


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where goods are sent."""

    recipient: str = ""
    phone: str = ""
    street: str = ""
    city: str = ""
    region: str = ""
    postal_code: str = ""
    country: str = ""


@dataclass(frozen=True, kw_only=True)
class Order(Owned, Erasable):
    """A customer's order; its owner is the agent who took it."""

    number: str = ""
    customer: str
    state: State = State.DRAFT
    contract: str = ""
    quote: str = ""
    opportunity: str = ""
    warehouse: str = ""
    currency: str
    lines: tuple[OrderLine, ...] = ()
    totals: Totals | None = None
    discount_percent: Percent = NOTHING
    tax_mode: TaxMode = TaxMode.EXCLUSIVE
    rounding_mode: RoundingMode = RoundingMode.HALF_UP
    precision: int = 0
    order_date: date | None = None
    required_date: date | None = None
    promise_date: date | None = None
    shipped_date: date | None = None
    delivered_date: date | None = None
    ship_to: Address | None = None
    freight: Money | None = None
    allow_backorder: bool = False
    historic: bool = False
    note: str = ""
    external_id: str = ""
    hold_reason: str = ""
    held_from: State | None = None
    cancel_reason: str = ""
    confirm_time: datetime | None = None
    confirmation: tuple[Step, ...] = ()
    paid: bool = False
    late: bool = False

    def check(self) -> None:
        """The carriage in the order's currency, and no line shipped beyond what was ordered."""
        if self.freight and (self.freight.currency != self.currency or self.freight.amount < 0):
            raise invalid("freight", f"must be an amount in {self.currency}, not negative")
        if self.required_date and self.order_date and self.required_date < self.order_date:
            raise invalid("required_date", "must not be before order_date")
        for index, line in enumerate(self.lines):
            if not 0 <= line.delivered.amount <= line.shipped.amount <= line.quantity.amount:
                raise invalid(f"lines[{index}].shipped", "must not be more than was ordered")

    def described(
        self, products: Mapping[str, Product], prices: Sequence[PriceList], *, today: date
    ) -> Order:
        """With what its lines leave unsaid taken from the products they name and the price lists, and priced.

        Refuses a line that names no product of *products*, and one that nothing gives a price.
        """
        lines = []
        for index, line in enumerate(self.lines):
            if line.product and line.product not in products:
                raise Refused("REFERENCE_UNKNOWN", field=f"lines[{index}].product", name=line.product)
            product = products.get(line.product)
            lines.append(
                line.described(
                    product,
                    prices,
                    currency=self.currency,
                    customer=self.customer,
                    on=self.order_date or today,
                    field=f"lines[{index}]",
                )
            )
        return replace(self, lines=tuple(lines), order_date=self.order_date or today).priced()

    def priced(self) -> Order:
        """With its lines and totals as the one pricing kernel computes them."""
        result = pricing.price(
            [
                pricing.Line(
                    product=line.product,
                    quantity=line.quantity,
                    unit_price=line.unit_price or Money.zero(self.currency),
                    discount_percent=line.discount_percent,
                    tax_percent=line.tax_percent or NOTHING,
                )
                for line in self.lines
            ],
            currency=self.currency,
            document_discount=self.discount_percent,
            tax_mode=self.tax_mode,
            rounding_mode=self.rounding_mode,
            precision=self.precision,
        )
        lines = tuple(
            replace(line, net=priced.net, tax=priced.tax)
            for line, priced in zip(self.lines, result.lines, strict=True)
        )
        return replace(self, lines=lines, totals=result.totals)

    def may_follow(self, before: Order) -> None:
        """Refuse a change of what *before* had promised; a draft has promised nothing."""
        if before.state == State.DRAFT:
            return
        allowed = ", ".join(sorted(set(State) - OVER)) if before.state in OVER else State.DRAFT
        for field in fields(self):
            changed = getattr(self, field.name) != getattr(before, field.name)
            if changed and (before.state in OVER or field.name not in _LOOSE):
                raise Refused(
                    "STATE_FORBIDS", verb=f"change {field.name}", state=before.state, allowed=allowed
                )

    def confirming(self, reserved: Amounts, *, at: datetime) -> Order:
        """Its stock is reserved, its credit is asked next."""
        state = LIFECYCLE.after("confirm", self.state)
        self._must_have_lines()
        steps = (Step(title=RESERVE, outcome=Outcome.DONE, time=at), Step(title=CREDIT))
        return replace(self._reserving(reserved), state=state, confirmation=steps)

    def accept(self, *, at: datetime) -> Order:
        """Promised to the customer: stock reserved and credit held."""
        state = LIFECYCLE.after("accept", self.state)
        steps = (*self.confirmation[:-1], Step(title=CREDIT, outcome=Outcome.DONE, time=at))
        return replace(self, state=state, confirmation=steps, confirm_time=at)

    def refuse(self, *, reason: str, at: datetime) -> Order:
        """A draft again: the credit was refused, so the stock is free."""
        state = LIFECYCLE.after("refuse", self.state)
        steps = (
            Step(title=RESERVE, outcome=Outcome.UNDONE, time=at),
            Step(title=CREDIT, outcome=Outcome.REFUSED, reason=reason, time=at),
        )
        return replace(self._unreserved(), state=state, confirmation=steps)

    def record(self, *, at: datetime) -> Order:
        """Confirmed as history: it reserves nothing and asks for no credit."""
        state = LIFECYCLE.after("record", self.state)
        self._must_have_lines()
        steps = (Step(title=RECORD, outcome=Outcome.DONE, time=at),)
        return replace(self, state=state, historic=True, confirmation=steps, confirm_time=at)

    def replenish(self, reserved: Amounts) -> Order:
        """Goods came in and were reserved for what it was short of."""
        return self._reserving(reserved)

    def cancel(self, *, reason: str) -> Order:
        """Given up, before anything was shipped."""
        state = LIFECYCLE.after("cancel", self.state)
        if any(line.shipped for line in self.lines):
            raise Refused("ORDER_SHIPPED", order=self.number)
        return replace(self._unreserved(), state=state, cancel_reason=reason)

    def hold(self, *, reason: str) -> Order:
        """Stopped for the time being."""
        return replace(
            self, state=LIFECYCLE.after("hold", self.state), hold_reason=reason, held_from=self.state
        )

    def resume(self) -> Order:
        """Goes on where it was held."""
        state = LIFECYCLE.after("resume", self.state)
        return replace(self, state=self.held_from or state, hold_reason="", held_from=None)

    def ship(self, amounts: Amounts, reserved: Amounts, *, on: date) -> Order:
        """So much of its lines left, the last of it *on* that day.

        *reserved* is how much of that had been promised from stock.
        """
        LIFECYCLE.after("ship", self.state)
        lines = tuple(
            replace(
                line,
                shipped=line.shipped + amounts.get(at, NONE),
                reserved=line.reserved - reserved.get(at, NONE),
            )
            for at, line in enumerate(self.lines, 1)
        )
        late = bool(self.required_date and on > self.required_date)
        if any(line.unshipped for line in lines):
            return replace(self, lines=lines, state=State.PARTLY_SHIPPED, shipped_date=None, late=False)
        return replace(self, lines=lines, state=State.SHIPPED, shipped_date=on, late=late)

    def take_back(self, amounts: Amounts, reserved: Amounts) -> Order:
        """Goods of a failed shipment came back; *reserved* is what of them is promised to it again."""
        lines = tuple(
            replace(
                line,
                shipped=line.shipped - amounts.get(at, NONE),
                reserved=line.reserved + reserved.get(at, NONE),
            )
            for at, line in enumerate(self.lines, 1)
        )
        state = State.PARTLY_SHIPPED if any(line.shipped for line in lines) else State.CONFIRMED
        if self.state == State.ON_HOLD:
            return replace(self, lines=lines, held_from=state)
        return replace(self, lines=lines, state=state, shipped_date=None, late=False)

    def deliver(self, amounts: Amounts, *, on: date) -> Order:
        """So much of its lines arrived, the last of it *on* that day; delivered when that is all of it."""
        lines = tuple(
            replace(line, delivered=line.delivered + amounts.get(at, NONE))
            for at, line in enumerate(self.lines, 1)
        )
        if any(line.quantity - line.delivered for line in lines):
            return replace(self, lines=lines)
        return replace(self, lines=lines, state=State.DELIVERED, delivered_date=on)

    def pay(self) -> Order:
        """All of it is paid."""
        return replace(self, paid=True)

    def settle(self) -> Order:
        """Arrived and paid: closed."""
        return replace(self, state=LIFECYCLE.after("settle", self.state))

    def unpay(self) -> Order:
        """Not all of it is paid any more; open again where it was closed."""
        unpaid = replace(self, paid=False)
        return unpaid.reopen() if self.state == State.SETTLED else unpaid

    def reopen(self) -> Order:
        """Closed too early: it is still to be paid."""
        return replace(self, state=LIFECYCLE.after("reopen", self.state))

    def _must_have_lines(self) -> None:
        if not self.lines:
            raise Refused("ORDER_EMPTY", order=self.number)

    def _reserving(self, reserved: Amounts) -> Order:
        lines = tuple(
            replace(line, reserved=line.reserved + reserved.get(at, NONE))
            for at, line in enumerate(self.lines, 1)
        )
        return replace(self, lines=lines)

    def _unreserved(self) -> Order:
        return replace(self, lines=tuple(replace(line, reserved=NONE) for line in self.lines))
