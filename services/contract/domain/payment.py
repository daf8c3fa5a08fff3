"""What a payment is, and which invoices it pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from chassis.kernel.record import Owned, replace
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import Money


class State(StrEnum):
    """How much of a payment found an invoice."""

    UNALLOCATED = "UNALLOCATED"
    PARTLY_ALLOCATED = "PARTLY_ALLOCATED"
    ALLOCATED = "ALLOCATED"


class Method(StrEnum):
    """How the money came."""

    BANK_TRANSFER = "BANK_TRANSFER"
    CARD = "CARD"
    CASH = "CASH"
    WALLET = "WALLET"
    BILL = "BILL"


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """What a payment pays of one invoice; as much as possible where no amount is said."""

    invoice: str
    amount: Money | None = None


@dataclass(frozen=True, kw_only=True)
class Payment(Owned):
    """Money received from a customer."""

    number: str = ""
    customer: str
    amount: Money
    receive_date: date | None = None
    method: Method = Method.BANK_TRANSFER
    reference: str = ""
    note: str = ""
    allocations: tuple[Allocation, ...] = ()
    unallocated: Money | None = None
    state: State = State.UNALLOCATED

    def check(self) -> None:
        """Something came in."""
        if self.amount.amount <= 0:
            raise invalid("amount", "must be more than zero")

    @property
    def left(self) -> Money:
        """What no invoice took yet."""
        return self.amount if self.unallocated is None else self.unallocated

    def allocate(self, wanted: Sequence[tuple[str, Money]]) -> Payment:
        """With these invoices paid from what is left, each for its amount."""
        taken = {each.invoice: each.amount for each in self.allocations}
        left = self.left
        for invoice, amount in wanted:
            if amount.amount <= 0:
                raise invalid("allocations", "must have amounts of more than zero")
            if amount.currency != left.currency:
                raise Refused(
                    "INVOICE_NOT_PAYABLE", invoice=invoice, problem=f"the payment is in {left.currency}"
                )
            if amount > left:
                raise Refused("ALLOCATION_TOO_MUCH", asked=amount, left=left)
            before = taken.get(invoice)
            taken[invoice] = before + amount if before else amount
            left = left - amount
        return self._having(taken, left)

    def free(self, invoice: str) -> tuple[Payment, Money]:
        """(without what it paid of an invoice that is taken back, how much that was)."""
        taken = {each.invoice: each.amount for each in self.allocations}
        amount = taken.pop(invoice, None) or Money.zero(self.amount.currency)
        return self._having(taken, self.left + amount), amount

    def _having(self, taken: dict[str, Money | None], left: Money) -> Payment:
        state = (
            State.ALLOCATED
            if not left
            else State.UNALLOCATED
            if left == self.amount
            else State.PARTLY_ALLOCATED
        )
        allocations = tuple(Allocation(invoice=invoice, amount=amount) for invoice, amount in taken.items())
        return replace(self, allocations=allocations, unallocated=left, state=state)


def oldest_first(left: Money, open_invoices: Sequence[tuple[str, Money]]) -> list[tuple[str, Money]]:
    """How much of each invoice, in the order given, an amount pays until nothing is left."""
    plan = []
    for invoice, amount in open_invoices:
        if take := min(left, amount):
            plan.append((invoice, take))
            left = left - take
    return plan
