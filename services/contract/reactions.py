"""What the contract service does when something happens elsewhere."""

from __future__ import annotations

from typing import Any

from tradewind.access.v1 import events_pb2 as access_events_pb2
from tradewind.contract.v1 import events_pb2
from tradewind.customer.v1 import events_pb2 as customer_events_pb2
from tradewind.inventory.v1 import events_pb2 as inventory_events_pb2
from tradewind.inventory.v1 import order_pb2
from tradewind.opportunity.v1 import events_pb2 as opportunity_events_pb2
from tradewind.opportunity.v1 import opportunity_pb2
from tradewind.type.v1 import types_pb2

from chassis.events import on
from chassis.kernel.pricing import Line, RoundingMode, TaxMode
from chassis.kernel.record import replace
from chassis.kernel.values import Percent, Quantity, parse_scaled
from chassis.resync import bring_back, may_return, put_away
from chassis.shapes import Shape, read_money
from chassis.shares import end_shares
from chassis.store import Tx, derived_id
from chassis.territories import know_territory
from services.contract.domain.contract import Contract
from services.contract.domain.credit import CreditHold
from services.contract.domain.invoice import Invoice, Shipped, invoice_of_parts
from services.contract.domain.invoice import State as InvoiceState
from services.contract.domain.quote import Quote, State
from services.contract.rpc.contract import draft, progress
from services.contract.rpc.credit import follow, hold_again, release
from services.contract.rpc.invoice import reverse
from services.contract.rpc.shown import show_contract, show_invoice
from services.contract.store import ContractStore, exposure_of, id_of

show_line = Shape(Line, types_pb2.PriceLine)
ONE = Quantity.of(1)


@on(
    customer_events_pb2.CustomerCreated,
    customer_events_pb2.CustomerUpdated,
    customer_events_pb2.CustomerUndeleted,
    customer_events_pb2.CustomerTransferred,
    customer_events_pb2.CustomerCollaboratorsSet,
)
async def follow_the_customer(event: customer_events_pb2.CustomerCreated, tx: Tx) -> None:
    """Credit has the customer's limit, currency, terms and owner."""
    await follow(tx, event.customer)


@on(opportunity_events_pb2.OpportunityWon)
async def draft_the_contract(event: opportunity_events_pb2.OpportunityWon, tx: Tx) -> None:
    """A won deal gets a draft contract, named after it: winning twice cannot draft twice.

    One that was made by hand from the accepted quote stands in its place.
    """
    deal = event.opportunity
    id = derived_id(deal.name, "contract")
    known = await tx.all(Contract, deleted=True, id=id)
    if not deal.customer or (known and not may_return(tx, known[0])):
        return
    quote = await _accepted_for(tx, deal)
    agreed = tx.name(quote) if quote and quote.state == State.ACCEPTED else ""
    if agreed and await tx.find(Contract, quote=agreed):
        return
    contract = Contract(
        id=id,
        title=deal.title,
        customer=deal.customer,
        opportunity=deal.name,
        quote=agreed,
        lines=() if agreed else _lines_of(deal),
        currency="" if agreed else deal.amount.currency_code or deal.currency,
        owner=deal.owner,
        team=deal.team,
        collaborators=tuple(deal.collaborators),
        creator=tx.call.actor,
    )
    drafted = await draft(tx, contract)
    if known:
        back = bring_back(tx, known[0], replace(drafted, number=known[0].number))
        tx.emit(events_pb2.ContractUndeleted(contract=show_contract(back)))
        return
    tx.emit(events_pb2.ContractCreated(contract=show_contract(tx.add(drafted))))


async def _accepted_for(tx: Tx, deal: opportunity_pb2.Opportunity) -> Quote | None:
    """The quote that the deal names, or the last one accepted for it: a deal won at once names none yet."""
    if deal.accepted_quote:
        return await tx.find(Quote, id=id_of(deal.accepted_quote))
    last = await tx.all(
        Quote, opportunity=deal.name, customer=deal.customer, state=State.ACCEPTED,
        order="answer_time DESC, id DESC", limit=1,
    )  # fmt: skip
    return last[0] if last else None


def _lines_of(deal: opportunity_pb2.Opportunity) -> tuple[Line, ...]:
    """The deal's lines, or its typed amount as one line."""
    if deal.lines:
        return tuple(show_line.read(line, f"lines[{index}]") for index, line in enumerate(deal.lines))
    amount = read_money(deal.amount) if deal.amount.currency_code else None
    if not amount or amount.amount < 0:
        return ()
    return (Line(description=deal.title, quantity=ONE, unit_price=amount),)


