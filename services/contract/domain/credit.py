"""What a customer may owe at once, and what orders hold of it before they are invoiced."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chassis.kernel.record import Owned, Record, replace
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import Money

NOTHING = Money(0, "")  # in no currency yet


class State(StrEnum):
    """Where a hold stands."""

    HELD = "HELD"
    RELEASED = "RELEASED"
    INVOICED = "INVOICED"


@dataclass(frozen=True, kw_only=True)
class CreditExposure(Owned):
    """What a customer owes or is about to owe, beside the limit; its id is the customer's.

    Everything is counted in one currency: the limit's, or the one the customer buys in.
    """

    customer: str
    currency: str = ""
    credit_limit: Money | None = None  # None: unlimited
    held: Money = NOTHING
    receivable: Money = NOTHING
    payment_terms_days: int = 0
    customer_version: int = 0  # the version of the customer that said so

    @property
    def used(self) -> Money:
        """Held for orders and owed for invoices, less what was paid ahead."""
        return self.held + self.receivable

    @property
    def available(self) -> Money | None:
        """What may still be held; nothing to say when there is no limit."""
        return self.credit_limit - self.used if self.credit_limit is not None else None

    def counts(self, currency: str) -> bool:
        """Whether amounts in that currency are counted here."""
        return currency == self.currency

    def counting(self, currency: str) -> CreditExposure:
        """Counting in that currency where none was said before."""
        if self.currency:
            return self
        return replace(self, currency=currency, held=Money.zero(currency), receivable=Money.zero(currency))

    def hold(self, amount: Money) -> CreditExposure:
        """With that much more held, where the limit allows it."""
        if not self.counts(amount.currency):
            if self.credit_limit is not None:
                raise Refused("CURRENCY_MISMATCH", left=self.currency, right=amount.currency)
            return self
        if self.credit_limit is not None and (self.used + amount).amount > self.credit_limit.amount:
            raise Refused("CREDIT_LIMIT_EXCEEDED", limit=self.credit_limit, used=self.used, asked=amount)
        return replace(self, held=self.held + amount)

    def release(self, amount: Money) -> CreditExposure:
        """With that much less held."""
        return replace(self, held=self.held - amount) if self.counts(amount.currency) else self

    def owe(self, amount: Money) -> CreditExposure:
        """Owing that much more; less by a negative amount."""
        return replace(self, receivable=self.receivable + amount) if self.counts(amount.currency) else self


@dataclass(frozen=True, kw_only=True)
class CreditHold(Record):
    """What one order holds of its customer's credit; its id is the order's."""

    order: str
    customer: str
    amount: Money
    held: Money
    state: State = State.HELD
    attempt: int = 0

    def check(self) -> None:
        """Never more than was asked, never less than nothing."""
        if not 0 <= self.held.amount <= self.amount.amount:
            raise invalid("amount", "must not be negative")

    def stands(self, amount: Money, attempt: int) -> bool:
        """Whether this very hold is there already; refuses one whose release came first."""
        if self.state == State.RELEASED and attempt and attempt <= self.attempt:
            raise Refused("CREDIT_HOLD_OVER", order=self.order)
        return self.state != State.RELEASED and self.amount == amount

    def release(self, attempt: int) -> CreditHold:
        """Holding nothing any more, nor for any attempt up to this one."""
        nothing = Money.zero(self.held.currency)
        return replace(self, state=State.RELEASED, held=nothing, attempt=max(attempt, self.attempt))

    def invoice(self, amount: Money) -> tuple[CreditHold, Money]:
        """(the hold after that much was invoiced, how much of the invoice it had held)."""
        if self.state != State.HELD or amount.currency != self.held.currency:
            return self, Money.zero(amount.currency)
        taken = min(amount, self.held)
        left = self.held - taken
        return replace(self, held=left, state=State.HELD if left else State.INVOICED), taken

    def hold_again(self, amount: Money) -> tuple[CreditHold, Money]:
        """(the hold after that much is no longer invoiced, how much of it is held again)."""
        if self.state == State.RELEASED or amount.currency != self.held.currency:
            return self, Money.zero(amount.currency)
        again = min(amount, self.amount - self.held)
        held = self.held + again
        return replace(self, held=held, state=State.HELD if held else self.state), again
