"""What an invoice is, and what may happen to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from chassis.kernel.lifecycle import Lifecycle
from chassis.kernel.pricing import Line, part, total_of
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import SCALE, Money, Quantity, round_div
from services.contract.domain.paper import Paper

SAME = Quantity(SCALE)  # an exchange rate of one


class State(StrEnum):
    """Where an invoice stands."""

    DRAFT = "DRAFT"
    POSTED = "POSTED"
    PARTLY_PAID = "PARTLY_PAID"
    PAID = "PAID"
    VOID = "VOID"


LIFECYCLE = Lifecycle(
    {
        "update": ({State.DRAFT}, State.DRAFT),
        "delete": ({State.DRAFT}, State.DRAFT),
        "post": ({State.DRAFT}, State.POSTED),
        "pay": ({State.POSTED, State.PARTLY_PAID}, State.PAID),
        "credit": ({State.POSTED, State.PARTLY_PAID, State.PAID}, State.VOID),
    }
)
PAYABLE = LIFECYCLE.steps["pay"][0]


@dataclass(frozen=True, kw_only=True)
class Invoice(Paper):
    """What a customer is asked to pay."""

    number: str = ""
    series: str = ""  # "INV-2026": numbers count without gaps within it
    serial: int | None = None
    customer: str = ""
    contract: str = ""
    order: str = ""
    shipment: str = ""
    exchange_rate: Quantity = SAME  # units of the base currency for one of the invoice's
    base_currency: str = ""
    issue_date: date | None = None
    due_date: date | None = None
    state: State = State.DRAFT
    paid_amount: Money | None = None
    open_amount: Money | None = None
    post_time: datetime | None = None
    pay_time: datetime | None = None
    credit_note: str = ""
    note: str = ""

    @property
    def total(self) -> Money:
        """What it asks for."""
        return self.totals.total if self.totals else Money.zero(self.currency)

    @property
    def base_total(self) -> Money | None:
        """The total in the base currency, at the rate the invoice keeps."""
        if not self.base_currency or not self.totals:
            return None
        amount = round_div(self.total.amount * self.exchange_rate.amount, SCALE, self.rounding_mode)
        return Money(amount, self.base_currency).rounded(self.rounding_mode, self.precision or None)

    @property
    def left(self) -> Money:
        """What of it is still to be paid."""
        return self.open_amount or Money.zero(self.currency)

    def check(self) -> None:
        """An invoice asks somebody, at a rate that makes sense."""
        if not self.customer:
            raise invalid("customer", "is required where the contract does not say it")
        if self.exchange_rate.amount <= 0:
            raise invalid("exchange_rate", "must be more than zero")
        same = self.base_currency == self.currency
        if same and self.exchange_rate != SAME:
            raise invalid("exchange_rate", "must be 1 while base_currency is the currency itself")

    def drafted(self, before: Invoice | None = None, *, again: bool = False) -> Invoice:
        """Priced, and in its base currency; a shipment's lines stay as the order priced them, until the
        invoice is drafted *again*.
        """
        if before is not None:
            LIFECYCLE.after("update", before.state)
        draft = self
        if before is None or not before.shipment or not self.same_terms(before):
            if before is not None and before.shipment and not again:
                raise invalid("lines", "follow the shipment and cannot be written")
            draft = self.priced()
        return replace(draft, base_currency=draft.base_currency or draft.currency)

    def post(
        self, *, series: str, serial: int, issue_date: date, terms_days: int, at: datetime, today: date
    ) -> Invoice:
        """Booked, under its legal number, with its rate frozen."""
        state = LIFECYCLE.after("post", self.state)
        if self.total.amount <= 0:
            raise Refused("INVOICE_EMPTY")
        if issue_date > today:
            raise invalid("issue_date", "must not be in the future")
        due_date = self.due_date or issue_date + timedelta(days=terms_days)
        if due_date < issue_date:
            raise invalid("due_date", f"must not be before {issue_date}, the issue date")
        return replace(
            self,
            state=state,
            series=series,
            serial=serial,
            number=f"{series}-{serial:06d}",
            issue_date=issue_date,
            due_date=due_date,
            paid_amount=Money.zero(self.currency),
            open_amount=self.total,
            post_time=at,
        )

    def pay(self, amount: Money, *, at: datetime) -> Invoice:
        """Paid by that much; PAID when nothing is left."""
        paid = LIFECYCLE.after("pay", self.state)
        if amount.amount <= 0:
            raise invalid("amount", "must be more than zero")
        if amount - self.left > Money.zero(self.currency):
            raise Refused("ALLOCATION_TOO_MUCH", asked=amount, left=self.left)
        left = self.left - amount
        return replace(
            self,
            state=State.PARTLY_PAID if left else paid,
            open_amount=left,
            paid_amount=self.total - left,
            pay_time=None if left else at,
        )

    def credit(self, credit_note: str) -> Invoice:
        """Taken back in full; nothing is owed for it any more."""
        state = LIFECYCLE.after("credit", self.state)
        nothing = Money.zero(self.currency)
        return replace(
            self,
            state=state,
            credit_note=credit_note,
            open_amount=nothing,
            paid_amount=nothing,
            pay_time=None,
        )

    def again(self, id: str) -> Invoice:
        """Drafted anew, to be put right: for the same order and shipment, under a number to come."""
        return replace(
            self,
            id=id,
            version=0,
            creator="",
            number="",
            series="",
            serial=None,
            issue_date=None,
            due_date=None,
            state=State.DRAFT,
            paid_amount=None,
            open_amount=None,
            post_time=None,
            pay_time=None,
            credit_note="",
        )

    def days_late(self, today: date) -> int:
        """Days after the last day to pay; zero or less when there is time."""
        return (today - self.due_date).days if self.due_date else 0


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """How much of one line of an order a shipment took."""

    line: Line
    quantity: Quantity
    before: Quantity


def invoice_of_parts(invoice: Invoice, shipped: tuple[Shipped, ...]) -> Invoice:
    """The invoice with the shipped parts of priced lines; the parts of a line sum to it exactly."""
    lines = tuple(
        part(
            each.line,
            before=each.before,
            now=each.quantity,
            rounding_mode=invoice.rounding_mode,
            precision=invoice.precision,
        )
        for each in shipped
    )
    totals = total_of(
        lines,
        currency=invoice.currency,
        tax_mode=invoice.tax_mode,
        rounding_mode=invoice.rounding_mode,
        precision=invoice.precision,
    )
    return replace(
        invoice, lines=lines, totals=totals, base_currency=invoice.base_currency or invoice.currency
    )
