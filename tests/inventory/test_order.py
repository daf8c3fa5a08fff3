"""Orders: priced once, confirmed with stock and credit or not at all, and never shipped beyond."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given
from hypothesis import strategies as st

from chassis.kernel import pricing
from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money, Percent
from services.inventory.domain.order import LIFECYCLE, OVER, Outcome, State
from services.inventory.domain.order import Order as Record
from services.inventory.domain.order_line import OrderLine
from tests.inventory.conftest import Order, Shop, day, decimal, know, money, quantity
from tests.inventory.test_stock import laws_hold
from tests.platform import Running, refused, settle

AT = datetime(2026, 5, 4, tzinfo=UTC)
LINE = OrderLine(product="products/p", sku="TW-1", quantity=quantity(10), unit_price=Money.of(5, "CNY"),
                 tax_percent=Percent.of(13), stocked=True)  # fmt: skip
DRAFT = Record(id="1", number="SO-1", customer="customers/c", currency="CNY", lines=(LINE,)).priced()
ALL = {1: quantity(10)}
CONFIRMED = DRAFT.confirming(ALL, at=AT).accept(at=AT)
VERBS = {
    "confirm": lambda order: order.confirming({}, at=AT),
    "accept": lambda order: order.accept(at=AT),
    "refuse": lambda order: order.refuse(reason="", at=AT),
    "record": lambda order: order.record(at=AT),
    "cancel": lambda order: order.cancel(reason=""),
    "hold": lambda order: order.hold(reason=""),
    "resume": lambda order: order.resume(),
    "ship": lambda order: order.ship({}, {}, on=AT.date()),
    "settle": lambda order: order.settle(),
}
LINES = st.builds(
    OrderLine,
    quantity=st.integers(1, 999).map(quantity),
    unit_price=st.integers(0, 10**8).map(lambda amount: Money(amount, "CNY")),
    discount_percent=st.integers(0, 10**6).map(Percent),
    tax_percent=st.sampled_from([Percent.of(0), Percent.of(6), Percent.of(13)]),
)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", State)
def test_each_verb_is_refused_outside_its_states(verb: str, state: State) -> None:
    order = replace(CONFIRMED, state=state)
    if state in LIFECYCLE.steps[verb][0]:
        VERBS[verb](order)
        return
    with pytest.raises(Refused) as no:
        VERBS[verb](order)
    assert (no.value.reason, no.value.facts["state"]) == ("STATE_FORBIDS", state)


@given(st.lists(LINES, min_size=1, max_size=8), st.integers(0, 10**6), st.sampled_from(pricing.TaxMode))
def test_an_order_comes_to_what_a_quote_of_the_same_lines_comes_to(
    lines: list[OrderLine], discount: int, mode: pricing.TaxMode
) -> None:
    order = replace(DRAFT, lines=tuple(lines), discount_percent=Percent(discount), tax_mode=mode).priced()
    quoted = [
        pricing.Line(
            quantity=each.quantity,
            unit_price=each.unit_price,
            discount_percent=each.discount_percent,
            tax_percent=each.tax_percent,
        )
        for each in lines
    ]
    quote = pricing.price(quoted, currency="CNY", document_discount=Percent(discount), tax_mode=mode)
    assert order.totals == quote.totals
    assert sum(line.net.amount for line in order.lines) == quote.net.amount


def test_a_refused_credit_leaves_a_draft_that_says_why_and_holds_nothing() -> None:
    order = DRAFT.confirming(ALL, at=AT).refuse(reason="CREDIT_LIMIT_EXCEEDED", at=AT)
    assert (order.state, order.lines[0].reserved) == (State.DRAFT, quantity(0))
    assert [(step.title, step.outcome) for step in order.confirmation] == [
        ("reserve stock", Outcome.UNDONE), ("hold credit", Outcome.REFUSED),
    ]  # fmt: skip


def test_a_held_order_goes_on_where_it_was() -> None:
    half = CONFIRMED.ship({1: quantity(4)}, {1: quantity(4)}, on=AT.date())
    assert half.hold(reason="address").resume() == half


@pytest.mark.req("ORD-10")
@pytest.mark.parametrize(("shipped", "late"), [(date(2026, 5, 10), False), (date(2026, 5, 11), True)])
def test_an_order_is_late_when_the_last_of_it_left_after_its_day(shipped: date, late: bool) -> None:
    order = replace(CONFIRMED, required_date=date(2026, 5, 10))
    half = order.ship({1: quantity(4)}, {}, on=date(2026, 5, 4))
    assert (half.shipped_date, half.late) == (None, False)
    whole = half.ship({1: quantity(6)}, {}, on=shipped)
    assert (whole.state, whole.shipped_date, whole.late) == (State.SHIPPED, shipped, late)


@pytest.mark.parametrize("state", set(State) - {State.DRAFT})
def test_what_was_promised_does_not_change(state: State) -> None:
    before = replace(CONFIRMED, state=state)
    with pytest.raises(Refused, match="STATE_FORBIDS"):
        replace(before, lines=()).may_follow(before)
    if state not in OVER:
        replace(before, note="call first", promise_date=date(2026, 6, 1)).may_follow(before)


@pytest.mark.req("ORD-01")
async def test_an_order_needs_only_products_and_quantities(shop: Shop) -> None:
    pump = await shop.product(price="99.95", tax_percent=decimal(13), category="Pumps")
    order = await shop.order((pump, 3))
    line = order.lines[0]
    assert (line.description, line.sku, line.category) == ("Pump", pump.sku, "Pumps")
    assert (line.net, line.tax, order.totals.total) == (money("299.85"), money("38.98"), money("338.83"))
    assert order.number.startswith(f"SO-{datetime.now(UTC).year}-") and order.warehouse
    assert order.owner == shop.caller.user


@pytest.mark.req("ORD-02")
async def test_a_line_may_say_its_own_price_discount_and_text(shop: Shop) -> None:
    pump = await shop.product(price="100")
    made = Order(customer="customers/c", currency="CNY", discount_percent=decimal(10))
    made.lines.add(product=pump.name, description="Pump, painted red", quantity=decimal(2),
                   unit_price=money("120"), discount_percent=decimal(50))  # fmt: skip
    made.lines.add(description="Assembly on site", quantity=decimal("1.5"), unit_price=money("200"))
    order = await shop.CreateOrder(order=made)
    assert [(line.description, line.net) for line in order.lines] == [
        ("Pump, painted red", money("108")), ("Assembly on site", money("270")),
    ]  # fmt: skip


async def test_a_line_of_nothing_known_is_refused_by_name(shop: Shop) -> None:
    made = Order(customer="customers/c", currency="CNY")
    made.lines.add(product="products/none", quantity=decimal(1))
    facts = await refused(shop.CreateOrder(order=made), "REFERENCE_UNKNOWN")
    assert facts == {"field": "lines[0].product", "name": "products/none"}
    pump = await shop.product(price="1")
    euro = Order(customer="customers/c", currency="EUR")
    euro.lines.add(product=pump.name, quantity=decimal(1))
    assert await refused(shop.CreateOrder(order=euro), "PRICE_UNKNOWN") == {
        "sku": pump.sku,
        "currency": "EUR",
    }
    del euro.lines[:]
    euro.lines.add(quantity=decimal(1))
    assert (await refused(shop.CreateOrder(order=euro), "FIELD_INVALID"))["field"] == "lines[0].unit_price"


async def test_confirming_reserves_every_line_or_nothing(shop: Shop, inventory: Running) -> None:
    plenty, scarce = await shop.product(stock=10), await shop.product(stock=1)
    order = await shop.order((plenty, 4), (scarce, 2))
    facts = await refused(shop.ConfirmOrder(name=order.name), "STOCK_SHORT")
    assert facts == {"sku": scarce.sku, "asked": "2", "available": "1"}
    assert await shop.balance(plenty) == ("10", "0", "10")
    assert (await shop.GetOrder(name=order.name)).state == Order.DRAFT

    await shop.ReceiveStock(product=scarce.name, quantity=decimal(5))
    confirming = await shop.ConfirmOrder(name=order.name)
    assert (confirming.state, confirming.lines[1].reserved.value) == (Order.CONFIRMING, "2")
    assert await shop.balance(plenty) == ("10", "4", "6")
    held = (await shop.ListReservations(filter=f'order = "{order.name}" AND state = HELD')).reservations
    assert sorted(each.order_line for each in held) == [1, 2]
    await laws_hold(inventory)


async def test_a_dry_confirmation_promises_nothing(shop: Shop) -> None:
    pump = await shop.product(stock=5)
    order = await shop.order((pump, 5))
    would = await shop.ConfirmOrder(name=order.name, validate_only=True)
    assert (would.state, would.lines[0].reserved.value) == (Order.CONFIRMING, "5")
    assert await shop.balance(pump) == ("5", "0", "5")
    assert (await shop.GetOrder(name=order.name)).etag == order.etag


async def test_an_order_without_lines_promises_nothing(shop: Shop) -> None:
    order = await shop.order()
    assert await refused(shop.ConfirmOrder(name=order.name), "ORDER_EMPTY") == {"order": order.number}


async def test_a_cancelled_order_gives_its_stock_free(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=5)
    order = await shop.order((pump, 5))
    await shop.ConfirmOrder(name=order.name)
    cancelled = await shop.CancelOrder(name=order.name, reason="changed their mind")
    assert (cancelled.state, cancelled.cancel_reason) == (Order.CANCELLED, "changed their mind")
    assert await shop.balance(pump) == ("5", "0", "5")
    await refused(shop.ConfirmOrder(name=order.name), "STATE_FORBIDS")
    await laws_hold(inventory)


@pytest.mark.req("ORD-03")
async def test_confirmed_means_that_stock_and_credit_are_held(shop: Shop, contract: Running) -> None:
    pump = await shop.product(price="100", stock=9)
    order = await shop.confirmed((pump, 9))
    assert [(step.title, step.outcome) for step in order.confirmation] == [
        ("reserve stock", Order.Step.DONE),
        ("hold credit", Order.Step.DONE),
    ]
    assert await held(shop, contract) == money("900")


async def test_refused_credit_frees_the_stock_and_says_why(
    shop: Shop, inventory: Running, contract: Running
) -> None:
    await know(contract, shop, limit="500", version=2)
    pump = await shop.product(price="100", stock=9)
    order = await shop.order((pump, 6))
    await shop.ConfirmOrder(name=order.name)
    await settle(inventory)
    draft = await shop.GetOrder(name=order.name)
    assert draft.state == Order.DRAFT
    assert draft.confirmation[1].reason.startswith("CREDIT_LIMIT_EXCEEDED: ")
    assert await shop.balance(pump) == ("9", "0", "9")
    assert not await held(shop, contract)

    draft.lines[0].quantity.value = "5"
    await shop.UpdateOrder(order=draft, update_mask=FieldMask(paths=["lines"]))
    await shop.ConfirmOrder(name=order.name)
    await settle(inventory)
    assert (await shop.GetOrder(name=order.name)).state == Order.CONFIRMED
    assert await held(shop, contract) == money("500")
    await laws_hold(inventory)


async def test_cancelled_while_the_credit_is_asked_holds_nothing_in_the_end(
    shop: Shop, inventory: Running, contract: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    pump = await shop.product(price="100", stock=5)
    order = await shop.order((pump, 5))

    async def later(tenant: str, saga: str) -> str:
        return "RUNNING"

    with monkeypatch.context() as slow:
        slow.setattr(inventory.runtime.sagas, "advance", later)
        await shop.ConfirmOrder(name=order.name)
        cancelled = await shop.CancelOrder(name=order.name, reason="took too long")
    assert cancelled.state == Order.CANCELLED
    await settle(inventory)
    assert (await shop.GetOrder(name=order.name)).state == Order.CANCELLED
    assert await shop.balance(pump) == ("5", "0", "5")
    assert not await held(shop, contract)


async def held(shop: Shop, contract: Running) -> Any:
    """What the contract service holds for the shop's customer."""
    finance = contract.as_(tenant=shop.caller.tenant, permissions={"creditExposures.read": "all"})
    name = shop.customer.replace("customers", "creditExposures")
    exposure = await finance.GetCreditExposure(name=name)
    return exposure.held if exposure.held.units else None


