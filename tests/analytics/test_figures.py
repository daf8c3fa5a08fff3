"""Averages, rates and periods: rounded once, where a reader sees them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.kernel.values import Money
from services.analytics.domain.calendar import (
    add_months,
    month_of,
    months_until,
    quarter_of,
    whole_months,
    year_of,
)
from services.analytics.domain.figures import average, growth, mean_days, median, rate, weighted


def test_an_average_is_rounded_half_up_to_the_cent():
    assert average(Money.of("10005534", "USD"), 4238) == Money.of("2360.91", "USD")
    assert average(Money.of("0.01", "USD"), 2) == Money.of("0.01", "USD")
    assert average(Money.of("-0.01", "USD"), 2) == Money.of("-0.01", "USD")


def test_an_average_is_an_amount_that_can_be_paid():
    assert average(Money.of(100, "JPY"), 3) == Money.of(33, "JPY")


def test_an_average_is_not_rounded_twice():
    # 0.00495 is below half a cent; by way of ten-thousandths it would be 0.0050 and then 0.01.
    assert average(Money(99, "USD"), 2) == Money(0, "USD")


def test_nothing_has_no_average():
    assert average(Money.zero("USD"), 0) is None
    assert mean_days(0, 0) is None and rate(0, 0) is None and growth(5, 0) is None


def test_a_median_of_an_even_count_lies_in_the_middle():
    assert median(Money.of(1117, "USD"), Money.of(1117, "USD")) == Money.of(1117, "USD")
    assert median(Money.of("1.00", "USD"), Money.of("1.01", "USD")) == Money.of("1.01", "USD")


def test_rates_and_days_have_two_decimals():
    assert (rate(4238, 4238 + 2473), rate(4238, 8800)) == (Decimal("63.15"), Decimal("48.16"))
    assert mean_days(219_454, 4238) == Decimal("51.78")


@pytest.mark.parametrize(
    ("now", "before", "percent"), [(110, 100, "10.00"), (90, 100, "-10.00"), (10, -10, "200.00")]
)
def test_growth_says_how_much_more_than_before(now, before, percent):
    assert growth(now, before) == Decimal(percent)


def test_weighted_money_is_exact_to_ten_thousandths():
    assert weighted(Decimal(1_000_000 * 333_333), "CNY") == Money(333_333, "CNY")
    assert weighted(Decimal(500_000), "CNY") == Money(1, "CNY")


days = st.dates(date(2, 1, 1), date(9900, 12, 31))


@given(days)
def test_a_day_lies_in_its_month_its_quarter_and_its_year(day):
    assert month_of(day).day == 1 and month_of(day) <= day
    assert day in quarter_of(day) and day in year_of(day)
    assert len(list(quarter_of(day).months())) == 3


@given(days, st.integers(-12, 600))
def test_months_count_back_as_they_count_forth(day, months):
    there = add_months(day, months)
    assert months_until(day, there) == months
    assert add_months(there, -months) == month_of(day)


def test_only_first_days_make_whole_months():
    assert whole_months(date(2017, 10, 1), None) and whole_months(None, date(2018, 1, 1))
    assert not whole_months(date(2017, 10, 2), date(2018, 1, 1))
