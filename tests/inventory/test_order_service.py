"""Orders over real calls: described, confirmed with stock and credit or not at all, found again."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tradewind.contract.v1 import contract_pb2
from tradewind.contract.v1 import events_pb2 as contract_events_pb2
from tradewind.type.v1 import types_pb2

from chassis.call import new_id
from services.inventory import jobs
from tests.chassis.test_answers import Counted
from tests.inventory.conftest import EVERYTHING, Order, Shop, day, know
from tests.inventory.test_stock import laws_hold
from tests.messages import decimal, money
from tests.platform import Running, refused, settle


async def test_an_order_needs_only_products_and_quantities(shop: Shop) -> None:
    pump = await shop.product(price="99.95", tax_percent=decimal(13), category="Pumps")
    order = await shop.order((pump, 3))
    line = order.lines[0]
    assert (line.description, line.sku, line.category) == ("Pump", pump.sku, "Pumps")
    assert (line.net, line.tax, order.totals.total) == (money("299.85"), money("38.98"), money("338.83"))
    assert order.number.startswith(f"SO-{datetime.now(UTC).year}-") and order.warehouse
    assert order.owner == shop.caller.user


async def test_an_order_is_read_for_in_one_round_trip_and_kept_in_another(
    shop: Shop, inventory: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    pump = await shop.product()
    order = Order(customer=shop.customer, currency="CNY")
    order.lines.add(product=pump.name, quantity=decimal(1))
    call = inventory.method("CreateOrder", shop.caller.token)
    await call(order=order)  # the organization is known
    counted = Counted(inventory.store, monkeypatch)
    await call(order=order, request_id=new_id())
    # the frame, the answer given before, the number; products, prices, warehouse; all that is written
    assert counted.take() == (
        ["BEGIN", "SELECT", "SELECT", "INSERT", "SELECT", "SELECT", "SELECT", "WITH", "COMMIT"], 2
    )  # fmt: skip


async def test_an_order_is_confirmed_with_few_round_trips(
    shop: Shop, inventory: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    pump = await shop.product(stock=10)
    order = await shop.order((pump, 4))
    confirm, page = (inventory.method(name, shop.caller.token) for name in ("ConfirmOrder", "ListOrders"))
    reserve = inventory.method("ReserveStock", shop.caller.token)
    counted = Counted(inventory.store, monkeypatch)
    await confirm(name=order.name, request_id=new_id(), validate_only=True)  # what follows from it is apart
    # the order, then the stock of its lines, both locked; all that would be written
    assert counted.take() == (
        ["BEGIN", "SELECT", "SELECT", "SELECT", "SELECT", "WITH", "SET", "ROLLBACK"], 4
    )  # fmt: skip
    await reserve(product=pump.name, quantity=decimal(1), request_id=new_id())
    # the product, the warehouse, its stock, the answers given before: of all requests promised together
    assert counted.take() == (["BEGIN", *["SELECT"] * 5, "WITH", "COMMIT"], 2)
    await page()
    assert counted.take() == (["BEGIN", "SELECT", "SELECT", "COMMIT"], 2)


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
    assert facts == {"field": "order.lines[0].product", "name": "products/none"}
    pump = await shop.product(price="1")
    euro = Order(customer="customers/c", currency="EUR")
    euro.lines.add(product=pump.name, quantity=decimal(1))
    assert await refused(shop.CreateOrder(order=euro), "PRICE_UNKNOWN") == {
        "sku": pump.sku,
        "currency": "EUR",
    }
    del euro.lines[:]
    euro.lines.add(quantity=decimal(1))
    assert (await refused(shop.CreateOrder(order=euro), "FIELD_INVALID"))[
        "field"
    ] == "order.lines[0].unit_price"


@pytest.mark.req("INV-02")
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


async def test_orders_that_nothing_came_in_for_keep_no_other_from_its_goods(
    shop: Shop, inventory: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "AT_ONCE", 2)
    never, pump = await shop.product(), await shop.product()
    elsewhere = await shop.warehouse("ZZZ")
    await shop.ReceiveStock(product=never.name, warehouse=elsewhere.name, quantity=decimal(9))
    for _ in range(2):
        await shop.confirmed((never, 1), allow_backorder=True)
    later = await shop.confirmed((never, 1), (pump, 2), allow_backorder=True)
    last = await shop.confirmed((pump, 2), allow_backorder=True)
    await shop.ReceiveStock(product=pump.name, quantity=decimal(3))
    await inventory.runtime.jobs.carry_out(inventory.runtime.jobs.jobs["fill_backorders"])
    filled = [(await shop.GetOrder(name=each.name)).lines[-1].reserved.value for each in (later, last)]
    assert filled == ["2", "1"]
    await laws_hold(inventory)


async def test_history_is_confirmed_as_of_its_day_reserving_nothing(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=1)
    order = await shop.historic((pump, 50), order_date=day(date(1997, 1, 2)))
    assert (order.state, order.historic) == (Order.CONFIRMED, True)
    assert order.confirm_time.ToDatetime().date() == date(1997, 1, 2)
    assert await shop.balance(pump) == ("1", "0", "1")
    clerk = inventory.as_(tenant=shop.caller.tenant, permissions={"orders.confirm": "all"})
    await refused(clerk.ConfirmOrder(name=order.name, historic=True), "PERMISSION_DENIED")


@pytest.mark.req("ORD-03")
async def test_a_signed_contract_becomes_a_draft_order_of_the_same_amount(
    shop: Shop, inventory: Running
) -> None:
    pump = await shop.product(price="100", category="Pumps")
    contract = contract_pb2.Contract(
        name="contracts/01890000-0000-7000-8000-000000000001",
        customer=shop.customer,
        quote="quotes/q",
        opportunity="opportunities/o",
        currency="CNY",
        discount_percent=decimal(5),
        tax_mode=types_pb2.INCLUSIVE,
        owner="users/agent",
        team="teams/east",
    )
    contract.sign_time.FromDatetime(datetime(2026, 5, 4, 9, tzinfo=UTC))
    contract.lines.add(
        product=pump.name, quantity=decimal(3), unit_price=money("33.33"), tax_percent=decimal(13)
    )
    contract.lines.add(description="Assembly", quantity=decimal(1), unit_price=money("10"))
    contract.lines.add(product="products/elsewhere", quantity=decimal(1), unit_price=money("1"))
    signed = contract_events_pb2.ContractSigned(contract=contract)
    await inventory.deliver(signed, tenant=shop.caller.tenant)
    (order,) = (await shop.ListOrders(filter=f'contract = "{contract.name}"')).orders
    assert (order.state, order.owner, order.team) == (Order.DRAFT, "users/agent", "teams/east")
    assert (order.quote, order.opportunity, order.order_date) == (
        "quotes/q",
        "opportunities/o",
        day(date(2026, 5, 4)),
    )
    assert [(line.product, line.sku, line.description) for line in order.lines] == [
        (pump.name, pump.sku, "Pump"), ("", "", "Assembly"), ("", "", "products/elsewhere"),
    ]  # fmt: skip
    assert order.totals.total == money("105.44")  # (3 × 33.33 + 10 + 1) less 5 %, the tax within


async def test_a_contract_without_products_is_no_order(shop: Shop, inventory: Running) -> None:
    contract = contract_pb2.Contract(name="contracts/x", customer=shop.customer, currency="CNY")
    contract.lines.add(description="Advice", quantity=decimal(1), unit_price=money("10"))
    signed = contract_events_pb2.ContractSigned(contract=contract)
    await inventory.deliver(signed, tenant=shop.caller.tenant)
    assert not (await shop.ListOrders()).orders


async def test_an_order_goes_only_into_hands_that_its_writer_reaches(inventory: Running) -> None:
    rep = inventory.as_("sales_rep", team="teams/east")
    boss = inventory.as_(
        "sales_manager", tenant=rep.tenant, team="teams/all", teams=("teams/all", "teams/east")
    )
    mine = await rep.CreateOrder(order={"customer": "customers/c", "currency": "CNY"})
    away = {"name": mine.name, "owner": "users/else", "team": "teams/west"}
    for writer in (rep, boss):
        facts = await refused(writer.UpdateOrder(order=away), "PERMISSION_DENIED")
        assert facts == {"permission": "orders.write"}
    helped = {
        "customer": "customers/c",
        "currency": "CNY",
        "owner": "users/else",
        "collaborators": [rep.user],
    }
    await refused(rep.CreateOrder(order=helped), "PERMISSION_DENIED")
    within = {"name": mine.name, "owner": "users/heir", "team": "teams/east"}
    assert (await boss.UpdateOrder(order=within)).owner == "users/heir"
    await refused(rep.GetOrder(name=mine.name), "NOT_FOUND")


async def test_an_order_is_never_left_without_an_owner(inventory: Running) -> None:
    rep = inventory.as_("sales_rep", team="teams/east")
    manager = inventory.as_("sales_manager", tenant=rep.tenant, team="teams/east", teams=("teams/east",))
    wanted = {"customer": "customers/c", "currency": "CNY", "collaborators": [rep.user]}
    mine = await rep.CreateOrder(order=wanted)
    assert (mine.owner, mine.team) == (rep.user, "teams/east")
    assert await manager.GetOrder(name=mine.name) == mine
    nobody = FieldMask(paths=["owner", "team"])
    for writer in (rep, manager, inventory.as_(permissions=EVERYTHING, tenant=rep.tenant)):
        away = writer.UpdateOrder(order=Order(name=mine.name), update_mask=nobody)
        assert await refused(away, "FIELD_INVALID") == {"field": "order.owner", "problem": "is required"}
    kept = await rep.UpdateOrder(order=Order(name=mine.name), update_mask=FieldMask(paths=["team"]))
    assert (kept.owner, kept.team) == (rep.user, "teams/east")  # not out of the manager's sight


async def test_a_reservation_is_seen_by_who_sees_its_order(shop: Shop) -> None:
    pump = await shop.product(stock=5)
    rep = shop.caller.service.as_("sales_rep", tenant=shop.caller.tenant, team="teams/east")
    peer = shop.caller.service.as_("sales_rep", tenant=shop.caller.tenant, team="teams/east")
    line = {"product": pump.name, "quantity": decimal(1)}
    order = await rep.CreateOrder(order={"customer": shop.customer, "currency": "CNY", "lines": [line]})
    await rep.ConfirmOrder(name=order.name)
    (mine,) = (await rep.ListReservations()).reservations
    assert (mine.order, (await rep.GetReservation(name=mine.name)).name) == (order.name, mine.name)
    assert not (await peer.ListReservations()).reservations
    await refused(peer.GetReservation(name=mine.name), "NOT_FOUND")
    free = await shop.ReserveStock(product=pump.name, quantity=decimal(1))
    await refused(rep.GetReservation(name=free.name), "NOT_FOUND")
    await rep.CancelOrder(name=order.name, reason="changed")