async def test_a_draft_is_priced_anew_and_a_confirmed_order_is_not_changed(shop: Shop) -> None:
    pump = await shop.product(stock=9)
    order = await shop.order((pump, 1))
    order.lines[0].quantity.value = "2"
    changed = await shop.UpdateOrder(order=order, update_mask=FieldMask(paths=["lines"]))
    assert changed.totals.net == money("200")
    confirmed = await shop.confirmed((pump, 1))
    confirmed.lines[0].quantity.value = "9"
    await refused(shop.UpdateOrder(order=confirmed, update_mask=FieldMask(paths=["lines"])), "STATE_FORBIDS")
    noted = await shop.UpdateOrder(
        order=Order(name=confirmed.name, note="ring twice"), update_mask=FieldMask(paths=["note"])
    )
    assert noted.note == "ring twice"
    await refused(shop.DeleteOrder(name=confirmed.name), "STATE_FORBIDS")


async def test_a_past_order_date_is_for_those_who_may_backdate(shop: Shop, inventory: Running) -> None:
    pump = await shop.product()
    rep = inventory.as_(tenant=shop.caller.tenant, permissions={"orders.write": "own", "orders.read": "own"})
    made = Order(customer="customers/c", currency="CNY", order_date=day(date(1996, 7, 4)))
    made.lines.add(product=pump.name, quantity=decimal(1))
    facts = await refused(rep.CreateOrder(order=made), "PERMISSION_DENIED")
    assert facts == {"permission": "records.backdate"}
    assert (await shop.CreateOrder(order=made)).order_date.year == 1996


