"""What can be asked of the journal: its entries, and what they say a customer owes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from tradewind.contract.v1 import journal_entry_pb2

from chassis.call import Call
from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money
from chassis.rpc import Rpc
from chassis.shapes import money_message
from chassis.store import Tx
from services.contract.domain.credit import CreditExposure
from services.contract.domain.journal_entry import Kind, Side, book
from services.contract.rpc.shown import show_entry
from services.contract.store import id_of, receivable

SUMS = (
    "balance", "open_invoices", "unallocated", "not_due",
    "overdue_30", "overdue_60", "overdue_90", "overdue_older",
)  # fmt: skip


class JournalEntryRpc(Rpc):
    """The entries, one by one."""

    service = "tradewind.contract.v1.JournalEntryService"
    shape = show_entry


class ReceivableRpc(Rpc):
    """What customers owe."""

    service = "tradewind.contract.v1.ReceivableService"

    async def GetReceivable(self, request: Any, call: Call) -> Any:
        """What one customer owes, by currency and by how late it is."""
        id = id_of(request.name)
        if request.name != f"receivables/{id}":
            raise Refused("NOT_FOUND", name=request.name)
        async with self.store.begin(call) as tx:
            try:  # the exposure carries whose customer it is, and so who may see this
                exposure = await tx.get(CreditExposure, f"creditExposures/{id}")
            except Refused:
                raise Refused("NOT_FOUND", name=request.name) from None
            found = await receivable(tx, exposure.customer)
        balances = [
            journal_entry_pb2.Receivable.Balance(
                **{name: money_message(Money(int(row[name]), row["currency"])) for name in SUMS}
            )
            for row in found
        ]
        return journal_entry_pb2.Receivable(name=request.name, customer=exposure.customer, balances=balances)


def keep(
    tx: Tx, sides: Sequence[Side], *, kind: Kind, document: str, number: str, record: Any, day: date
) -> None:
    """Book a document: its entries sum to zero here, and the database asks again at the commit."""
    entries = book(
        sides,
        journal=tx.call.new_id(),
        kind=kind,
        customer=record.customer,
        document=document,
        number=number,
        day=day,
        owner=record.owner,
        team=record.team,
    )
    for entry in entries:
        tx.add(entry, scoped=False)
