"""What a credit note is: an invoice turned back, in full."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from services.contract.domain.invoice import Invoice
from services.contract.domain.paper import Paper


@dataclass(frozen=True, kw_only=True)
class CreditNote(Paper):
    """Reverses one invoice."""

    number: str
    series: str  # "CN-2026"
    serial: int
    invoice: str
    customer: str
    contract: str = ""
    order: str = ""
    reason: str = ""
    issue_date: date | None = None


def credit_note_of(
    invoice: Invoice, *, id: str, name: str, series: str, serial: int, reason: str, issue_date: date
) -> CreditNote:
    """What takes that invoice, called *name*, back."""
    note = CreditNote(
        id=id,
        number=f"{series}-{serial:06d}",
        series=series,
        serial=serial,
        invoice=name,
        customer=invoice.customer,
        contract=invoice.contract,
        order=invoice.order,
        reason=reason,
        issue_date=issue_date,
        owner=invoice.owner,
        team=invoice.team,
        collaborators=invoice.collaborators,
    )
    return note.takes(invoice)
