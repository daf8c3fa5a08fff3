"""What follows when deals are won, goods leave and orders are cancelled: once, and exactly."""

from __future__ import annotations

from typing import Any

import pytest
from tradewind.contract.v1 import contract_pb2, invoice_pb2, quote_pb2
from tradewind.inventory.v1 import events_pb2 as inventory_events_pb2
from tradewind.inventory.v1 import order_pb2, shipment_pb2
from tradewind.opportunity.v1 import events_pb2 as opportunity_events_pb2
from tradewind.opportunity.v1 import opportunity_pb2
from tradewind.type.v1 import types_pb2

from chassis.call import new_id
from chassis.kernel.pricing import Line, price
from chassis.kernel.values import Money, Percent, Quantity
from chassis.shapes import Shape
from tests.contract.people import Firm, amount, events, firm, lawful, line
from tests.messages import decimal, money
from tests.platform import Running

show_line = Shape(Line, types_pb2.PriceLine)


async def won(us: Firm, **more: Any) -> opportunity_pb2.Opportunity:
    deal = opportunity_pb2.Opportunity(
        name=f"opportunities/{new_id()}",
        etag="3",
        title="Scanners",
        owner=us.rep.user,
        team="teams/north",
        **more,
    )
    await us.contract.deliver(opportunity_events_pb2.OpportunityWon(opportunity=deal), tenant=us.tenant)
    return deal


async def contracts_of(us: Firm, deal: opportunity_pb2.Opportunity) -> list[contract_pb2.Contract]:
    return list((await us.rep.ListContracts(filter=f'opportunity = "{deal.name}"')).contracts)


