"""How money is booked: journals whose entries sum to zero, appended and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from chassis.kernel.record import Owned
from chassis.kernel.values import Money
from services.contract.domain.invoice import Invoice
from services.contract.domain.payment import Payment


class Account(StrEnum):
    """What an amount stands on."""

    RECEIVABLE = "RECEIVABLE"
    REVENUE = "REVENUE"
    TAX_PAYABLE = "TAX_PAYABLE"
    CASH = "CASH"


class Kind(StrEnum):
    """What was booked."""

    INVOICE = "INVOICE"
    CREDIT_NOTE = "CREDIT_NOTE"
    PAYMENT = "PAYMENT"


@dataclass(frozen=True, kw_only=True)
class JournalEntry(Owned):
    """One side of a booking: debits are positive, credits negative."""

    journal: str
    line_number: int
    kind: Kind
    account: Account
    customer: str
    document: str
    document_number: str
    amount: Money
    book_date: date


Side = tuple[Account, Money]


def invoice_sides(invoice: Invoice) -> list[Side]:
    """The customer owes the total; the net was earned and the tax is to be handed on."""
    assert invoice.totals is not None
    return [
        (Account.RECEIVABLE, invoice.totals.total),
        (Account.REVENUE, -invoice.totals.net),
        (Account.TAX_PAYABLE, -invoice.totals.tax),
    ]


def credit_sides(invoice: Invoice) -> list[Side]:
    """The reverse of the invoice's booking."""
    return [(account, -amount) for account, amount in invoice_sides(invoice)]


def payment_sides(payment: Payment) -> list[Side]:
    """The money is here, and the customer owes that much less."""
    return [(Account.CASH, payment.amount), (Account.RECEIVABLE, -payment.amount)]


def book(
    sides: Sequence[Side], *, journal: str, kind: Kind, customer: str, document: str, number: str, day: date,
    owner: str, team: str,
) -> list[JournalEntry]:  # fmt: skip
    """The entries of one journal; sides of nothing are left out."""
    if sum(amount.amount for _, amount in sides) or len({amount.currency for _, amount in sides}) > 1:
        raise ValueError(f"the sides of {document} do not sum to zero in one currency")
    return [
        JournalEntry(
            id=f"{journal}-{line}",
            journal=journal,
            line_number=line,
            kind=kind,
            account=account,
            customer=customer,
            document=document,
            document_number=number,
            amount=amount,
            book_date=day,
            owner=owner,
            team=team,
        )
        for line, (account, amount) in enumerate((side for side in sides if side[1]), 1)
    ]
