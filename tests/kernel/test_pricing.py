"""One kernel prices every paper, so a quote, its order and its invoices agree to the last cent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.kernel.pricing import Line, Priced, RoundingMode, TaxMode, part, price, total_of
from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money, Percent, Quantity, minor_digits

CURRENCIES = ["CNY", "JPY", "KWD"]


@st.composite
def papers(draw: st.DrawFn) -> tuple[list[Line], dict]:
    """Lines as people type them, and the terms of their document."""
    currency = draw(st.sampled_from(CURRENCIES))
    percent = st.builds(Percent, st.integers(0, 1_000_000))
    rates = st.sampled_from([Percent.of(rate) for rate in ("0", "6", "9", "13", "7.7")])
    line = st.builds(
        Line,
        quantity=st.builds(Quantity, st.integers(1, 10**8)),
        unit_price=st.builds(Money, st.integers(0, 10**8), st.just(currency)),
        discount_percent=st.one_of(st.just(Percent(0)), percent),
        tax_percent=rates,
    )
    terms = {
        "currency": currency,
        "document_discount": draw(st.one_of(st.just(Percent(0)), percent)),
        "tax_mode": draw(st.sampled_from(TaxMode)),
        "rounding_mode": draw(st.sampled_from(RoundingMode)),
        "precision": draw(st.integers(0, 4)),
    }
    return draw(st.lists(line, min_size=1, max_size=12)), terms


def same(priced: Priced) -> tuple:
    return (priced.gross, priced.discount, priced.net, priced.tax, priced.total)


@given(papers())
@pytest.mark.req("X-24")
def test_the_lines_sum_to_the_document(paper: tuple) -> None:
    lines, terms = paper
    priced = price(lines, **terms)
    assert sum(line.net.amount for line in priced.lines) == priced.net.amount
    assert sum(line.tax.amount for line in priced.lines) == priced.tax.amount
    assert priced.gross - priced.discount == priced.net
    assert priced.net + priced.tax == priced.total
    step = 10 ** (4 - (terms["precision"] or minor_digits(terms["currency"])))
    assert all(amount.amount % step == 0 and amount.amount >= 0 for amount in same(priced))


@given(papers())
def test_quote_order_and_invoice_come_to_the_same(paper: tuple) -> None:
    """A paper made from another's lines, priced or not, has its totals: that is how papers follow on."""
    lines, terms = paper
    quote = price(lines, **terms)
    order = price(quote.lines, **terms)
    invoice = price([replace(line, net=None, tax=None) for line in order.lines], **terms)
    assert same(quote) == same(order) == same(invoice)
    totals = total_of(
        invoice.lines, **{key: value for key, value in terms.items() if key != "document_discount"}
    )
    assert totals == quote.totals


@given(papers(), st.data())
def test_parts_of_an_order_sum_to_the_order(paper: tuple, data: st.DataObject) -> None:
    lines, terms = paper
    order = price(lines, **terms)
    rounding = {"rounding_mode": terms["rounding_mode"], "precision": terms["precision"]}
    net = tax = 0
    for line in order.lines:
        cuts = sorted(
            data.draw(st.sets(st.integers(1, line.quantity.amount), max_size=4)) | {line.quantity.amount}
        )
        before = 0
        for cut in cuts:
            piece = part(line, before=Quantity(before), now=Quantity(cut - before), **rounding)
            assert piece.net.amount >= 0 and piece.tax.amount >= 0
            net, tax, before = net + piece.net.amount, tax + piece.tax.amount, cut
    assert (net, tax) == (order.net.amount, order.tax.amount)


@given(papers())
def test_inclusive_prices_are_what_is_paid(paper: tuple) -> None:
    """With the tax inside, the total is the discounted sum itself: no rounding of taxes moves it."""
    lines, terms = paper
    inclusive = price(lines, **terms | {"tax_mode": TaxMode.INCLUSIVE})
    untaxed = price([replace(line, tax_percent=Percent(0)) for line in lines], **terms)
    assert inclusive.total == untaxed.total


@given(papers())
def test_no_discount_is_no_discount(paper: tuple) -> None:
    lines, terms = paper
    plain = [replace(line, discount_percent=Percent(0)) for line in lines]
    assert not price(plain, **terms | {"document_discount": Percent(0)}).discount


def line(quantity: str, unit_price: str, discount: str = "0", tax: str = "13", currency: str = "CNY") -> Line:
    return Line(
        quantity=Quantity.of(quantity),
        unit_price=Money.of(unit_price, currency),
        discount_percent=Percent.of(discount),
        tax_percent=Percent.of(tax),
    )


def test_a_worked_example() -> None:
    priced = price(
        [line("3", "19.99"), line("1.5", "7.3333", discount="10"), line("1", "100", tax="6")],
        currency="CNY",
        document_discount=Percent.of("5"),
    )
    # 59.97 + 9.90 + 100.00 = 169.87; 5 % off is 8.49 (3.00 + 0.49 + 5.00); tax 13 % of 66.38 and 6 % of 95.00
    assert [str(each.net) for each in priced.lines] == ["56.97 CNY", "9.41 CNY", "95.00 CNY"]
    assert [str(each) for each in same(priced)] == [
        "170.97 CNY", "9.59 CNY", "161.38 CNY", "14.33 CNY", "175.71 CNY",
    ]  # fmt: skip


def test_an_amount_off_the_document_is_handed_to_the_lines() -> None:
    priced = price([line("1", "10"), line("1", "20")], currency="CNY", document_discount=Money.of("1", "CNY"))
    assert [str(each.net) for each in priced.lines] == ["9.67 CNY", "19.33 CNY"]
    with pytest.raises(Refused, match="discount"):
        price([line("1", "10")], currency="CNY", document_discount=Money.of("10.01", "CNY"))


@pytest.mark.parametrize(
    ("mode", "net"),
    [(RoundingMode.HALF_UP, "0.13"), (RoundingMode.HALF_EVEN, "0.12"), (RoundingMode.DOWN, "0.12")],
)
@pytest.mark.req("X-24")
def test_the_rounding_rule_is_the_documents_own(mode: RoundingMode, net: str) -> None:
    priced = price([line("0.5", "0.25", tax="0")], currency="CNY", rounding_mode=mode)
    assert str(priced.net) == f"{net} CNY"


def test_four_decimals_keep_everything() -> None:
    lines = [line("7", "14.4", discount="15", tax="0"), line("1", "0.333", tax="0")]
    priced = price(lines, currency="CNY", precision=4)
    assert priced.net == Money.of("86.013", "CNY")


@pytest.mark.parametrize(
    "bad",
    [
        line("0", "1"),
        line("-1", "1"),
        line("1", "-0.01"),
        line("1", "1", discount="100.0001"),
        line("1", "1", discount="-1"),
        line("1", "1", tax="101"),
        line("1", "1", currency="EUR"),
    ],
)
def test_a_line_that_cannot_be_priced_is_named(bad: Line) -> None:
    with pytest.raises(Refused) as no:
        price([line("1", "1"), bad], currency="CNY")
    assert no.value.facts["field"].startswith("lines[1].")


def test_more_than_can_be_kept_is_refused() -> None:
    with pytest.raises(Refused, match="lines"):
        price([line("900000000000000", "900000000000000")], currency="CNY")


def test_a_part_is_never_more_than_what_is_left() -> None:
    whole = price([line("3", "1")], currency="CNY").lines[0]
    for before, now in (("0", "3.1"), ("2", "2"), ("0", "0"), ("0", "-1")):
        with pytest.raises(Refused, match="quantity"):
            part(whole, before=Quantity.of(before), now=Quantity.of(now))
