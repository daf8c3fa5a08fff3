"""What can be asked of invoices: each method is one transaction, told in order."""

from __future__ import annotations

from typing import Any

from tradewind.contract.v1 import events_pb2

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money
from chassis.shapes import read_date
from chassis.store import Tx, derived_id
from services.contract.domain.contract import IN_FORCE, Contract, State
from services.contract.domain.credit import CreditExposure, CreditHold
from services.contract.domain.credit_note import CreditNote, credit_note_of
from services.contract.domain.invoice import LIFECYCLE, Invoice
from services.contract.domain.journal_entry import Kind, credit_sides, invoice_sides
from services.contract.rpc import credit, journal_entry
from services.contract.rpc.contract import progress
from services.contract.rpc.paper import PaperRpc
from services.contract.rpc.shown import show_credit_note, show_invoice, show_payment
from services.contract.store import exposure_of, id_of, must_know, payments_of

BILLABLE = IN_FORCE | {State.COMPLETED}


class InvoiceRpc(PaperRpc):
    """What customers are asked to pay."""

    service = "tradewind.contract.v1.InvoiceService"
    shape = show_invoice

    async def CreateInvoice(self, request: Any, call: Call) -> Any:
        """A draft by hand; what it does not say is the contract's."""
        await credit.know_customer(self.store, request.invoice.customer, call, field="invoice.customer")
        return await self.standard("CreateInvoice")(request, call)

    async def admit(self, tx: Tx, record: Invoice, before: Invoice | None) -> Invoice:
        """Priced, for a customer who is known."""
        if before is None and record.contract:
            record = await _from_contract(tx, record)
        record.check()
        drafted = record.drafted(before, again=before is not None and not _first(before))
        if before is None or record.customer != before.customer:
            exposure = await must_know(tx, drafted.customer, "invoice.customer")
            if before is None and not drafted.owner:
                drafted = replace(drafted, owner=exposure.owner, team=exposure.team)
        return drafted

    async def dismiss(self, tx: Tx, record: Invoice) -> None:
        """Only a draft is deleted."""
        LIFECYCLE.after("delete", record.state)

    async def PostInvoice(self, request: Any, call: Call) -> Any:
        """Booked under its legal number; what was held for its order is owed now."""
        today = call.today
        day = read_date(request.issue_date, "issue_date") if request.HasField("issue_date") else today
        if day < today:
            call.require("records.backdate")
        async with self.store.begin(call) as tx:
            invoice = await tx.get(Invoice, request.name, etag=request.etag)
            exposure = await exposure_of(tx, invoice.customer, lock=True)
            days = exposure.payment_terms_days if exposure else 0
            LIFECYCLE.after("post", invoice.state)
            series = f"INV-{day:%Y}"
            serial = await tx.number(series)
            posted = tx.save(
                invoice.post(
                    series=series, serial=serial, issue_date=day, terms_days=days, at=call.now, today=today
                )
            )
            journal_entry.keep(
                tx, invoice_sides(posted), kind=Kind.INVOICE, document=request.name, number=posted.number,
                record=posted, day=day,
            )  # fmt: skip
            tx.emit(events_pb2.InvoicePosted(invoice=show_invoice(posted)))
            await _owe(tx, exposure, posted)
            await progress(tx, posted.contract, invoiced=posted.total)
            return tx.reply(show_invoice(posted))

    async def CreditInvoice(self, request: Any, call: Call) -> Any:
        """Taken back by a credit note; its payments are free for other invoices."""
        if request.reissue:
            call.require("invoices.write")
        async with self.store.begin(call) as tx:
            found = await tx.get(Invoice, request.name, etag=request.etag)
            exposure = await exposure_of(tx, found.customer, lock=True)
            invoice = await tx.get(Invoice, request.name, lock=True)
            void = await reverse(tx, exposure, invoice, request.reason, call.new_id())
            if request.reissue:
                draft = tx.add(invoice.again(call.new_id()), scoped=False)
                tx.emit(events_pb2.InvoiceCreated(invoice=show_invoice(draft)))
            return tx.reply(show_invoice(void))


async def reverse(
    tx: Tx, exposure: CreditExposure | None, invoice: Invoice, reason: str, note_id: str
) -> Invoice:
    """An invoice taken back by a credit note; what was paid on it is free on its payments.

    The exposure and the invoice are locked, in this order.
    """
    LIFECYCLE.after("credit", invoice.state)
    name = tx.name(invoice)
    note = await _credit_note(tx, invoice, note_id, reason)
    void = tx.save(invoice.credit(tx.name(note)))
    journal_entry.keep(
        tx, credit_sides(invoice), kind=Kind.CREDIT_NOTE, document=tx.name(note), number=note.number,
        record=note, day=tx.call.today,
    )  # fmt: skip
    tx.emit(events_pb2.InvoiceCredited(invoice=show_invoice(void), credit_note=show_credit_note(note)))
    freed = Money.zero(invoice.currency)
    for paid in await payments_of(tx, name, invoice.customer):
        rest, amount = paid.free(name)
        tx.emit(events_pb2.PaymentAllocated(payment=show_payment(tx.save(rest))))
        freed = freed + amount
    if exposure:
        credit.changed(tx, exposure.owe(-invoice.total))
    await progress(tx, invoice.contract, invoiced=-invoice.total, paid=-freed)
    return void


async def _from_contract(tx: Tx, invoice: Invoice) -> Invoice:
    try:
        contract = await tx.get(Contract, invoice.contract, permission="contracts.read")
    except Refused as no:
        if no.reason != "NOT_FOUND":
            raise
        raise Refused("REFERENCE_UNKNOWN", field="invoice.contract", name=invoice.contract) from None
    if contract.state not in BILLABLE:
        allowed = ", ".join(sorted(BILLABLE))
        raise Refused("STATE_FORBIDS", verb="be invoiced", state=contract.state, allowed=allowed)
    filled = invoice if invoice.lines else invoice.takes(contract)
    return replace(
        filled,
        customer=invoice.customer or contract.customer,
        owner=invoice.owner or contract.owner,
        team=invoice.team or contract.team,
    )


def _first(invoice: Invoice) -> bool:
    """Whether it is what its shipment was drafted for, or was written by hand; not an invoice put right."""
    return not invoice.shipment or invoice.id == derived_id(invoice.shipment, "invoice")


async def _owe(tx: Tx, exposure: CreditExposure | None, posted: Invoice) -> None:
    """What the order's hold kept free is owed now: the exposure grows by what was not held."""
    if exposure is None:
        return
    held = posted.order and _first(posted)  # an invoice put right asks for what the first one took
    hold = await tx.find(CreditHold, id=id_of(posted.order)) if held else None
    if hold and hold.held:
        rest, taken = hold.invoice(posted.total)
        tx.save(rest)
        exposure = exposure.release(taken)
    credit.changed(tx, exposure.counting(posted.currency).owe(posted.total))


async def _credit_note(tx: Tx, invoice: Invoice, id: str, reason: str) -> CreditNote:
    day = tx.call.today
    series = f"CN-{day:%Y}"
    serial = await tx.number(series)
    note = credit_note_of(
        invoice,
        id=id,
        name=tx.name(invoice),
        series=series,
        serial=serial,
        reason=reason,
        issue_date=day,
    )
    return tx.add(note, scoped=False)
