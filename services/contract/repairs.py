"""What the contract service takes back, or names, when a service it listens to was restored."""

from __future__ import annotations

from tradewind.contract.v1 import events_pb2
from tradewind.customer.v1 import customer_pb2
from tradewind.inventory.v1 import order_pb2, shipment_pb2
from tradewind.opportunity.v1 import opportunity_pb2

from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.resync import MOST, Loss, after_restoring, may_return, put_away
from chassis.shapes import read_money
from chassis.store import derived_id
from chassis.territories import follow_restored
from services.contract.domain import contract as contracts
from services.contract.domain import invoice as invoices
from services.contract.domain.contract import Contract
from services.contract.domain.credit import CreditExposure, CreditHold, State
from services.contract.domain.invoice import Invoice
from services.contract.rpc.contract import progress
from services.contract.rpc.credit import changed, follow, release
from services.contract.rpc.shown import show_contract, show_invoice
from services.contract.store import ContractStore, exposure_of

Order = order_pb2.Order
_UNPROMISED = (Order.DRAFT, Order.CANCELLED)
_SENT = (shipment_pb2.Shipment.DISPATCHED, shipment_pb2.Shipment.DELIVERED)


@after_restoring("inventory")
async def hold_for_what_stands(loss: Loss) -> None:
    """Credit is held for the orders that are promised, and for no others."""
    for hold in await loss.changed(CreditHold):
        order = await loss.ask("OrderService.GetOrder", order_pb2.GetOrderRequest(name=hold.order))
        if order is None or order.HasField("delete_time") or order.state in _UNPROMISED:
            await _let_go(loss, hold, "is gone" if order is None else f"is {Order.State.Name(order.state)}")
        elif hold.state == State.RELEASED and order.state != Order.CONFIRMING and not order.historic:
            await _hold_again(loss, hold, order)


async def _let_go(loss: Loss, hold: CreditHold, why: str) -> None:
    async with loss.begin() as tx:
        held = await tx.find(CreditHold, id=hold.id)
        if held and held.state == State.HELD:
            await release(tx, held.order, held.customer)
            loss.report(tx, held.order, "RELEASED", f"{held.held} of credit: the order {why}")


async def _hold_again(loss: Loss, hold: CreditHold, order: order_pb2.Order) -> None:
    """The order was given up in what is lost, and stands again; where the limit forbids it, it is named."""
    total = read_money(order.totals.total)
    async with loss.begin() as tx:
        exposure = await exposure_of(tx, hold.customer, lock=True)
        held = await tx.find(CreditHold, id=hold.id)
        if exposure is None or held is None or held.state != State.RELEASED:
            return
        try:
            more = exposure.counting(total.currency).hold(total)
        except Refused as no:
            loss.report(tx, hold.order, "LOOK", f"stands without credit: {no.reason}")
            return
        changed(tx, more)
        tx.save(replace(held, amount=total, held=total, state=State.HELD))
        loss.report(tx, hold.order, "HELD", f"{total} of credit: the order stands again")


@after_restoring("inventory")
async def ask_for_what_left(loss: Loss) -> None:
    """A draft for goods that have not left is put away; an invoice with a number is for people."""
    for invoice in await loss.changed(Invoice):
        if not invoice.shipment or invoice.state == invoices.State.VOID:
            continue
        request = shipment_pb2.GetShipmentRequest(name=invoice.shipment)
        shipment = await loss.ask("ShipmentService.GetShipment", request)
        if shipment is not None and shipment.state in _SENT:
            continue
        async with loss.begin() as tx:
            found = await tx.all(Invoice, id=invoice.id, lock=True, scoped=False)
            name = tx.name(invoice)
            if found and found[0].state == invoices.State.DRAFT:
                made = put_away(tx, found[0])
                tx.emit(events_pb2.InvoiceDeleted(invoice=show_invoice(made)))
                await progress(tx, made.contract, shipped=-made.total)
                loss.report(tx, name, "PUT_AWAY", f"draft for {invoice.shipment}, which has not left")
            elif found:
                loss.report(tx, name, "LOOK", f"{invoice.number} asks for goods that have not left")


