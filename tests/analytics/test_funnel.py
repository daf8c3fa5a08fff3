"""The funnel's forecasts: what stands in the stages, times the rates, in its months."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.kernel.values import Money, Percent
from services.analytics.domain.funnel import Rung, by_month, coverage, durations, ladder, win_rates

TODAY = date(2026, 11, 21)
STAGES = ("potential", "bidding", "negotiation")


def rung(stage: str, value: str, rate: str, days: int = 30) -> Rung:
    return Rung(stage=stage, value=Money.of(value, "CNY"), rate=Percent.of(rate), days=Fraction(days))


CLASSIC = [
    rung("potential", "500000", "50"),
    rung("bidding", "250000", "80"),
    rung("negotiation", "200000", "90"),
]
EACH = Money.of(180_000, "CNY")


@pytest.mark.req("ANA-10")
def test_the_classic_funnel_brings_the_same_in_each_of_the_next_three_months():
    months = by_month(ladder(CLASSIC, TODAY), TODAY, 3, "CNY")
    assert months == [
        (date(2026, 11, 1), Money.zero("CNY")),
        (date(2026, 12, 1), EACH),
        (date(2027, 1, 1), EACH),
        (date(2027, 2, 1), EACH),
    ]


def test_a_win_rate_is_the_product_of_all_rates_ahead():
    assert win_rates(CLASSIC) == [Percent.of("36"), Percent.of("72"), Percent.of("90")]


def test_the_last_stage_closes_first():
    assert [one.month for one in ladder(CLASSIC, TODAY)] == [
        date(2027, 2, 1),
        date(2027, 1, 1),
        date(2026, 12, 1),
    ]


def test_durations_shift_by_the_days_of_all_stages_ahead():
    slow = [
        rung("potential", "100", "50", 45),
        rung("bidding", "100", "80", 5),
        rung("negotiation", "100", "90", 20),
    ]
    # 20 days: 11 December; 25: 16 December; 70: 30 January.
    assert [one.month for one in durations(slow, TODAY)] == [
        date(2027, 1, 1),
        date(2026, 12, 1),
        date(2026, 12, 1),
    ]


def test_both_methods_expect_the_same_in_total():
    total = [sum(one.amount.amount for one in method(CLASSIC, TODAY)) for method in (ladder, durations)]
    assert total[0] == total[1] == 3 * EACH.amount


rungs = st.lists(
    st.builds(
        Rung,
        stage=st.just("s"),
        value=st.integers(0, 10**14).map(lambda a: Money(a, "CNY")),
        rate=st.integers(1, 1_000_000).map(Percent),
        days=st.integers(0, 400).map(Fraction),
    ),
    min_size=1,
    max_size=8,
)


@given(rungs)
def test_nothing_brings_more_than_stands_in_it(steps):
    for step, one in zip(steps, ladder(steps, TODAY), strict=True):
        assert 0 <= one.amount.amount <= step.value.amount


@given(rungs)
def test_months_hold_everything_that_is_expected(steps):
    expected = ladder(steps, TODAY)
    months = by_month(expected, TODAY, len(steps), "CNY")
    assert sum(total.amount for _, total in months) == sum(one.amount.amount for one in expected)


@pytest.mark.req("ANA-11")
def test_a_month_below_eighty_percent_of_the_usual_is_thin():
    ahead = [(date(2026, 12, 1), Money.of(80, "CNY")), (date(2027, 1, 1), Money.of("79.99", "CNY"))]
    first, second = coverage(ahead, Money.of(100, "CNY"))
    assert (first.thin, second.thin) == (False, True)
    assert second.missing == Money.of("20.01", "CNY")


@pytest.mark.req("ANA-11")
def test_without_history_the_months_are_measured_by_their_own_mean():
    ahead = [(date(2026, 12, 1), Money.of(300, "CNY")), (date(2027, 1, 1), Money.zero("CNY"))]
    assert [month.thin for month in coverage(ahead, Money.zero("CNY"))] == [False, True]


@pytest.mark.req("ANA-11")
def test_the_classic_funnel_is_stable():
    ahead = by_month(ladder(CLASSIC, TODAY), TODAY, 3, "CNY")[1:]
    assert not any(month.thin for month in coverage(ahead, EACH))