async def test_a_rep_sees_only_own_orders(shop: Shop, inventory: Running) -> None:
    mine = dict.fromkeys(("orders.write", "orders.read", "orders.confirm"), "own")
    one, two = (inventory.as_(tenant=shop.caller.tenant, permissions=mine) for _ in range(2))
    order = await one.CreateOrder(order=Order(customer="customers/c", currency="CNY"))
    await refused(two.GetOrder(name=order.name), "NOT_FOUND")
    await refused(two.ConfirmOrder(name=order.name), "NOT_FOUND")
    assert not (await two.ListOrders()).orders
    assert [each.name for each in (await one.ListOrders()).orders] == [order.name]


@pytest.mark.req("ORD-06")
async def test_orders_are_found_by_what_they_are(shop: Shop) -> None:
    pump = await shop.product()
    today = datetime.now(UTC).date()
    first = await shop.order((pump, 1), external_id="A-1", required_date=day(today + timedelta(days=3)))
    await shop.order((pump, 1), external_id="A-2")
    for text in (
        'external_id = "A-1"',
        f'customer = "{shop.customer}" AND external_id != "A-2"',
        f'state = DRAFT AND required_date <= "{today + timedelta(days=3)}"',
    ):
        assert [each.name for each in (await shop.ListOrders(filter=text)).orders] == [first.name], text