@pytest.mark.req("QUO-04")
async def test_a_won_deal_gets_a_draft_contract_from_its_accepted_quote(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer()
    quote = await us.rep.CreateQuote(
        quote={"customer": customer, "lines": [line(discount="5")], "precision": 4}
    )
    await us.rep.SubmitQuote(name=quote.name)
    await us.rep.SendQuote(name=quote.name)
    await us.rep.AcceptQuote(name=quote.name, accepter="Li Wei")
    deal = await won(us, customer=customer, amount=quote.totals.net, accepted_quote=quote.name)
    (draft,) = await contracts_of(us, deal)
    assert (draft.quote, draft.totals, draft.lines, draft.precision) == (
        quote.name,
        quote.totals,
        quote.lines,
        4,
    )
    assert (draft.owner, draft.state) == (us.rep.user, contract_pb2.Contract.DRAFT)
    await lawful(contract)


async def test_a_won_deal_without_a_quote_gets_its_lines_or_its_amount(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer()
    lines = await won(us, customer=customer, amount=money("2000"), lines=[line()])
    typed = await won(us, customer=customer, amount=money("128000.50"))
    free = await won(us, customer=customer, currency="CNY")
    assert [amount(each.amount) for each in await contracts_of(us, lines)] == ["2260.00"]
    (only,) = await contracts_of(us, typed)
    assert (amount(only.amount), only.lines[0].description) == ("128000.50", "Scanners")
    (nothing,) = await contracts_of(us, free)
    assert not nothing.lines and not nothing.HasField("amount")
    await lawful(contract)


async def test_a_deal_won_twice_has_one_contract(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer()
    deal = await won(us, customer=customer, amount=money("10"))
    event = opportunity_events_pb2.OpportunityWon(opportunity=deal)
    await contract.deliver(event, tenant=us.tenant)  # won again, after it was reopened
    cursor = (await contract.runtime.consumer.cursor("opportunity", _part(us)))[1]
    await contract.deliver(event, tenant=us.tenant, position=cursor)  # and delivered again
    assert len(await contracts_of(us, deal)) == 1


def _part(us: Firm) -> int:
    from chassis.outbox import part_of

    return part_of(us.tenant)


async def test_a_contract_made_by_hand_from_the_quote_stands_in_its_place(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer()
    quote = await us.rep.CreateQuote(quote={"customer": customer, "lines": [line()]})
    await us.rep.SubmitQuote(name=quote.name)
    await us.rep.SendQuote(name=quote.name)
    await us.rep.AcceptQuote(name=quote.name, accepter="Li Wei")
    by_hand = await us.rep.CreateContract(contract={"quote": quote.name})
    await won(us, customer=customer, amount=quote.totals.net, accepted_quote=quote.name)
    listed = await us.rep.ListContracts(filter=f'quote = "{quote.name}"')
    assert [each.name for each in listed.contracts] == [by_hand.name]


async def accepted(us: Firm, **more: Any) -> quote_pb2.Quote:
    """A quote that the customer agreed to."""
    quote = await us.rep.CreateQuote(quote={"lines": [line(discount="5")], **more})
    await us.rep.SubmitQuote(name=quote.name)
    await us.rep.SendQuote(name=quote.name)
    return await us.rep.AcceptQuote(name=quote.name, accepter="Li Wei")


async def test_a_deal_won_before_it_heard_of_its_accepted_quote_is_agreed_as_quoted(
    contract: Running, opportunity: Running
) -> None:
    us = firm(contract)
    rep = opportunity.as_("sales_rep", tenant=us.tenant, user=us.rep.user, team="teams/north")
    customer = await us.customer()
    deal = await rep.CreateOpportunity(
        opportunity={"title": "Scanners", "customer": customer, "amount": money("2000")}
    )
    await accepted(us, customer=customer, opportunity=deal.name)
    newest = await accepted(us, customer=customer, opportunity=deal.name)
    await accepted(us, customer=await us.customer(), opportunity=deal.name)
    event = opportunity_events_pb2.OpportunityWon(opportunity=await rep.GetOpportunity(name=deal.name))
    await contract.deliver(event, tenant=us.tenant)
    (draft,) = await contracts_of(us, deal)
    assert (draft.quote, draft.totals) == (newest.name, newest.totals)


def order_of(us: Firm, customer: str, contract_name: str = "") -> order_pb2.Order:
    """3 at 9.99 and 7 at 0.33, 7 % off the whole, taxed at 13 and 6 %."""
    priced = price(
        [
            Line(
                product="products/a",
                quantity=Quantity.of("3"),
                unit_price=Money.of("9.99", "CNY"),
                tax_percent=Percent.of("13"),
            ),
            Line(
                product="products/b",
                quantity=Quantity.of("7"),
                unit_price=Money.of("0.33", "CNY"),
                tax_percent=Percent.of("6"),
            ),
        ],
        currency="CNY",
        document_discount=Percent.of("7"),
    )
    order = order_pb2.Order(
        name=f"orders/{new_id()}",
        etag="4",
        customer=customer,
        contract=contract_name,
        currency="CNY",
        discount_percent=decimal("7"),
        owner=us.rep.user,
        team="teams/north",
    )
    for each in priced.lines:
        said = show_line(each)
        order.lines.add(
            product=said.product,
            quantity=said.quantity,
            unit_price=said.unit_price,
            tax_percent=said.tax_percent,
            net=said.net,
            tax=said.tax,
        )
    order.totals.total.CopyFrom(money(str(priced.total).removesuffix(" CNY")))
    return order


async def ship(us: Firm, order: order_pb2.Order, *lines: tuple[int, str, str]) -> str:
    shipment = shipment_pb2.Shipment(
        name=f"shipments/{new_id()}", etag="2", order=order.name, customer=order.customer
    )
    for number, quantity, before in lines:
        shipment.lines.add(order_line=number, quantity=decimal(quantity), shipped_before=decimal(before))
    event = inventory_events_pb2.ShipmentDispatched(shipment=shipment, order=order)
    await us.contract.deliver(event, tenant=us.tenant)
    return shipment.name


@pytest.mark.req("FIN-01")
async def test_shipments_are_invoiced_and_their_invoices_sum_to_the_order(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer(limit="1000")
    order = order_of(us, customer)
    await us.inventory.HoldCredit(order=order.name, customer=customer, amount=order.totals.total, attempt=1)
    held = amount(order.totals.total)
    assert await us.used(customer) == (held, "0.00")

    await ship(us, order, (1, "1", "0"))
    await ship(us, order, (1, "2", "1"), (2, "6", "0"))
    await ship(us, order, (2, "1", "6"))
    drafts = (await us.finance.ListInvoices(filter=f'order = "{order.name}"')).invoices
    assert [each.state for each in drafts] == [invoice_pb2.Invoice.DRAFT] * 3
    assert drafts[0].owner == us.rep.user
    for draft in drafts:
        await us.finance.PostInvoice(name=draft.name)
    assert await us.used(customer) == ("0.00", held)
    await lawful(contract)


async def test_a_dispatch_told_twice_is_invoiced_once(contract: Running) -> None:
    us = firm(contract)
    order = order_of(us, await us.customer())
    name = await ship(us, order, (1, "3", "0"))
    shipment = shipment_pb2.Shipment(name=name, etag="3", order=order.name)
    shipment.lines.add(order_line=1, quantity=decimal("3"), shipped_before=decimal("0"))
    event = inventory_events_pb2.ShipmentDispatched(shipment=shipment, order=order)
    await contract.deliver(event, tenant=us.tenant)
    assert len((await us.finance.ListInvoices(filter=f'order = "{order.name}"')).invoices) == 1


async def fail(us: Firm, order: order_pb2.Order, name: str) -> None:
    """The goods of a shipment that had left came back."""
    shipment = shipment_pb2.Shipment(name=name, etag="9", order=order.name, customer=order.customer)
    event = inventory_events_pb2.ShipmentFailed(shipment=shipment, order=order, returned=True)
    await us.contract.deliver(event, tenant=us.tenant)


async def invoices_of(us: Firm, order: order_pb2.Order) -> list[invoice_pb2.Invoice]:
    return list((await us.finance.ListInvoices(filter=f'order = "{order.name}"')).invoices)


async def test_what_came_back_is_not_billed(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer(limit="1000")
    agreed = await us.signed(customer, lines=[line("3", "9.99"), line("7", "0.33", product="products/b")])
    order = order_of(us, customer, agreed.name)
    held = amount(order.totals.total)
    await us.inventory.HoldCredit(order=order.name, customer=customer, amount=order.totals.total, attempt=1)
    failed = [await ship(us, order, (1, "3", "0")), await ship(us, order, (2, "7", "0"))]
    for name in failed:
        await fail(us, order, name)
    assert await invoices_of(us, order) == []
    assert await us.used(customer) == (held, "0.00")
    assert amount((await us.rep.GetContract(name=agreed.name)).shipped_amount) == "0.00"

    await ship(us, order, (1, "3", "0"), (2, "7", "0"))
    (draft,) = await invoices_of(us, order)
    assert draft.totals.total == order.totals.total
    await lawful(contract)


async def test_what_came_back_is_credited_and_its_credit_held_again(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer(limit="1000")
    order = order_of(us, customer)
    held = amount(order.totals.total)
    await us.inventory.HoldCredit(order=order.name, customer=customer, amount=order.totals.total, attempt=1)
    name = await ship(us, order, (1, "3", "0"), (2, "7", "0"))
    (draft,) = await invoices_of(us, order)
    await us.finance.PostInvoice(name=draft.name)
    payment = await us.finance.CreatePayment(
        payment={"customer": customer, "amount": money("5"), "allocations": [{"invoice": draft.name}]}
    )
    await fail(us, order, name)
    (void,) = await invoices_of(us, order)
    assert void.state == invoice_pb2.Invoice.VOID
    note = await us.finance.GetCreditNote(name=void.credit_note)
    assert (note.reason, note.totals.total) == ("the shipment failed", order.totals.total)
    assert amount((await us.finance.GetPayment(name=payment.name)).unallocated) == "5.00"
    assert await us.used(customer) == (held, "-5.00")
    await lawful(contract)

    await ship(us, order, (1, "3", "0"), (2, "7", "0"))
    again = next(each for each in await invoices_of(us, order) if each.name != void.name)
    await us.finance.PostInvoice(name=again.name)
    assert (await us.used(customer))[0] == "0.00"
    await lawful(contract)


async def billed_in_full(us: Firm, customer: str) -> tuple[order_pb2.Order, str, str]:
    """An order that holds credit, left as a whole and was billed: (it, its shipment, its posted invoice)."""
    order = order_of(us, customer)
    await us.inventory.HoldCredit(order=order.name, customer=customer, amount=order.totals.total, attempt=1)
    shipment = await ship(us, order, (1, "3", "0"), (2, "7", "0"))
    (draft,) = await invoices_of(us, order)
    await us.finance.PostInvoice(name=draft.name)
    return order, shipment, draft.name


async def test_what_came_back_is_not_billed_anew_either(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer(limit="1000")
    order, name, posted = await billed_in_full(us, customer)
    await us.finance.CreditInvoice(name=posted, reason="wrong rate", reissue=True)
    assert len(await invoices_of(us, order)) == 2
    await fail(us, order, name)
    (void,) = await invoices_of(us, order)
    assert void.name == posted
    assert await us.used(customer) == (amount(order.totals.total), "0.00")
    await lawful(contract)


async def test_a_draft_that_was_thrown_away_still_takes_its_goods_back(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer()
    agreed = await us.signed(customer)
    order = order_of(us, customer, agreed.name)
    name = await ship(us, order, (1, "3", "0"))
    (draft,) = await invoices_of(us, order)
    await us.admin.DeleteInvoice(name=draft.name)
    await fail(us, order, name)
    assert amount((await us.rep.GetContract(name=agreed.name)).shipped_amount) == "0.00"


async def test_a_shipment_that_fails_for_a_cancelled_order_holds_no_credit(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer(limit="1000")
    order, name, _ = await billed_in_full(us, customer)
    await fail(us, order, name)
    await contract.deliver(inventory_events_pb2.OrderCancelled(order=order), tenant=us.tenant)
    assert await us.used(customer) == ("0.00", "0.00")
    await lawful(contract)


@pytest.mark.req("CON-09")
async def test_a_contract_moves_when_its_goods_leave(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer()
    agreed = await us.signed(
        customer,
        lines=[line("3", "9.99"), line("7", "0.33", tax="6", product="products/b")],
        discount_percent=decimal("7"),
    )
    order = order_of(us, customer, agreed.name)
    await ship(us, order, (1, "3", "0"), (2, "7", "0"))
    moved = await us.rep.GetContract(name=agreed.name)
    assert (moved.shipped_amount, moved.percent_complete.value) == (agreed.amount, "50")
    assert (await events(us.rep, agreed.name))[-1] == "ContractProgressed"


async def test_a_cancelled_order_lets_go_of_its_credit(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer(limit="1000")
    order = order_of(us, customer)
    await us.inventory.HoldCredit(order=order.name, customer=customer, amount=order.totals.total, attempt=1)
    event = inventory_events_pb2.OrderCancelled(order=order)
    await contract.deliver(event, tenant=us.tenant)
    assert await us.used(customer) == ("0.00", "0.00")
    never_held = inventory_events_pb2.OrderCancelled(order=order_of(us, customer))
    await contract.deliver(never_held, tenant=us.tenant)
    await lawful(contract)