@after_restoring("inventory")
async def bill_what_is_on_its_way(loss: Loss) -> None:
    """A draft put away for goods that are on their way after all is back; what was credited is for people."""
    async with loss.begin() as tx:
        changed_since = ContractStore.invoices.table.c.update_time >= loss.since
        known = await tx.all(Invoice, changed_since, deleted=True, limit=MOST, scoped=False)
    for invoice in known:
        put = invoice.delete_time is not None and invoice.updater == loss.call.user
        if not invoice.shipment or not (put or invoice.state == invoices.State.VOID):
            continue
        request = shipment_pb2.GetShipmentRequest(name=invoice.shipment)
        shipment = await loss.ask("ShipmentService.GetShipment", request)
        if shipment is None or shipment.state not in _SENT:
            continue
        async with loss.begin() as tx:
            found = await tx.all(Invoice, deleted=True, id=invoice.id, lock=True, scoped=False)
            name = tx.name(invoice)
            if put and found and may_return(tx, found[0]):
                made = tx.save(replace(found[0], delete_time=None))
                tx.emit(events_pb2.InvoiceUndeleted(invoice=show_invoice(made)))
                await progress(tx, made.contract, shipped=made.total)
                loss.report(tx, name, "BROUGHT_BACK", f"draft for {invoice.shipment}, which is on its way")
            elif not put and invoice.updater == loss.call.user:
                loss.report(tx, name, "LOOK", f"{invoice.number} is credited, and its goods are on their way")


@after_restoring("customer")
async def follow_as_they_are(loss: Loss) -> None:
    """Limits, currencies, terms and owners as the customer service says them now."""
    for exposure in await loss.changed(CreditExposure):
        request = customer_pb2.GetCustomerRequest(name=exposure.customer)
        customer = await loss.ask("CustomerService.GetCustomer", request)
        async with loss.begin() as tx:
            if customer is None:
                said = f"is gone; {exposure.held} held and {exposure.receivable} owed stand here"
                loss.report(tx, exposure.customer, "LOOK", said)
            elif await follow(tx, customer, anew=True):
                loss.report(tx, exposure.customer, "SET_BACK", "limit, terms or owner as they were")


@after_restoring("opportunity")
async def draft_for_what_was_won(loss: Loss) -> None:
    """An untouched draft for a deal that is not won is put away; what people worked on is for people."""
    won = opportunity_pb2.Opportunity.WON
    for contract in await loss.changed(Contract):
        if not contract.opportunity:
            continue
        request = opportunity_pb2.GetOpportunityRequest(name=contract.opportunity)
        deal = await loss.ask("OpportunityService.GetOpportunity", request)
        if deal is not None and deal.state == won:
            continue
        drafted = contract.id == derived_id(contract.opportunity, "contract")
        if not drafted and deal is not None:
            continue  # made by hand, for a deal that is still there
        async with loss.begin() as tx:
            found = await tx.all(Contract, id=contract.id, lock=True, scoped=False)
            untouched = found and found[0].updater.startswith("services/")
            if drafted and untouched and found[0].state == contracts.State.DRAFT:
                tx.emit(events_pb2.ContractDeleted(contract=show_contract(put_away(tx, found[0]))))
                loss.report(tx, tx.name(contract), "PUT_AWAY", f"draft for {contract.opportunity}, not won")
            elif found:
                what = "is gone" if deal is None else "is not won"
                said = f"{contract.number} is for {contract.opportunity}, which {what}"
                loss.report(tx, tx.name(contract), "LOOK", said)


@after_restoring("customer")
async def lie_where_customers_lie(loss: Loss) -> None:
    """Records are in the territories that their customers are in now."""
    await follow_restored(loss, ContractStore.customer_territories, customer_pb2.ListCustomersRequest)
