"""Shipments: never more than was ordered, and what leaves was promised first."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.type import date_pb2
from tradewind.contract.v1 import events_pb2 as contract_events_pb2
from tradewind.contract.v1 import invoice_pb2
from tradewind.inventory.v1 import events_pb2, reservation_pb2

from chassis.call import Call, new_id
from chassis.kernel.refusals import Refused
from chassis.resync import Loss
from services.contract.reactions import take_the_invoice_back
from services.contract.repairs import bill_what_is_on_its_way
from services.inventory.domain.shipment import LIFECYCLE, ShipmentLine, State, pick
from services.inventory.domain.shipment import Shipment as Record
from tests.inventory.conftest import Order, Shipment, Shop, day, quantity
from tests.inventory.test_order import ALL, AT, CONFIRMED, LINE
from tests.inventory.test_stock import laws_hold
from tests.lifecycles import follows
from tests.messages import decimal, money
from tests.platform import Running, refused, settle

PICKING = Record(id="1", order="orders/1", lines=(ShipmentLine(order_line=1, quantity=quantity(4)),))
VERBS = {
    "dispatch": lambda shipment: shipment.dispatch(CONFIRMED, on=AT.date()),
    "deliver": lambda shipment: shipment.deliver(on=AT.date()),
    "fail": lambda shipment: shipment.fail(reason="lost"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", State)
def test_each_verb_is_refused_outside_its_states(verb: str, state: State) -> None:
    shipment = replace(PICKING, state=state)
    follows(LIFECYCLE, verb, state, lambda: VERBS[verb](shipment))


def test_what_is_picked_counts_as_gone() -> None:
    assert pick(CONFIRMED, (), [PICKING])[0].quantity == quantity(6)
    with pytest.raises(Refused) as no:
        pick(CONFIRMED, [ShipmentLine(order_line=1, quantity=quantity(7))], [PICKING])
    assert no.value.facts == {"line": "1", "left": "6", "asked": "7"}
    with pytest.raises(Refused, match="NOTHING_TO_SHIP"):
        pick(CONFIRMED.ship(ALL, ALL, on=AT.date()), (), [])


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ([(2, 1)], "lines[0].order_line"),
        ([(1, 0)], "lines[0].quantity"),
        ([(1, 1), (1, 1)], "lines"),
    ],
)
def test_lines_that_make_no_sense_are_refused(asked: list[tuple[int, int]], field: str) -> None:
    with pytest.raises(Refused) as no:
        pick(CONFIRMED, [ShipmentLine(order_line=at, quantity=quantity(q)) for at, q in asked], [])
    assert no.value.facts["field"] == field


def test_the_days_follow_each_other() -> None:
    sent = PICKING.dispatch(CONFIRMED, on=AT.date())
    with pytest.raises(Refused, match="delivery_date"):
        sent.deliver(on=AT.date() - timedelta(days=1))
    ordered = replace(CONFIRMED, order_date=AT.date())
    with pytest.raises(Refused, match="dispatch_date"):
        PICKING.dispatch(ordered, on=AT.date() - timedelta(days=1))


def test_services_are_shipped_without_stock() -> None:
    visit = replace(LINE, stocked=False)
    assert visit.short == quantity(0)


@pytest.mark.req("ORD-07")
async def test_an_order_goes_from_the_shelf_to_the_customer(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=10)
    order = await shop.confirmed((pump, 6))
    shipment = await shop.shipment(order)
    assert (shipment.state, shipment.lines[0].quantity.value) == (Shipment.PICKING, "6")
    sent = await shop.DispatchShipment(name=shipment.name, carrier="SF Express", tracking_number="SF123")
    assert (sent.state, sent.carrier, sent.tracking_number) == (Shipment.DISPATCHED, "SF Express", "SF123")
    assert sent.dispatch_date == day(datetime.now(UTC).date())
    assert await shop.balance(pump) == ("4", "0", "4")
    moved = (await shop.ListMovements(filter=f'shipment = "{shipment.name}"')).movements
    assert [(m.source, m.destination, m.quantity.value) for m in moved] == [
        (order.warehouse, "CUSTOMER", "6")
    ]
    assert (await shop.GetOrder(name=order.name)).state == Order.SHIPPED

    await shop.DeliverShipment(name=shipment.name)
    done = await shop.GetOrder(name=order.name)
    assert (done.state, done.lines[0].delivered.value) == (Order.DELIVERED, "6")
    await refused(shop.DispatchShipment(name=shipment.name), "STATE_FORBIDS")
    await laws_hold(inventory)


async def test_an_order_is_shipped_in_parts(shop: Shop, inventory: Running) -> None:
    pump, visit = await shop.product(stock=10), await shop.product(kind="SERVICE")
    order = await shop.confirmed((pump, 10), (visit, 1))
    first = await shop.DispatchShipment(name=(await shop.shipment(order, (1, 4))).name)
    assert first.lines[0].shipped_before.value == "0"
    half = await shop.GetOrder(name=order.name)
    assert (half.state, half.lines[0].shipped.value, half.lines[0].reserved.value) == (
        Order.PARTLY_SHIPPED, "4", "6",
    )  # fmt: skip
    promises = (
        await shop.ListReservations(filter=f'order = "{order.name}"', order_by="quantity")
    ).reservations
    assert [(p.quantity.value, p.state) for p in promises] == [
        ("4", reservation_pb2.Reservation.COMMITTED), ("6", reservation_pb2.Reservation.HELD),
    ]  # fmt: skip
    await refused(shop.CancelOrder(name=order.name, reason="no"), "STATE_FORBIDS")
    rest = await shop.DispatchShipment(name=(await shop.shipment(order)).name)
    assert [(line.order_line, line.quantity.value, line.shipped_before.value) for line in rest.lines] == [
        (1, "6", "4"), (2, "1", "0"),
    ]  # fmt: skip
    assert (await shop.GetOrder(name=order.name)).state == Order.SHIPPED
    await refused(shop.shipment(order), "STATE_FORBIDS")
    await laws_hold(inventory)


async def test_many_pickers_never_ship_more_than_was_ordered(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=50)
    order = await shop.confirmed((pump, 10))

    async def pick_three() -> str:
        try:
            return (await shop.shipment(order, (1, 3))).name
        except grpc.aio.AioRpcError as no:
            assert no.code() == grpc.StatusCode.FAILED_PRECONDITION, no.details()
            return ""

    picked = [name for name in await asyncio.gather(*(pick_three() for _ in range(8))) if name]
    assert len(picked) == 3
    await asyncio.gather(*(shop.DispatchShipment(name=name) for name in picked))
    assert (await shop.GetOrder(name=order.name)).lines[0].shipped.value == "9"
    assert await shop.balance(pump) == ("41", "1", "40")
    await laws_hold(inventory)


async def test_what_was_not_promised_must_be_there_when_it_leaves(shop: Shop) -> None:
    pump = await shop.product(stock=2)
    order = await shop.confirmed((pump, 5), allow_backorder=True)
    shipment = await shop.shipment(order)
    facts = await refused(shop.DispatchShipment(name=shipment.name), "STOCK_SHORT")
    assert facts == {"sku": pump.sku, "asked": "3", "available": "0"}
    assert await shop.balance(pump) == ("2", "2", "0")
    await shop.ReceiveStock(product=pump.name, quantity=decimal(3))
    await shop.DispatchShipment(name=shipment.name)
    assert await shop.balance(pump) == ("0", "0", "0")


async def test_a_held_order_is_not_shipped_until_it_goes_on(shop: Shop) -> None:
    pump = await shop.product(stock=5)
    order = await shop.confirmed((pump, 5))
    shipment = await shop.shipment(order)
    held = await shop.HoldOrder(name=order.name, reason="address unclear")
    assert (held.state, held.hold_reason) == (Order.ON_HOLD, "address unclear")
    facts = await refused(shop.DispatchShipment(name=shipment.name), "STATE_FORBIDS")
    assert facts["state"] == "ON_HOLD"
    assert (await shop.ResumeOrder(name=order.name)).state == Order.CONFIRMED
    await shop.DispatchShipment(name=shipment.name)


async def test_a_cancelled_order_takes_its_picked_goods_back(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=5)
    order = await shop.confirmed((pump, 5))
    shipment = await shop.shipment(order)
    await shop.CancelOrder(name=order.name, reason="no longer wanted")
    assert (await shop.GetShipment(name=shipment.name)).state == Shipment.FAILED
    assert await shop.balance(pump) == ("5", "0", "5")
    await laws_hold(inventory)


async def test_a_failed_shipment_brings_its_goods_back_to_the_order(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=5)
    order = await shop.confirmed((pump, 5))
    shipment = await shop.shipment(order)
    await shop.DispatchShipment(name=shipment.name)
    failed = await shop.FailShipment(name=shipment.name, reason="nobody there")
    assert (failed.state, failed.failure) == (Shipment.FAILED, "nobody there")
    back = await shop.GetOrder(name=order.name)
    assert (back.state, back.lines[0].shipped.value, back.lines[0].reserved.value) == (
        Order.CONFIRMED,
        "0",
        "5",
    )
    assert await shop.balance(pump) == ("5", "5", "0")
    again = await shop.shipment(order)
    await shop.DispatchShipment(name=again.name)
    await laws_hold(inventory)


async def test_a_failed_shipment_is_not_billed_and_goes_out_again(
    shop: Shop, inventory: Running, contract: Running
) -> None:
    finance = contract.as_("finance", tenant=shop.caller.tenant)
    pump = await shop.product(price="100", stock=5)
    order = await shop.confirmed((pump, 5))
    for _ in range(2):
        shipment = await shop.shipment(order)
        await shop.DispatchShipment(name=shipment.name)
        await settle(inventory, contract)
        (draft,) = (await finance.ListInvoices(filter=f'order = "{order.name}" AND state != VOID')).invoices
        posted = await finance.PostInvoice(name=draft.name)
        await shop.FailShipment(name=shipment.name, reason="refused at the door")
        await settle(inventory, contract)
        assert (await finance.GetInvoice(name=posted.name)).state == invoice_pb2.Invoice.VOID
    credit = await finance.GetCreditExposure(name=shop.customer.replace("customers/", "creditExposures/"))
    assert (credit.held.units, credit.receivable.units) == (500, 0)
    await shop.CancelOrder(name=order.name, reason="no longer wanted")
    await settle(inventory, contract)
    credit = await finance.GetCreditExposure(name=shop.customer.replace("customers/", "creditExposures/"))
    assert (credit.held.units, credit.receivable.units) == (0, 0)


async def test_goods_that_are_on_their_way_after_a_restoration_are_billed(
    shop: Shop, inventory: Running, contract: Running
) -> None:
    finance = contract.as_("finance", tenant=shop.caller.tenant)
    order = await shop.confirmed((await shop.product(price="100", stock=5), 5))
    shipment = await shop.shipment(order)
    await shop.DispatchShipment(name=shipment.name)
    await settle(inventory, contract)
    lost = events_pb2.ShipmentFailed(returned=True)
    lost.shipment.CopyFrom(await shop.GetShipment(name=shipment.name))
    lost.order.CopyFrom(await shop.GetOrder(name=order.name))
    lost.shipment.etag = "9"
    async with contract.store.begin(_service(shop, contract)) as tx:
        await take_the_invoice_back(lost, tx)
    assert not (await finance.ListInvoices(filter=f'order = "{order.name}"')).invoices

    call = _service(shop, contract)
    await bill_what_is_on_its_way(
        Loss("inventory", new_id(), datetime.now(UTC) - timedelta(hours=1), contract.store, call)
    )
    (back,) = (await finance.ListInvoices(filter=f'order = "{order.name}"')).invoices
    assert back.state == invoice_pb2.Invoice.DRAFT


def _service(shop: Shop, contract: Running) -> Call:
    """The contract service, on its own behalf."""
    return Call(tenant=shop.caller.tenant, user="services/contract", clients=contract.runtime.clients)


async def test_carrier_and_tracking_number_may_be_said_later(shop: Shop) -> None:
    pump = await shop.product(stock=5)
    shipment = await shop.shipment(await shop.confirmed((pump, 5)))
    changed = await shop.UpdateShipment(
        shipment=Shipment(name=shipment.name, tracking_number="ZT-9"),
        update_mask=FieldMask(paths=["tracking_number"]),
    )
    assert changed.tracking_number == "ZT-9"
    mask = FieldMask(paths=["lines"])
    await refused(shop.UpdateShipment(shipment=changed, update_mask=mask), "FIELD_NOT_WRITABLE")


async def test_history_is_shipped_without_touching_what_is_on_hand(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=7)
    order = await shop.historic(
        (pump, 50), order_date=day(date(1996, 7, 4)), required_date=day(date(1996, 7, 9))
    )
    shipment = await shop.shipment(order)
    await shop.DispatchShipment(name=shipment.name, historic=True, dispatch_date=day(date(1996, 7, 16)))
    shipped = await shop.GetOrder(name=order.name)
    assert (shipped.state, shipped.shipped_date, shipped.late) == (
        Order.SHIPPED,
        day(date(1996, 7, 16)),
        True,
    )
    assert await shop.balance(pump) == ("7", "0", "7")
    moved = (await shop.ListMovements(filter=f'shipment = "{shipment.name}"')).movements
    assert [(m.source, m.destination, m.quantity.value) for m in moved] == [("ADJUSTMENT", "CUSTOMER", "50")]
    await laws_hold(inventory)


async def test_the_last_day_counts_in_whatever_order_shipments_are_told_of(
    shop: Shop, inventory: Running
) -> None:
    pump, today = await shop.product(stock=10), datetime.now(UTC).date()

    def ago(days: int) -> date_pb2.Date:
        return day(today - timedelta(days=days))

    order = await shop.confirmed((pump, 10), order_date=ago(20), required_date=ago(6))
    failed, late = await shop.shipment(order, (1, 2)), await shop.shipment(order, (1, 3))
    early = await shop.shipment(order, (1, 5))
    for shipment, left in ((failed, 1), (late, 3), (early, 10)):
        await shop.DispatchShipment(name=shipment.name, dispatch_date=ago(left))
    whole = await shop.GetOrder(name=order.name)
    assert (whole.state, whole.shipped_date, whole.late) == (Order.SHIPPED, ago(1), True)
    await shop.FailShipment(name=failed.name, reason="nobody there")
    again = await shop.shipment(order)
    await shop.DispatchShipment(name=again.name, dispatch_date=ago(8))
    whole = await shop.GetOrder(name=order.name)
    assert (whole.state, whole.shipped_date, whole.late) == (Order.SHIPPED, ago(3), True)
    for shipment, came in ((late, 2), (early, 9), (again, 7)):
        await shop.DeliverShipment(name=shipment.name, delivery_date=ago(came))
    arrived = await shop.GetOrder(name=order.name)
    assert (arrived.state, arrived.delivered_date, arrived.late) == (Order.DELIVERED, ago(2), True)
    await laws_hold(inventory)


async def test_only_history_is_shipped_as_history(shop: Shop) -> None:
    pump = await shop.product(stock=7)
    shipment = await shop.shipment(await shop.confirmed((pump, 5)))
    await refused(shop.DispatchShipment(name=shipment.name, historic=True), "ORDER_NOT_HISTORIC")


async def test_a_paid_order_is_settled_once_it_is_delivered(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=10)
    order = await shop.confirmed((pump, 10))
    first = await shop.shipment(order, (1, 4))
    await shop.DispatchShipment(name=first.name)
    second = await shop.shipment(order)
    await pay(shop, inventory, order, first)
    await shop.DispatchShipment(name=second.name)
    assert not (await shop.GetOrder(name=order.name)).paid
    await shop.DeliverShipment(name=first.name)
    await pay(shop, inventory, order, second)
    assert (await shop.GetOrder(name=order.name)).paid
    await shop.DeliverShipment(name=second.name)
    assert (await shop.GetOrder(name=order.name)).state == Order.SETTLED


async def test_an_order_whose_invoice_is_taken_back_is_open_until_it_is_paid_again(
    shop: Shop, inventory: Running
) -> None:
    pump = await shop.product(stock=10)
    order = await shop.confirmed((pump, 10))
    shipment = await shop.shipment(order)
    await shop.DispatchShipment(name=shipment.name)
    await pay(shop, inventory, order, shipment)
    await take_back(shop, inventory, order, shipment)
    assert not (await shop.GetShipment(name=shipment.name)).paid
    await shop.DeliverShipment(name=shipment.name)
    assert (await shop.GetOrder(name=order.name)).state == Order.DELIVERED
    await pay(shop, inventory, order, shipment)
    assert (await shop.GetOrder(name=order.name)).state == Order.SETTLED
    await take_back(shop, inventory, order, shipment)
    opened = await shop.GetOrder(name=order.name)
    assert (opened.state, opened.paid) == (Order.DELIVERED, False)
    await take_back(shop, inventory, order, shipment)  # told again
    assert (await shop.GetOrder(name=order.name)).etag == opened.etag


async def test_an_order_is_not_paid_by_a_shipment_that_failed(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=10)
    order = await shop.confirmed((pump, 10))
    first = await shop.shipment(order)
    await shop.DispatchShipment(name=first.name)
    await pay(shop, inventory, order, first)
    await shop.FailShipment(name=first.name, reason="refused at the door")
    assert not (await shop.GetShipment(name=first.name)).paid
    second = await shop.shipment(order)
    await shop.DispatchShipment(name=second.name)
    await take_back(shop, inventory, order, first)
    await shop.DeliverShipment(name=second.name)
    done = await shop.GetOrder(name=order.name)
    assert (done.state, done.paid) == (Order.DELIVERED, False)


async def test_free_goods_are_not_billed_and_settle_their_order(
    shop: Shop, inventory: Running, contract: Running
) -> None:
    finance = contract.as_("finance", tenant=shop.caller.tenant)
    gift, pump = await shop.product(price="0", stock=5), await shop.product(stock=5)
    free = await shop.confirmed((gift, 1))
    shipment = await shop.DispatchShipment(name=(await shop.shipment(free)).name)
    assert shipment.paid
    await shop.DeliverShipment(name=shipment.name)
    assert (await shop.GetOrder(name=free.name)).state == Order.SETTLED

    mixed = await shop.confirmed((pump, 1), (gift, 1))
    first = await shop.DispatchShipment(name=(await shop.shipment(mixed, (1, 1))).name)
    second = await shop.DispatchShipment(name=(await shop.shipment(mixed)).name)
    assert ((await shop.GetOrder(name=mixed.name)).paid, first.paid, second.paid) == (False, False, True)
    await settle(inventory, contract)
    invoices = (await finance.ListInvoices()).invoices
    assert [each.shipment for each in invoices] == [first.name]
    await pay(shop, inventory, mixed, first)
    assert (await shop.GetOrder(name=mixed.name)).paid

    last = await shop.confirmed((pump, 1), (gift, 1))
    first = await shop.DispatchShipment(name=(await shop.shipment(last, (1, 1))).name)
    await pay(shop, inventory, last, first)
    gone = await shop.DispatchShipment(name=(await shop.shipment(last)).name)
    assert (await shop.GetOrder(name=last.name)).paid
    await shop.FailShipment(name=gone.name, reason="lost")
    assert not (await shop.GetOrder(name=last.name)).paid
    await laws_hold(inventory)


async def test_an_order_is_settled_by_the_invoice_that_was_put_right(
    shop: Shop, inventory: Running, contract: Running
) -> None:
    finance = contract.as_("finance", tenant=shop.caller.tenant)
    order = await shop.confirmed((await shop.product(price="100", stock=5), 5))
    credit = shop.customer.replace("customers/", "creditExposures/")
    for amount in (2, 3):
        await shop.DispatchShipment(name=(await shop.shipment(order, (1, amount))).name)
    await settle(inventory, contract)
    drafts = (await finance.ListInvoices(filter=f'order = "{order.name}"')).invoices
    first, second = sorted(drafts, key=lambda draft: draft.totals.total.units)
    await finance.PostInvoice(name=first.name)
    await finance.CreditInvoice(name=first.name, reason="no discount", reissue=True)
    (again,) = (
        await finance.ListInvoices(filter=f'shipment = "{first.shipment}" AND state = DRAFT')
    ).invoices
    assert (again.order, again.lines, again.number) == (order.name, first.lines, "")
    again.lines[0].unit_price.CopyFrom(money("90"))
    again = await finance.UpdateInvoice(invoice=again, update_mask=FieldMask(paths=["lines"]))
    assert again.totals.net.units == 180
    await finance.PostInvoice(name=again.name)
    used = await finance.GetCreditExposure(name=credit)
    assert (used.held.units, used.receivable) == (300, again.totals.total)
    await finance.PostInvoice(name=second.name)
    for invoice in (again, second):
        await finance.CreatePayment(
            payment={"customer": shop.customer, "amount": invoice.totals.total,
                     "allocations": [{"invoice": invoice.name}]}
        )  # fmt: skip
    for shipment in (await shop.ListShipments(filter=f'order = "{order.name}"')).shipments:
        await shop.DeliverShipment(name=shipment.name)
    await settle(inventory, contract)
    assert (await shop.GetOrder(name=order.name)).state == Order.SETTLED


async def take_back(shop: Shop, inventory: Running, order: Order, shipment: Shipment) -> None:
    """The invoice of a shipment was credited."""
    invoice = invoice_pb2.Invoice(name="invoices/1", etag="3", order=order.name, shipment=shipment.name)
    event = contract_events_pb2.InvoiceCredited(invoice=invoice)
    await inventory.deliver(event, tenant=shop.caller.tenant)


async def test_a_delivered_order_is_settled_once_it_is_paid(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=10)
    order = await shop.confirmed((pump, 10))
    shipment = await shop.shipment(order)
    await shop.DispatchShipment(name=shipment.name)
    await shop.DeliverShipment(name=shipment.name)
    await pay(shop, inventory, order, shipment)
    await pay(shop, inventory, order, shipment)  # told twice, settled once
    assert (await shop.GetOrder(name=order.name)).state == Order.SETTLED


async def pay(shop: Shop, inventory: Running, order: Order, shipment: Shipment) -> None:
    """The invoice of a shipment was paid, says the contract service."""
    await settle(inventory)
    invoice = invoice_pb2.Invoice(
        name=f"invoices/{shipment.name.rpartition('/')[2]}", order=order.name, shipment=shipment.name
    )
    await inventory.deliver(contract_events_pb2.InvoicePaid(invoice=invoice), tenant=shop.caller.tenant)
