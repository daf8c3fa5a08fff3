"""What can be asked of credit notes: to be read; they are made by taking an invoice back."""

from __future__ import annotations

from chassis.rpc import Rpc
from services.contract.rpc.shown import show_credit_note


class CreditNoteRpc(Rpc):
    """What took invoices back."""

    service = "tradewind.contract.v1.CreditNoteService"
    shape = show_credit_note