@pytest.mark.req("X-29")
async def test_a_back_order_takes_what_there_is_and_then_what_comes(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=3)
    order = await shop.confirmed((pump, 10), allow_backorder=True)
    assert order.lines[0].reserved.value == "3"
    assert await shop.balance(pump) == ("3", "3", "0")
    await shop.ReceiveStock(product=pump.name, quantity=decimal(20))
    await inventory.runtime.jobs.carry_out(inventory.runtime.jobs.jobs["fill_backorders"])
    assert (await shop.GetOrder(name=order.name)).lines[0].reserved.value == "10"
    assert await shop.balance(pump) == ("23", "10", "13")
    await laws_hold(inventory)


async def test_history_is_confirmed_as_of_its_day_reserving_nothing(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=1)
    order = await shop.historic((pump, 50), order_date=day(date(1997, 1, 2)))
    assert (order.state, order.historic) == (Order.CONFIRMED, True)
    assert order.confirm_time.ToDatetime().date() == date(1997, 1, 2)
    assert await shop.balance(pump) == ("1", "0", "1")
    clerk = inventory.as_(tenant=shop.caller.tenant, permissions={"orders.confirm": "all"})
    await refused(clerk.ConfirmOrder(name=order.name, historic=True), "PERMISSION_DENIED")
