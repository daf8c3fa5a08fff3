"""Stock: the balance keeps its law, whoever asks for how much at the same time."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import grpc
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.call import Call
from chassis.kernel.refusals import Refused
from chassis.kernel.values import Quantity
from chassis.laws import verify
from chassis.reasons import reason_of
from services.inventory.domain.stock import Stock
from services.inventory.store import is_past
from tests.inventory.conftest import EVERYTHING, Order, Shop, day, quantity
from tests.messages import decimal, money
from tests.platform import Running, refused

STOCK = Stock(id="1", product="products/p", warehouse="warehouses/w", sku="TW-1")
VERBS = st.lists(st.tuples(st.sampled_from(["receive", "take", "reserve", "release", "commit"]),
                           st.integers(1, 9).map(Quantity)), max_size=40)  # fmt: skip


@given(VERBS)
def test_whatever_is_done_the_balance_keeps_its_law_or_refuses(deeds: list[tuple[str, Quantity]]) -> None:
    stock, promised = STOCK, 0
    for verb, amount in deeds:
        if verb in ("release", "commit") and amount.amount > promised:
            continue  # only promises that were made are resolved
        try:
            stock = getattr(stock, verb)(amount)
        except Refused as no:
            assert no.reason == "STOCK_SHORT" and amount > stock.available
            continue
        promised += {"reserve": 1, "release": -1, "commit": -1}.get(verb, 0) * amount.amount
        stock.check()
        assert stock.reserved.amount == promised


def test_a_refusal_says_what_is_available() -> None:
    with pytest.raises(Refused) as no:
        STOCK.receive(quantity("3.5")).reserve(quantity(4))
    assert no.value.facts == {"sku": "TW-1", "asked": "4", "available": "3.5"}


@pytest.mark.req("INV-01")
async def test_stock_is_seen_as_it_is_now(shop: Shop) -> None:
    pump = await shop.product(stock=10)
    await shop.ReserveStock(product=pump.name, quantity=decimal(4))
    found = (await shop.ListStock(filter=f'sku = "{pump.sku}"')).stock
    assert [(s.on_hand.value, s.reserved.value, s.available.value) for s in found] == [("10", "4", "6")]
    assert (await shop.GetStock(name=found[0].name)).available.value == "6"


@pytest.mark.req("INV-02")
async def test_the_first_goods_of_a_product_may_come_in_at_several_gates_at_once(shop: Shop) -> None:
    for _ in range(5):
        pump = await shop.product()
        await asyncio.gather(
            *(
                shop.ReceiveStock(product=pump.name, quantity=decimal(1), reason=f"gate {gate}")
                for gate in range(8)
            )
        )
        assert await shop.balance(pump) == ("8", "0", "8")


async def test_availability_says_for_each_line_whether_it_suffices(shop: Shop) -> None:
    pump, visit = await shop.product(stock=5), await shop.product(kind="SERVICE")
    await shop.ReserveStock(product=pump.name, quantity=decimal(2))
    asked = [{"product": p.name, "quantity": decimal(q)} for p, q in ((pump, 3), (pump, 4), (visit, 99))]
    answer = await shop.GetAvailability(lines=asked)
    assert [(line.available.value, line.sufficient) for line in answer.lines] == [
        ("3", True), ("3", False), ("0", True),
    ]  # fmt: skip


async def test_stock_is_adjusted_with_a_reason_and_never_below_what_is_promised(shop: Shop) -> None:
    pump = await shop.product(stock=10)
    await shop.ReserveStock(product=pump.name, quantity=decimal(8))
    facts = await refused(
        shop.AdjustStock(product=pump.name, difference=decimal(-3), reason="counted"), "STOCK_SHORT"
    )
    assert facts == {"sku": pump.sku, "asked": "3", "available": "2"}
    moved = await shop.AdjustStock(product=pump.name, difference=decimal("-1.5"), reason="broken")
    assert (moved.destination, moved.quantity.value, moved.reason) == ("ADJUSTMENT", "1.5", "broken")
    assert await shop.balance(pump) == ("8.5", "8", "0.5")


async def test_a_service_has_no_stock(shop: Shop) -> None:
    visit = await shop.product(kind="SERVICE")
    await refused(shop.ReceiveStock(product=visit.name, quantity=decimal(1)), "NOT_STOCKED")


async def test_what_came_in_the_past_is_for_those_who_may_backdate(shop: Shop, inventory: Running) -> None:
    pump = await shop.product()
    before = datetime.now(UTC).date() - timedelta(days=2)
    clerk = inventory.as_(tenant=shop.caller.tenant, permissions={"stock.receive": "all"})
    receipt = {"product": pump.name, "quantity": decimal(1), "effective_date": day(before)}
    assert await refused(clerk.ReceiveStock(**receipt), "PERMISSION_DENIED") == {
        "permission": "records.backdate"
    }
    assert (await shop.ReceiveStock(**receipt)).effective_date == day(before)
    ahead = day(before + timedelta(days=4))
    await refused(shop.ReceiveStock(**receipt | {"effective_date": ahead}), "FIELD_INVALID")


async def test_each_warehouse_has_a_balance_of_its_own(shop: Shop) -> None:
    pump, second = await shop.product(stock=3), await shop.warehouse("ZZZ")
    await shop.ReceiveStock(product=pump.name, warehouse=second.name, quantity=decimal(7))
    found = (await shop.ListStock(filter=f'product = "{pump.name}"', order_by="on_hand")).stock
    assert [s.on_hand.value for s in found] == ["3", "7"]
    await refused(
        shop.ReserveStock(product=pump.name, warehouse=found[0].warehouse, quantity=decimal(4)), "STOCK_SHORT"
    )
    await shop.ReserveStock(product=pump.name, warehouse=second.name, quantity=decimal(4))


async def test_the_summary_counts_what_is_under_its_level_and_what_it_is_worth(shop: Shop) -> None:
    await shop.product(price="10.5", stock=4, reorder_level=decimal(5), cost=money("7"))
    await shop.product(price="2", stock=5, reorder_level=decimal(5))
    await shop.product(price="1", stock=3, reorder_level=decimal(9), discontinued=True)
    summary = await shop.SummarizeStock()
    assert summary.products_below_reorder_level == 1
    assert list(summary.value_at_list_price) == [money("52")]
    assert list(summary.discontinued_value_at_list_price) == [money("3")]
    assert list(summary.value_at_cost) == [money("28")]


async def test_64_clients_on_the_last_units_sell_exactly_the_stock(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=20)

    async def grab(_: int) -> bool:
        try:
            await shop.ReserveStock(product=pump.name, quantity=decimal(1))
        except grpc.aio.AioRpcError as no:
            assert no.code() == grpc.StatusCode.FAILED_PRECONDITION, no.details()
            return False
        return True

    granted = await asyncio.gather(*(grab(n) for n in range(64)))
    assert sum(granted) == 20
    assert await shop.balance(pump) == ("20", "20", "0")
    await laws_hold(inventory)


async def test_64_orders_for_the_last_units_are_confirmed_until_they_are_gone(
    shop: Shop, inventory: Running
) -> None:
    """Each by a person of their own; who comes too late is told what is left, and holds nothing."""
    pump = await shop.product(stock=20)
    orders = [await shop.order((pump, 1)) for _ in range(64)]

    async def confirm(order: Order) -> str:
        rep = inventory.as_(tenant=shop.caller.tenant, permissions={"orders.confirm": "all"})
        try:
            return Order.State.Name((await rep.ConfirmOrder(name=order.name)).state)
        except grpc.aio.AioRpcError as no:
            return " ".join([reason_of(no)[0], reason_of(no)[1]["available"]])

    outcomes = Counter(await asyncio.gather(*map(confirm, orders)))
    assert outcomes == {"CONFIRMING": 20, "STOCK_SHORT 0": 44}
    assert await shop.balance(pump) == ("20", "20", "0")
    held = (await shop.ListReservations(filter=f'product = "{pump.name}"', page_size=100)).reservations
    assert len({each.order for each in held}) == len(held) == 20
    await laws_hold(inventory)


async def test_orders_over_the_same_products_never_wait_in_a_ring(shop: Shop, inventory: Running) -> None:
    """50 parallel orders over 10 products, lines in opposite orders: none fails for another's sake."""
    products = [await shop.product(stock=50) for _ in range(10)]
    orders = [
        await shop.order(*((p, 1) for p in (products if n % 2 else reversed(products)))) for n in range(50)
    ]
    answers = await asyncio.gather(*(shop.ConfirmOrder(name=order.name) for order in orders))
    assert {answer.state for answer in answers} == {orders[0].CONFIRMING}
    assert [await shop.balance(p) for p in products] == [("50", "50", "0")] * 10
    await laws_hold(inventory)


async def test_the_database_refuses_a_balance_that_breaks_its_law(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=1)
    with psycopg.connect(inventory.owner_url) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("UPDATE stock SET reserved = on_hand + 1 WHERE product = %s", (pump.name,))


@pytest.mark.parametrize(
    ("hour", "days", "past"), [(23, 0, False), (1, -1, False), (13, -1, True), (1, -2, True)]
)
def test_a_day_is_past_when_it_is_over_everywhere(hour: int, days: int, past: bool) -> None:
    now = datetime(2026, 5, 4, hour, tzinfo=UTC)
    call = Call(tenant="t", user="users/u", now=now)
    assert is_past(now.date() + timedelta(days=days), call) is past


async def test_another_organization_sees_nothing(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=1)
    stranger = inventory.as_(permissions=EVERYTHING)
    assert not (await stranger.ListStock()).stock
    await refused(stranger.ReceiveStock(product=pump.name, quantity=decimal(1)), "REFERENCE_UNKNOWN")


async def laws_hold(inventory: Running) -> None:
    """Every conservation law of the service, over everything this session did."""
    verdicts = await verify("inventory", inventory.store, inventory.service.checks)
    assert {v.name: v.broken for v in verdicts if v.broken} == {}
