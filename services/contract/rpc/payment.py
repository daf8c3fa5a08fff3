"""What can be asked of payments: receive them, and pay invoices from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tradewind.contract.v1 import events_pb2

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import Money
from chassis.rpc import Rpc
from chassis.store import Tx
from services.contract.domain.invoice import PAYABLE, Invoice, State
from services.contract.domain.journal_entry import Kind, payment_sides
from services.contract.domain.payment import Allocation, Payment, oldest_first
from services.contract.rpc import credit, journal_entry
from services.contract.rpc.contract import progress
from services.contract.rpc.shown import show_allocation, show_invoice, show_payment
from services.contract.store import exposure_of, id_of, open_invoices


class PaymentRpc(Rpc):
    """Money received."""

    service = "tradewind.contract.v1.PaymentService"
    shape = show_payment

    async def CreatePayment(self, request: Any, call: Call) -> Any:
        """Booked, and the invoices it names are paid."""
        values = show_payment.values(request.payment, path="payment.")
        wanted = values.pop("allocations")
        asked = Payment(id=call.new_id(), **values)
        if asked.receive_date and asked.receive_date > call.today:
            raise invalid("payment.receive_date", "must not be in the future")
        if asked.amount != asked.amount.rounded():  # not in check: what was kept before it was said stays
            raise invalid("payment.amount", f"must have no more decimals than {asked.amount.currency} has")
        await credit.know_customer(self.store, asked.customer, call, field="payment.customer")
        async with self.store.begin(call) as tx:
            exposure = await exposure_of(tx, asked.customer, lock=True)
            assert exposure is not None
            asked.check()
            year = f"{call.now:%Y}"
            received = replace(
                asked,
                number=f"P-{year}-{await tx.number(f'P-{year}'):06d}",
                receive_date=asked.receive_date or call.today,
                unallocated=asked.amount,
                owner=asked.owner or exposure.owner,
                team=asked.team or exposure.team,
            )
            plan = await _plan(tx, received, wanted) if wanted else []
            made = tx.add(received.allocate([(tx.name(each), amount) for each, amount in plan]))
            journal_entry.keep(
                tx, payment_sides(made), kind=Kind.PAYMENT, document=tx.name(made), number=made.number,
                record=made, day=made.receive_date or call.today,
            )  # fmt: skip
            tx.emit(events_pb2.PaymentReceived(payment=show_payment(made)))
            credit.changed(tx, exposure.counting(made.amount.currency).owe(-made.amount))
            await _pay(tx, plan)
            return tx.reply(show_payment(made))

    async def AllocatePayment(self, request: Any, call: Call) -> Any:
        """More invoices are paid from what is left."""
        wanted = tuple(
            show_allocation.read(each, f"allocations[{index}]")
            for index, each in enumerate(request.allocations)
        )
        async with self.store.begin(call) as tx:
            found = await tx.get(Payment, request.name, etag=request.etag)
            await exposure_of(tx, found.customer, lock=True)
            payment = await tx.get(Payment, request.name, lock=True)
            plan = await _plan(tx, payment, wanted)
            made = tx.save(payment.allocate([(tx.name(each), amount) for each, amount in plan]))
            tx.emit(events_pb2.PaymentAllocated(payment=show_payment(made)))
            await _pay(tx, plan)
            return tx.reply(show_payment(made))


Plan = list[tuple[Invoice, Money]]


async def _plan(tx: Tx, payment: Payment, wanted: Sequence[Allocation]) -> Plan:
    """How much of which invoice is paid; of the customer's oldest when nothing is named."""
    if not wanted:
        due = {
            tx.name(each): each for each in await open_invoices(tx, payment.customer, payment.left.currency)
        }
        paid = oldest_first(payment.left, [(name, each.left) for name, each in due.items()])
        return [(due[name], amount) for name, amount in paid]
    names = [each.invoice for each in wanted]
    if len(set(names)) < len(names):
        raise invalid("allocations", "must name each invoice once")
    plan: Plan = []
    left = payment.left
    for each in sorted(wanted, key=lambda allocation: allocation.invoice):
        found = await _payable(tx, each.invoice, payment)
        amount = min(left, found.left) if each.amount is None else each.amount
        if amount.currency == left.currency and amount <= left:
            left = left - amount
        plan.append((found, amount))
    return plan


async def _payable(tx: Tx, name: str, payment: Payment) -> Invoice:
    found = await tx.all(Invoice, limit=1, lock=True, scoped=False, id=id_of(name))
    if not name.startswith("invoices/") or not found or found[0].customer != payment.customer:
        raise Refused("INVOICE_NOT_PAYABLE", invoice=name, problem=f"it is none of {payment.customer}")
    if found[0].state not in PAYABLE:
        raise Refused("INVOICE_NOT_PAYABLE", invoice=name, problem=f"it is {found[0].state}")
    if found[0].currency != payment.amount.currency:
        raise Refused("INVOICE_NOT_PAYABLE", invoice=name, problem=f"it is in {found[0].currency}")
    return found[0]


async def _pay(tx: Tx, plan: Plan) -> None:
    """Each invoice is paid by its part, and so is its contract."""
    for unpaid, amount in plan:
        paid = tx.save(unpaid.pay(amount, at=tx.call.now))
        event = events_pb2.InvoicePaid if paid.state == State.PAID else events_pb2.InvoicePartlyPaid
        tx.emit(event(invoice=show_invoice(paid)))
        await progress(tx, paid.contract, paid=amount)
