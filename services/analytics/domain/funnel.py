"""What the deals of a pipeline will bring, stage by stage, and when.

Two methods, both offered because they answer different questions:

- `ladder`: one rung a month. The last stage's deals close next month, those of the stage before it a month
  later, and so on. It needs only the success rates and says what the funnel sustains.
- `durations`: a deal closes after the average days of its stage and of every stage ahead. It says when the
  money comes, as far as own history (or the pipeline's allowed days) knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from chassis.kernel.values import WHOLE, Money, Percent, round_div
from services.analytics.domain.calendar import add_months, after_days, month_of, months_until
from services.analytics.domain.figures import average

THIN = Percent.of(80)  # a month that brings less than this share of the usual is thin


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A stage as a forecast sees it: what stands in it, and how it passes on."""

    stage: str
    value: Money
    rate: Percent  # of the value, what passes on to the next stage (from the last: is won)
    days: Fraction = Fraction(30)  # how long deals stay, on average


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What one stage is expected to bring, and in which month."""

    stage: str
    month: date
    amount: Money
    win_rate: Percent


@dataclass(frozen=True, kw_only=True)
class MonthAhead:
    """A coming month: what is expected, what is usual, and whether that is too little."""

    month: date
    amount: Money
    usual: Money
    missing: Money
    thin: bool


def win_rates(rungs: Sequence[Rung]) -> list[Percent]:
    """The share of each stage's value that will be won: its own rate times those of all stages ahead."""
    return [Percent(_nearest(chance * WHOLE.amount)) for chance in _chances(rungs)]


def ladder(rungs: Sequence[Rung], today: date) -> list[Expected]:
    """Stage values × rates, one rung a month: the last stage closes next month, the first one last."""
    return _expect(rungs, [add_months(today, len(rungs) - at) for at in range(len(rungs))])


def durations(rungs: Sequence[Rung], today: date) -> list[Expected]:
    """Stage values × rates, each in the month that the average days of the stages ahead lead to."""
    months, ahead = [], Fraction(0)
    for rung in reversed(rungs):
        ahead += rung.days
        months.append(month_of(after_days(today, _nearest(ahead))))
    return _expect(rungs, months[::-1])


def by_month(
    expected: Sequence[Expected], today: date, months: int, currency: str
) -> list[tuple[date, Money]]:
    """Sums per month, from this one to *months* ahead; whatever lies further is left to a longer look."""
    sums = [Money.zero(currency)] * (months + 1)
    for one in expected:
        if (at := months_until(today, one.month)) <= months:
            sums[at] += one.amount
    return [(add_months(today, at), total) for at, total in enumerate(sums)]


def coverage(ahead: Sequence[tuple[date, Money]], usual: Money, least: Percent = THIN) -> list[MonthAhead]:
    """Which coming months are thin: below *least* of what a month usually brings.

    Where nothing is usual yet, the months are measured by their own mean: income is to stay stable.
    """
    if not usual and ahead:
        whole = Money(sum(total.amount for _, total in ahead), usual.currency)
        usual = average(whole, len(ahead)) or usual
    floor = round_div(usual.amount * least.amount, WHOLE.amount)
    return [
        MonthAhead(
            month=month, amount=total, usual=usual, thin=total.amount < floor,
            missing=Money(max(0, usual.amount - total.amount), usual.currency),
        )
        for month, total in ahead
    ]  # fmt: skip


def _expect(rungs: Sequence[Rung], months: Sequence[date]) -> list[Expected]:
    return [
        Expected(
            stage=rung.stage, month=month, win_rate=Percent(_nearest(chance * WHOLE.amount)),
            amount=Money(_nearest(rung.value.amount * chance), rung.value.currency),
        )
        for rung, month, chance in zip(rungs, months, _chances(rungs), strict=True)
    ]  # fmt: skip


def _chances(rungs: Sequence[Rung]) -> list[Fraction]:
    chances, ahead = [], Fraction(1)
    for rung in reversed(rungs):
        ahead *= Fraction(rung.rate.amount, WHOLE.amount)
        chances.append(ahead)
    return chances[::-1]


def _nearest(exact: Fraction) -> int:
    return round_div(exact.numerator, exact.denominator)
