"""Quote, contract, order and invoices of one sale come to the same, to the last unit, over real services."""

from __future__ import annotations

import random

import pytest
from tradewind.contract.v1 import contract_pb2, invoice_pb2, quote_pb2
from tradewind.inventory.v1 import order_pb2
from tradewind.type.v1 import types_pb2

from chassis.kernel.values import Money, Quantity
from chassis.shapes import money_message, read_money
from tests.contract.people import Firm, firm, lawful
from tests.messages import decimal, money
from tests.platform import Caller, Running, settle

CURRENCIES = ("CNY", "JPY", "KWD")
SCALE = 10_000
RULES = ("currency", "tax_mode", "rounding_mode", "precision")


def scaled(amount: int) -> str:
    """Ten-thousandths as decimal text."""
    return f"{amount // SCALE}.{amount % SCALE:04d}"


async def paper_of(us: Firm, keeper: Caller, chance: random.Random) -> quote_pb2.Quote:
    """A quote as no person would type it: odd prices, odd discounts, any rounding, tax in or out."""
    currency = chance.choice(CURRENCIES)
    quote = quote_pb2.Quote(
        customer=await us.customer(currency=currency),
        currency=currency,
        discount_percent=decimal(scaled(chance.choice((0, chance.randrange(250_000))))),
        tax_mode=chance.choice((types_pb2.EXCLUSIVE, types_pb2.INCLUSIVE)),
        rounding_mode=chance.choice((types_pb2.HALF_UP, types_pb2.HALF_EVEN, types_pb2.DOWN)),
        precision=chance.choice((0, 2, 4)),
    )
    for at in range(chance.randint(2, 5)):
        product = await keeper.CreateProduct(
            product={"sku": f"T-{us.tenant[-6:]}-{at}", "display_name": "Thing", "list_price": money("1")}
        )
        await keeper.ReceiveStock(product=product.name, quantity=decimal("100"))
        quote.lines.add(
            product=product.name,
            quantity=decimal(scaled(chance.randrange(1, 60 * SCALE))),
            unit_price=money_message(Money(chance.randrange(1, 10**8), currency)),
            discount_percent=decimal(scaled(chance.choice((0, chance.randrange(400_000))))),
            tax_percent=decimal(chance.choice(("0", "6", "7.7", "13"))),
        )
    return quote


async def agreed(us: Firm, draft: quote_pb2.Quote) -> tuple[quote_pb2.Quote, contract_pb2.Contract]:
    """The quote accepted by the customer, and the signed contract that was made from it."""
    made = await us.rep.CreateQuote(quote=draft)
    made = await us.rep.SubmitQuote(name=made.name)
    for step in made.approvals:
        await (us.boss if step.role == "sales_manager" else us.chief).ApproveQuote(name=made.name)
    await us.rep.SendQuote(name=made.name)
    quote = await us.rep.AcceptQuote(name=made.name, accepter="Li Wei")
    drafted = await us.rep.CreateContract(contract={"quote": quote.name})
    waiting = await us.rep.SubmitContract(name=drafted.name)
    for step in waiting.approvals:
        await (us.boss if step.role == "sales_manager" else us.chief).ApproveContract(name=drafted.name)
    return quote, await us.sign(drafted.name)


async def ship_in_parts(keeper: Caller, order: order_pb2.Order, chance: random.Random) -> None:
    """Some of every line, some of what is left, then the rest."""
    left = [Quantity.of(line.quantity.value).amount for line in order.lines]
    for last in (False, False, True):
        parts = [(at, amount if last else chance.randint(0, amount)) for at, amount in enumerate(left, 1)]
        lines = [{"order_line": at, "quantity": decimal(scaled(part))} for at, part in parts if part]
        if not lines:
            continue
        shipment = await keeper.CreateShipment(shipment={"order": order.name, "lines": lines})
        await keeper.DispatchShipment(name=shipment.name)
        left = [amount - part for amount, (_, part) in zip(left, parts, strict=True)]


def total(invoices: list[invoice_pb2.Invoice], part: str) -> int:
    """What these invoices sum to."""
    return sum(read_money(getattr(each.totals, part)).amount for each in invoices)


@pytest.mark.req("X-24")
@pytest.mark.parametrize("seed", range(6))
async def test_a_sale_comes_to_the_same_on_every_paper(
    contract: Running, inventory: Running, seed: int
) -> None:
    us, chance = firm(contract), random.Random(seed)
    keeper = inventory.as_("administrator", tenant=us.tenant)
    await keeper.CreateWarehouse(warehouse={"code": "SHA", "display_name": "Hall"})
    draft = await paper_of(us, keeper, chance)
    quote, signed = await agreed(us, draft)
    assert signed.totals == quote.totals

    await settle(contract, inventory)
    (order,) = (await keeper.ListOrders(filter=f'contract = "{signed.name}"')).orders
    assert order.totals == quote.totals
    for paper in (quote, signed, order):
        assert [getattr(paper, rule) for rule in RULES] == [getattr(draft, rule) for rule in RULES]
    await keeper.ConfirmOrder(name=order.name)
    await settle(contract, inventory)
    await ship_in_parts(keeper, order, chance)
    await settle(contract, inventory)

    order = await keeper.GetOrder(name=order.name)
    assert order.state == order_pb2.Order.SHIPPED
    drafts = (await us.finance.ListInvoices(filter=f'order = "{order.name}"')).invoices
    posted = [await us.finance.PostInvoice(name=draft.name) for draft in drafts]
    for part in ("net", "tax", "total"):
        assert total(posted, part) == read_money(getattr(quote.totals, part)).amount, part
    await lawful(contract)
