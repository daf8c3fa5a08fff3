"""What the inventory service asks for again, or names, when the contract service was restored."""

from __future__ import annotations

from datetime import UTC, datetime

from tradewind.contract.v1 import contract_pb2, credit_pb2, invoice_pb2
from tradewind.customer.v1 import customer_pb2
from tradewind.inventory.v1 import events_pb2

from chassis.kernel.refusals import Refused
from chassis.resync import Loss, after_restoring, put_away
from chassis.shapes import money_message
from chassis.store import derived_id
from chassis.territories import follow_restored
from services.inventory.domain.order import Order, State
from services.inventory.domain.shipment import Shipment
from services.inventory.store import InventoryStore, show_order

_PROMISED = frozenset(State) - {State.DRAFT, State.CONFIRMING, State.CANCELLED}
# What the contract service says when the answer is no, and stays no.
_NO = {"CREDIT_LIMIT_EXCEEDED", "CURRENCY_MISMATCH", "CREDIT_HOLD_OVER", "REFERENCE_UNKNOWN", "FIELD_INVALID"}
_UNSIGNED = (contract_pb2.Contract.DRAFT, contract_pb2.Contract.IN_REVIEW, contract_pb2.Contract.APPROVED)


@after_restoring("contract")
async def hold_credit_again(loss: Loss) -> None:
    """What was promised since then is to be held again: the same hold, when it is there, stands."""
    for order in await loss.changed(Order):
        if order.state not in _PROMISED or order.historic or order.totals is None:
            continue
        name, began = f"orders/{order.id}", datetime.now(UTC)
        request = credit_pb2.HoldCreditRequest(
            order=name,
            customer=order.customer,
            amount=money_message(order.totals.total),
            attempt=order.version,
            request_id=derived_id("hold again", loss.epoch, name),
        )
        try:
            hold = await loss.ask("CreditService.HoldCredit", request)
        except Refused as no:
            if no.reason not in _NO:
                raise
            async with loss.begin() as tx:
                loss.report(tx, name, "LOOK", f"{order.number} stands without credit: {no.reason}")
            continue
        if hold is not None and hold.update_time.ToDatetime(UTC) >= began:
            async with loss.begin() as tx:
                loss.report(tx, name, "HELD", f"{order.totals.total} of credit for {order.number}")


@after_restoring("contract")
async def name_what_counts_as_paid(loss: Loss) -> None:
    """Goods whose payment is lost stay paid here; the invoice has to be looked at."""
    for shipment in await loss.changed(Shipment):
        if shipment.paid and not await _free(loss, shipment):
            await _look_for_payment(loss, f"shipments/{shipment.id}", shipment.number, "shipment")
    for order in await loss.changed(Order):
        if order.paid and order.totals and order.totals.total:
            await _look_for_payment(loss, f"orders/{order.id}", order.number, "order")


async def _free(loss: Loss, shipment: Shipment) -> bool:
    """Whether its goods were never to be paid."""
    async with loss.begin() as tx:
        order = await tx.all(Order, id=shipment.order.removeprefix("orders/"), deleted=True, scoped=False)
    return bool(order) and all(line.free(order[0]) for line in shipment.lines)


async def _look_for_payment(loss: Loss, name: str, number: str, field: str) -> None:
    request = invoice_pb2.ListInvoicesRequest(filter=f'{field} = "{name}" AND state = PAID', page_size=1)
    answer = await loss.ask("InvoiceService.ListInvoices", request)
    if not answer.invoices:
        async with loss.begin() as tx:
            loss.report(tx, name, "LOOK", f"{number} is paid here, and none of its invoices is")


@after_restoring("contract")
async def order_what_was_signed(loss: Loss) -> None:
    """An untouched draft for a contract that is not signed is put away; one in work is for people."""
    for order in await loss.changed(Order):
        if not order.contract or order.id != derived_id(order.contract, "order"):
            continue
        request = contract_pb2.GetContractRequest(name=order.contract)
        contract = await loss.ask("ContractService.GetContract", request)
        if contract is not None and contract.state not in _UNSIGNED:
            continue
        async with loss.begin() as tx:
            found = await tx.all(Order, id=order.id, lock=True, scoped=False)
            if not found:
                continue
            if found[0].state == State.DRAFT and found[0].updater.startswith("services/"):
                tx.emit(events_pb2.OrderDeleted(order=show_order(put_away(tx, found[0]))))
                loss.report(tx, tx.name(order), "PUT_AWAY", f"draft for {order.contract}, not signed")
            else:
                said = f"{order.number} is for {order.contract}, which is not signed"
                loss.report(tx, tx.name(order), "LOOK", said)


@after_restoring("customer")
async def lie_where_customers_lie(loss: Loss) -> None:
    """Records are in the territories that their customers are in now."""
    await follow_restored(loss, InventoryStore.customer_territories, customer_pb2.ListCustomersRequest)
