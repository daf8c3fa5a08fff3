"""Invoices keep the order's prices, take a legal number once, and are taken back by credit notes only."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.kernel.pricing import Line, price
from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money, Percent, Quantity
from services.contract.domain.credit_note import credit_note_of
from services.contract.domain.invoice import LIFECYCLE, Invoice, Shipped, State, invoice_of_parts
from services.contract.domain.journal_entry import book, credit_sides, invoice_sides
from tests.contract.papers import ANN, AT, CONTRACT, INVOICE, POSTED, QUOTE, TODAY, cny
from tests.lifecycles import follows


def test_quote_contract_and_invoice_of_the_same_lines_come_to_the_same() -> None:
    contract = replace(CONTRACT, lines=()).takes(QUOTE).agreed()
    invoice = Invoice(id="i", customer="customers/c1").takes(contract).drafted()
    assert QUOTE.totals == contract.totals == invoice.totals
    assert contract.amount == invoice.total


def test_posting_takes_the_number_and_the_customers_terms() -> None:
    assert (POSTED.number, POSTED.state, POSTED.open_amount) == (
        "INV-2026-000007",
        State.POSTED,
        POSTED.total,
    )
    assert POSTED.due_date == TODAY + timedelta(days=30)
    assert (
        replace(INVOICE, due_date=TODAY)
        .post(series="INV-2026", serial=1, issue_date=TODAY, terms_days=30, at=AT, today=TODAY)
        .due_date
        == TODAY
    )


@pytest.mark.parametrize(
    ("change", "issue_date", "reason"),
    [
        ({"lines": (), "totals": None}, TODAY, "INVOICE_EMPTY"),
        ({}, TODAY + timedelta(1), "issue_date"),
        ({"due_date": TODAY - timedelta(1)}, TODAY, "due_date"),
    ],
)
def test_what_makes_no_legal_invoice_is_not_posted(change: dict, issue_date: date, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        replace(INVOICE, **change).post(
            series="INV-2026", serial=1, issue_date=issue_date, terms_days=0, at=AT, today=TODAY
        )


def test_paying_in_parts() -> None:
    part = POSTED.pay(cny("1000"), at=AT)
    assert (part.state, part.paid_amount, part.open_amount) == (State.PARTLY_PAID, cny("1000"), cny("1260"))
    with pytest.raises(Refused, match="ALLOCATION_TOO_MUCH"):
        part.pay(cny("1260.0001"), at=AT)
    paid = part.pay(cny("1260"), at=AT)
    assert (paid.state, paid.pay_time, bool(paid.open_amount)) == (State.PAID, AT, False)


def test_a_shipments_lines_cannot_be_written() -> None:
    shipped = replace(INVOICE, shipment="shipments/s1")
    assert replace(shipped, note="hello").drafted(shipped).note == "hello"
    with pytest.raises(Refused, match="lines"):
        replace(shipped, discount_percent=Percent.of("1")).drafted(shipped)
    again = replace(POSTED, shipment="shipments/s1").again("i2")
    assert replace(again, note="hello").drafted(again, again=True).totals == POSTED.totals
    cheaper = replace(again, discount_percent=Percent.of("50")).drafted(again, again=True)
    assert cheaper.total < POSTED.total


def test_invoices_of_shipments_sum_to_the_order() -> None:
    lines = [
        Line(quantity=Quantity.of("3"), unit_price=cny("9.99"), tax_percent=Percent.of("13")),
        Line(quantity=Quantity.of("7"), unit_price=cny("0.333"), tax_percent=Percent.of("6")),
    ]
    order = price(lines, currency="CNY", document_discount=Percent.of("7"))
    empty = Invoice(id="i", customer="customers/c1", currency="CNY", shipment="shipments/s")
    one, six, two, all7 = Quantity.of("1"), Quantity.of("6"), Quantity.of("2"), Quantity.of("7")
    first = invoice_of_parts(empty, (Shipped(line=order.lines[0], quantity=one, before=Quantity.of("0")),))
    second = invoice_of_parts(
        empty,
        (
            Shipped(line=order.lines[0], quantity=two, before=one),
            Shipped(line=order.lines[1], quantity=six, before=Quantity.of("0")),
        ),
    )
    third = invoice_of_parts(empty, (Shipped(line=order.lines[1], quantity=one, before=six),))
    assert all7 == six + one
    assert first.total + second.total + third.total == order.total
    assert first.totals.tax + second.totals.tax + third.totals.tax == order.tax


def test_the_rate_is_the_documents_own_and_makes_sense() -> None:
    dollars = replace(
        Invoice(id="i", customer="customers/c"),
        lines=(Line(quantity=Quantity.of("3"), unit_price=Money.of("9.99", "USD")),),
        exchange_rate=Quantity.of("7.1234"),
        base_currency="CNY",
    ).drafted()
    assert dollars.base_total == Money.of("213.49", "CNY")
    assert INVOICE.base_total == INVOICE.total
    with pytest.raises(Refused, match="exchange_rate"):
        replace(INVOICE, exchange_rate=Quantity.of("2")).check()
    with pytest.raises(Refused, match="exchange_rate"):
        replace(dollars, exchange_rate=Quantity.of("0")).check()


def test_a_credit_note_turns_all_of_it_back() -> None:
    note = credit_note_of(
        POSTED, id="n", name="invoices/i1", series="CN-2026", serial=1, reason="wrong", issue_date=TODAY
    )
    void = POSTED.credit("creditNotes/n")
    assert (void.state, bool(void.open_amount), void.credit_note) == (State.VOID, False, "creditNotes/n")
    assert (note.number, note.totals, note.invoice) == ("CN-2026-000001", POSTED.totals, "invoices/i1")


@pytest.mark.parametrize("sides", [invoice_sides, credit_sides])
def test_bookings_sum_to_zero(sides) -> None:
    terms = {"journal": "j", "kind": "INVOICE", "customer": "c", "document": "invoices/i1", "number": "1"}
    entries = book(sides(POSTED), **terms, day=TODAY, owner=ANN, team="")
    assert sum(entry.amount.amount for entry in entries) == 0 and len(entries) == 3
    with pytest.raises(ValueError):
        book(sides(POSTED)[:2], **terms, day=TODAY, owner=ANN, team="")


@given(
    st.lists(
        st.tuples(st.integers(1, 10**7), st.integers(0, 10**7), st.sampled_from([0, 60_000, 130_000])),
        min_size=1,
    )
)
def test_whatever_is_invoiced_books_to_zero(lines: list[tuple[int, int, int]]) -> None:
    priced = tuple(
        Line(quantity=Quantity(count), unit_price=Money(each, "CNY"), tax_percent=Percent(rate))
        for count, each, rate in lines
    )
    invoice = replace(INVOICE, lines=priced).drafted()
    terms = {"journal": "j", "kind": "INVOICE", "customer": "c", "document": "invoices/i1", "number": "1"}
    for sides in (invoice_sides(invoice), credit_sides(invoice)):
        entries = book(sides, **terms, day=TODAY, owner=ANN, team="")
        assert sum(entry.amount.amount for entry in entries) == 0
        assert all(entry.amount for entry in entries)


# "update" and "delete" ask the table without moving: the tests of the service try them.
@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("name", sorted(LIFECYCLE.steps.keys() - {"update", "delete"}))
def test_every_verb_in_every_state(name: str, state: State) -> None:
    invoice = replace(POSTED if name != "post" else INVOICE, state=state)
    done = {
        "post": lambda: invoice.post(
            series="S", serial=1, issue_date=TODAY, terms_days=0, at=AT, today=TODAY
        ),
        "pay": lambda: invoice.pay(invoice.left, at=AT),
        "credit": lambda: invoice.credit("creditNotes/n"),
    }
    follows(LIFECYCLE, name, state, done[name])