@on(inventory_events_pb2.ShipmentDispatched)
async def draft_the_invoice(event: inventory_events_pb2.ShipmentDispatched, tx: Tx) -> None:
    """What has left is to be paid: a draft for exactly those parts of the order, at the order's prices."""
    shipment, order = event.shipment, event.order
    if shipment.paid:
        return  # free goods
    id = derived_id(shipment.name, "invoice")
    known = await tx.all(Invoice, deleted=True, id=id)
    if known and not may_return(tx, known[0]):
        return
    empty = Invoice(
        id=id,
        customer=order.customer,
        contract=order.contract,
        order=order.name,
        shipment=shipment.name,
        currency=order.currency,
        tax_mode=TaxMode(types_pb2.TaxMode.Name(order.tax_mode or types_pb2.EXCLUSIVE)),
        rounding_mode=RoundingMode(types_pb2.RoundingMode.Name(order.rounding_mode or types_pb2.HALF_UP)),
        precision=order.precision,
        discount_percent=Percent(parse_scaled(order.discount_percent.value or "0")),
        owner=order.owner,
        team=order.team,
        collaborators=tuple(order.collaborators),
    )
    shipped = tuple(
        Shipped(
            line=_order_line(order.lines[each.order_line - 1]),
            quantity=Quantity(parse_scaled(each.quantity.value)),
            before=Quantity(parse_scaled(each.shipped_before.value or "0")),
        )
        for each in shipment.lines
    )
    asked = invoice_of_parts(empty, shipped)
    made = bring_back(tx, known[0], asked) if known else tx.add(asked)
    kind = events_pb2.InvoiceUndeleted if known else events_pb2.InvoiceCreated
    tx.emit(kind(invoice=show_invoice(made)))
    await progress(tx, order.contract, shipped=made.total)


@on(inventory_events_pb2.ShipmentFailed)
async def take_the_invoice_back(event: inventory_events_pb2.ShipmentFailed, tx: Tx) -> None:
    """What came back is not to be paid: its draft is put away, its booked invoice credited."""
    if not event.returned:
        return  # it never left
    exposure = await exposure_of(tx, event.order.customer, lock=True)
    drafted = await tx.all(Invoice, deleted=True, id=derived_id(event.shipment.name, "invoice"))
    if not drafted or may_return(tx, drafted[0]):
        return
    for invoice in await tx.all(Invoice, shipment=event.shipment.name, order="id", lock=True, scoped=False):
        if invoice.state == InvoiceState.DRAFT:
            tx.emit(events_pb2.InvoiceDeleted(invoice=show_invoice(put_away(tx, invoice))))
        elif invoice.state != InvoiceState.VOID:
            id = derived_id(tx.name(invoice), "credit note")
            await reverse(tx, exposure, invoice, "the shipment failed", id)
    if drafted[0].post_time:
        await hold_again(tx, event.order.name, event.order.customer, drafted[0].total)
    await progress(tx, drafted[0].contract, shipped=-drafted[0].total)


def _order_line(line: order_pb2.OrderLine) -> Line:
    priced = types_pb2.PriceLine(
        product=line.product,
        description=line.description,
        quantity=line.quantity,
        unit_price=line.unit_price,
        discount_percent=line.discount_percent,
        tax_percent=line.tax_percent,
        net=line.net,
        tax=line.tax,
    )
    return show_line.read(priced)


@on(inventory_events_pb2.OrderCancelled)
async def let_go_of_the_credit(event: inventory_events_pb2.OrderCancelled, tx: Tx) -> None:
    """A cancelled order holds nothing."""
    if await tx.find(CreditHold, id=id_of(event.order.name)):
        await release(tx, event.order.name, event.order.customer)


@on(access_events_pb2.UserDisabled)
async def end_shares_of_a_user(event: access_events_pb2.UserDisabled, tx: Tx) -> None:
    await end_shares(tx, event.user.name)


@on(access_events_pb2.TeamDeleted)
async def end_shares_of_a_team(event: access_events_pb2.TeamDeleted, tx: Tx) -> None:
    await end_shares(tx, event.team.name)


@on(
    customer_events_pb2.CustomerCreated,
    customer_events_pb2.CustomerUpdated,
    customer_events_pb2.CustomerPlaced,
)
async def follow_the_territory(event: Any, tx: Tx) -> None:
    """What names a customer lies in the customer's territory."""
    know_territory(tx, ContractStore.customer_territories, event.customer)
