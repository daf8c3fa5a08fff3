"""What a deal adds to the read models, and takes back when it changes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st

from chassis.kernel.values import Money
from services.analytics.domain import deal as deals
from services.analytics.domain.cells import Cell, changes
from services.analytics.domain.deal import Deal, Passage, Share, Visit, passages_of, shares_of

MARCH = date(2017, 3, 1)
AT = datetime(2017, 3, 1, 12, tzinfo=UTC)


def held(cells: list[Cell]) -> Counter:
    sums: Counter = Counter()
    for cell in cells:
        for name, amount in cell.sums.items():
            sums[cell.model, tuple(cell.key.items()), name] += amount
    return sums


amounts = st.integers(0, 10**12)
made = st.builds(
    lambda amount, state, stage, owner, lines: Deal(
        name="opportunities/1",
        version=1,
        state=state,
        stage=stage,
        owner=owner,
        amount=Money(amount, "USD"),
        close_date=date(2017, 3, 14),
        days=13,
        shares=shares_of(Money(amount, "USD"), lines),
    ),
    amounts,
    st.sampled_from(["OPEN", "WON", "LOST"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["users/1", "users/2"]),
    st.lists(st.tuples(st.sampled_from(["products/1", "products/2", "products/3"]), amounts), max_size=4),
)


@given(st.lists(made, min_size=1, max_size=6))
def test_after_any_changes_the_cells_hold_the_deal_as_it_stands(versions):
    sums: Counter = Counter()
    before: list[Cell] = []
    for version in versions:
        after = list(deals.cells(version))
        sums.update(held(changes(before, after)))
        before = after
    last = held(list(deals.cells(versions[-1])))
    assert {key: amount for key, amount in sums.items() if amount} == {k: a for k, a in last.items() if a}


def test_what_stays_is_not_written():
    deal = Deal(name="opportunities/1", version=1, amount=Money.of(5, "USD"))
    assert changes(deals.cells(deal), deals.cells(replace(deal, version=2, customer="customers/1"))) == []


@given(made)
def test_the_shares_of_products_sum_to_the_amount(deal):
    assert sum(share.amount for share in deal.shares) == deal.amount.amount


def test_a_typed_amount_is_shared_by_what_the_lines_come_to():
    lines = [("products/1", 100), ("products/2", 200), ("products/1", 0)]
    assert shares_of(Money(1000, "USD"), lines) == (
        Share(product="products/1", amount=333),
        Share(product="products/2", amount=667),
    )
    assert shares_of(Money(7, "USD"), []) == (Share(product="", amount=7),)


def test_stays_end_in_the_next_stage_and_the_last_one_in_how_the_deal_was_closed():
    visits = [
        Visit(stage="a", enter_time=AT, leave_time=AT.replace(day=3)),
        Visit(stage="b", enter_time=AT.replace(day=3), leave_time=AT.replace(day=4)),
    ]
    assert passages_of(visits, "WON") == (
        Passage(stage="a", month=MARCH, after="b", seconds=2 * 86_400),
        Passage(stage="b", month=MARCH, after="WON", seconds=86_400),
    )


def test_a_deal_without_history_has_no_stays():
    assert passages_of([], "WON") == ()


def test_a_deal_that_is_still_there_has_no_length_of_stay():
    visits = [Visit(stage="a", enter_time=AT)]
    for state in ("OPEN", "SUSPENDED"):
        assert passages_of(visits, state) == (Passage(stage="a", month=MARCH),)


def test_a_deal_without_a_close_day_is_counted_in_no_month():
    (cell, *_) = deals.cells(Deal(name="opportunities/1", version=1, amount=Money.zero("USD")))
    assert cell.key["month"] == date.min
