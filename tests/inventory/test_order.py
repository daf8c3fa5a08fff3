"""Orders: which verb leads where, what they come to, and what stays as it was promised."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.kernel import pricing
from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money, Percent
from services.inventory.domain.order import LIFECYCLE, OVER, Outcome, State
from services.inventory.domain.order import Order as Record
from services.inventory.domain.order_line import OrderLine
from tests.inventory.conftest import quantity

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
    "reopen": lambda order: order.reopen(),
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
