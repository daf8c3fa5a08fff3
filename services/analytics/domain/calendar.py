"""Months and quarters as reports count them: calendar ones, named so that they sort."""

from __future__ import annotations

from datetime import date, timedelta

from chassis.kernel.values import Period

NO_MONTH = date.min  # what has no day yet is counted in a month of its own


def month_of(day: date) -> date:
    """The first day of its month: what a month is called in every table."""
    return day.replace(day=1)


def add_months(day: date, months: int) -> date:
    """The first day of the month so many months later (or earlier)."""
    index = day.year * 12 + day.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def quarter_of(day: date) -> Period:
    """The calendar quarter a day lies in."""
    first = date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
    return Period(first, add_months(first, 3))


def year_of(day: date) -> Period:
    """The calendar year a day lies in."""
    return Period(date(day.year, 1, 1), date(day.year + 1, 1, 1))


def whole_months(start: date | None, end: date | None) -> bool:
    """Whether a range (end excluded, either side open) is made of whole months: month cells answer it."""
    return all(day is None or day.day == 1 for day in (start, end))


def months_until(start: date, day: date) -> int:
    """How many calendar months lie between: 0 in the same month."""
    return (day.year - start.year) * 12 + day.month - start.month


def after_days(day: date, days: int) -> date:
    """The day so many days later."""
    return day + timedelta(days=days)
