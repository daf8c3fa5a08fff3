"""Price lists: one price for a product, a customer, a quantity and a day."""

from __future__ import annotations

from datetime import date

import pytest
from tradewind.inventory.v1 import price_list_pb2

from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money
from services.inventory.domain.price_list import Entry, PriceList, price_of
from services.inventory.domain.product import Product
from tests.inventory.conftest import Order, Shop, day, quantity
from tests.messages import decimal, money
from tests.platform import refused

PUMP = Product(id="p", sku="TW-1", display_name="Pump", list_price=Money.of(100, "CNY"))
NAME = "products/p"


def entry(least: int, price: int) -> Entry:
    return Entry(product=NAME, min_quantity=quantity(least), unit_price=Money.of(price, "CNY"))


GENERAL = PriceList(id="1", display_name="List", currency="CNY", entries=(entry(0, 90), entry(10, 80)))
SUMMER = PriceList(id="2", display_name="Summer", currency="CNY", entries=(entry(0, 85),),
                   start_date=date(2026, 6, 1), end_date=date(2026, 8, 31))  # fmt: skip
OWN = PriceList(id="3", display_name="Own", currency="CNY", customer="customers/c", entries=(entry(5, 88),))


@pytest.mark.req("X-22")
@pytest.mark.parametrize(
    ("customer", "amount", "on", "price", "said_by"),
    [
        ("", 9, date(2026, 1, 1), 90, "priceLists/1"),
        ("", 10, date(2026, 1, 1), 80, "priceLists/1"),
        ("", 10, date(2026, 6, 1), 85, "priceLists/2"),  # the later list, first day
        ("", 10, date(2026, 8, 31), 85, "priceLists/2"),  # last day
        ("", 10, date(2026, 9, 1), 80, "priceLists/1"),
        ("customers/c", 5, date(2026, 7, 1), 88, "priceLists/3"),  # their own comes first
        ("customers/c", 4, date(2026, 1, 1), 90, "priceLists/1"),  # their own does not reach so low
        ("customers/other", 5, date(2026, 1, 1), 90, "priceLists/1"),
    ],
)
def test_the_closest_price_holds(customer: str, amount: int, on: date, price: int, said_by: str) -> None:
    found = price_of(PUMP, [GENERAL, SUMMER, OWN], name=NAME, currency="CNY", customer=customer,
                     quantity=quantity(amount), on=on)  # fmt: skip
    assert (found.unit_price, found.price_list) == (Money.of(price, "CNY"), said_by)


def test_without_a_list_the_list_price_holds_in_its_own_currency_only() -> None:
    def ask(currency: str) -> Money:
        return price_of(PUMP, [], name=NAME, currency=currency, customer="", quantity=quantity(1),
                        on=date(2026, 1, 1)).unit_price  # fmt: skip

    assert ask("CNY") == Money.of(100, "CNY")
    with pytest.raises(Refused, match="PRICE_UNKNOWN"):
        ask("EUR")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"end_date": date(2026, 1, 1), "start_date": date(2026, 1, 2)}, "end_date"),
        ({"currency": "EUR"}, "entries[0].unit_price"),
        ({"entries": (entry(1, 2), entry(1, 3))}, "entries[1].min_quantity"),
        ({"entries": (entry(0, -1),)}, "entries[0].unit_price"),
    ],
)
def test_a_list_that_contradicts_itself_is_refused(change: dict, field: str) -> None:
    with pytest.raises(Refused) as no:
        PriceList(
            **{"id": "1", "display_name": "x", "currency": "CNY", "entries": (entry(0, 1),)} | change
        ).check()
    assert no.value.facts["field"] == field


@pytest.mark.req("X-22")
async def test_an_order_takes_the_price_that_the_lists_resolve(shop: Shop) -> None:
    pump = await shop.product(price="100")
    customer = "customers/loyal"
    prices = price_list_pb2.PriceList(display_name="Loyal", currency="CNY", customer=customer)
    prices.entries.add(product=pump.name, min_quantity=decimal(10), unit_price=money("70"))
    made = await shop.CreatePriceList(price_list=prices)
    answer = await shop.ResolvePrice(product=pump.name, customer=customer, quantity=decimal(12))
    assert (answer.unit_price, answer.price_list) == (money("70"), made.name)
    assert (await shop.ResolvePrice(product=pump.name, quantity=decimal(12))).unit_price == money("100")

    order = Order(customer=customer, currency="CNY")
    order.lines.add(product=pump.name, quantity=decimal(12))
    order.lines.add(product=pump.name, quantity=decimal(2))
    priced = await shop.CreateOrder(order=order)
    assert [line.unit_price for line in priced.lines] == [money("70"), money("100")]


async def test_an_entry_names_a_product_there_is(shop: Shop) -> None:
    prices = price_list_pb2.PriceList(display_name="Wrong", currency="CNY")
    prices.entries.add(product="products/none", unit_price=money("1"))
    facts = await refused(shop.CreatePriceList(price_list=prices), "REFERENCE_UNKNOWN")
    assert facts["field"] == "price_list.entries[0].product"


async def test_a_list_in_the_past_does_not_hold(shop: Shop) -> None:
    pump = await shop.product(price="100")
    prices = price_list_pb2.PriceList(display_name="Old", currency="CNY", end_date=day(date(2020, 12, 31)))
    prices.entries.add(product=pump.name, unit_price=money("1"))
    await shop.CreatePriceList(price_list=prices)
    assert (await shop.ResolvePrice(product=pump.name)).unit_price == money("100")
    then = await shop.ResolvePrice(product=pump.name, date=day(date(2020, 12, 31)))
    assert then.unit_price == money("1")
