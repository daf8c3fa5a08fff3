"""Averages, medians, rates and growth: exact until the one rounding that a reader sees."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from chassis.kernel.values import SCALE, Money, minor_digits, round_div

_CENT_OF_PERCENT = SCALE // 100  # rates are shown with two decimals: 63.15


def average(total: Money, count: int) -> Money | None:
    """The mean amount, half up to what the currency is paid in; nothing when there is nothing."""
    if not count:
        return None
    step = 10 ** (4 - minor_digits(total.currency))
    return Money(round_div(total.amount, count * step) * step, total.currency)


def median(lower: Money, upper: Money) -> Money:
    """Between the two middle amounts (the same one twice when the count is odd), half up to the cent."""
    both = lower + upper
    middle = average(both, 2)
    assert middle is not None
    return middle


def mean_days(days: int, count: int) -> Decimal | None:
    """The mean number of days with two decimals, half up; nothing when there is nothing."""
    return Decimal(round_div(days * 100, count)).scaleb(-2) if count else None


def rate(part: int, whole: int) -> Decimal | None:
    """What part of the whole, in percent with two decimals, half up; nothing when the whole is nothing."""
    return Decimal(round_div(part * 10_000, whole)).scaleb(-2) if whole else None


def growth(now: int, before: int) -> Decimal | None:
    """How much more (or less) than before, in percent with two decimals; nothing when before was nothing."""
    return rate(now - before, abs(before)) if before else None


def weighted(amount_by_percent: Decimal, currency: str) -> Money:
    """Money from Σ amount × probability as the tables count them: both in ten-thousandths, so / 10⁶."""
    exact = amount_by_percent / (100 * SCALE)
    return Money(int(exact.to_integral_value(ROUND_HALF_UP)), currency)
