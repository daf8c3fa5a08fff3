"""What follows here from what happened elsewhere."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from tradewind.access.v1 import events_pb2 as access_events_pb2
from tradewind.contract.v1 import events_pb2 as contract_events_pb2
from tradewind.contract.v1 import invoice_pb2
from tradewind.customer.v1 import events_pb2 as customer_events_pb2
from tradewind.inventory.v1 import events_pb2
from tradewind.type.v1 import types_pb2

from chassis.events import on
from chassis.kernel import pricing
from chassis.kernel.pricing import RoundingMode, TaxMode
from chassis.kernel.values import Percent
from chassis.resync import bring_back, may_return
from chassis.shapes import Shape, read_decimal, read_money
from chassis.shares import end_shares
from chassis.store import Tx, derived_id
from chassis.territories import know_territory
from services.inventory.domain.order import Order, State
from services.inventory.domain.order_line import OrderLine
from services.inventory.domain.shipment import Shipment
from services.inventory.domain.shipment import State as ShipmentState
from services.inventory.store import (
    InventoryStore,
    describe,
    number,
    products_of,
    shipments_of,
    show_order,
    show_shipment,
)

read_line = Shape(pricing.Line, types_pb2.PriceLine).read


@on(contract_events_pb2.ContractSigned)
async def draft_order(event: contract_events_pb2.ContractSigned, tx: Tx) -> None:
    """A signed contract that names products gets a draft order of all its lines, named after it.

    A line whose product is not in the catalogue stands as it was typed: the totals stay the contract's.
    """
    contract = event.contract
    before = await tx.all(Order, deleted=True, id=derived_id(contract.name, "order"), scoped=False)
    if before and not may_return(tx, before[0]):
        return  # signed again after a restoration
    lines = [read_line(line) for line in contract.lines]
    known = await products_of(tx, (line.product for line in lines))
    if not known:
        return
    signed = contract.sign_time.ToDatetime(tzinfo=UTC).date() if contract.HasField("sign_time") else None
    drafted = Order(
        id=derived_id(contract.name, "order"),
        number=before[0].number if before else await number(tx, "SO"),
        customer=contract.customer,
        contract=contract.name,
        quote=contract.quote,
        opportunity=contract.opportunity,
        currency=contract.currency,
        lines=tuple(
            OrderLine(
                product=line.product if line.product in known else "",
                description=line.description or ("" if line.product in known else line.product),
                quantity=line.quantity,
                unit_price=line.unit_price,
                discount_percent=line.discount_percent,
                tax_percent=line.tax_percent,
            )
            for line in lines
        ),
        discount_percent=Percent(read_decimal(contract.discount_percent, "discount_percent")),
        tax_mode=_mode(TaxMode, types_pb2.TaxMode, contract.tax_mode),
        rounding_mode=_mode(RoundingMode, types_pb2.RoundingMode, contract.rounding_mode),
        precision=contract.precision,
        order_date=signed,
        owner=contract.owner,
        team=contract.team,
        collaborators=tuple(contract.collaborators),
    )
    described = await describe(tx, drafted)
    made = bring_back(tx, before[0], described) if before else tx.add(described)
    kind = events_pb2.OrderUndeleted if before else events_pb2.OrderCreated
    tx.emit(kind(order=show_order(made)))


@on(contract_events_pb2.InvoicePaid)
async def settle_order(event: contract_events_pb2.InvoicePaid, tx: Tx) -> None:
    """A paid invoice pays its shipment, the last of them the order, which is settled once delivered."""
    invoice = event.invoice
    found = await tx.all(Order, id=invoice.order.removeprefix("orders/"), lock=True)
    if not found or found[0].paid:
        return
    order = found[0]
    if invoice.shipment:
        shipments = await tx.all(Shipment, id=invoice.shipment.removeprefix("shipments/"), lock=True)
        if not shipments:
            return  # lost by a restoration: whoever ships it again is paid already
        if not shipments[0].paid:
            paid_one = tx.save(shipments[0].pay())
            tx.emit(events_pb2.ShipmentPaid(shipment=show_shipment(paid_one)))
    if not await _paid_in_full(tx, order, invoice):
        return
    paid = tx.save(order.pay())
    tx.emit(events_pb2.OrderPaid(order=show_order(paid)))
    if paid.state == State.DELIVERED:
        tx.emit(events_pb2.OrderSettled(order=show_order(tx.save(paid.settle()))))


@on(contract_events_pb2.InvoiceCredited)
async def open_what_is_to_be_paid(event: contract_events_pb2.InvoiceCredited, tx: Tx) -> None:
    """An invoice that was taken back pays nothing: its shipment and its order are still to be paid."""
    invoice = event.invoice
    found = await tx.all(Order, id=invoice.order.removeprefix("orders/"), lock=True)
    if not found:
        return
    if invoice.shipment:
        shipments = await tx.all(Shipment, id=invoice.shipment.removeprefix("shipments/"), lock=True)
        if not shipments or shipments[0].state == ShipmentState.FAILED:
            return  # the order was told when it failed, and others may have paid for it since
        if shipments[0].paid:
            unpaid = tx.save(shipments[0].unpay())
            tx.emit(events_pb2.ShipmentUpdated(shipment=show_shipment(unpaid)))
    if found[0].paid:
        tx.emit(events_pb2.OrderUpdated(order=show_order(tx.save(found[0].unpay()))))


async def _paid_in_full(tx: Tx, order: Order, invoice: invoice_pb2.Invoice) -> bool:
    """By one invoice of the whole order, or shipment by shipment once all of it has left."""
    if not invoice.shipment:
        return order.totals is not None and read_money(invoice.totals.total) >= order.totals.total
    if any(line.unshipped for line in order.lines):
        return False
    sent = await shipments_of(tx, invoice.order, ShipmentState.DISPATCHED, ShipmentState.DELIVERED)
    return all(shipment.paid for shipment in sent)


def _mode(kind: Any, names: Any, value: int) -> Any:
    """An enum of the contract as the kernel's; unsaid is the kernel's first."""
    return kind(names.Name(value)) if value else next(iter(kind))


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
    know_territory(tx, InventoryStore.customer_territories, event.customer)
