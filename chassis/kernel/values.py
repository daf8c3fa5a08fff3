"""Money, quantities, percentages and periods, all in whole numbers.

One scale serves all three: an `amount` counts ten-thousandths (of a currency's unit, of a unit of
measure, of a percent). That holds unit prices of four decimals and every ISO 4217 minor unit exactly.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self

from chassis.kernel.refusals import Refused

SCALE = 10_000
LARGEST = 2**63 - 1  # what a bigint column holds
_DECIMAL = re.compile(r"([+-]?)(\d{0,15})(?:\.(\d*))?", re.ASCII)
# ISO 4217: decimals of the currencies that do not have two.
_MINOR_DIGITS = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}


def minor_digits(currency: str) -> int:
    """How many decimals amounts of this currency are paid in (ISO 4217): CNY 2, JPY 0, KWD 3."""
    return _MINOR_DIGITS.get(currency, 2)


def parse_scaled(text: str) -> int:
    """A decimal text as ten-thousandths; ValueError when it is no decimal or has more than four places."""
    match = _DECIMAL.fullmatch(text.strip())
    if not match or not (match[2] or match[3]):
        raise ValueError("must be a decimal number such as 12.5")
    fraction = (match[3] or "").rstrip("0")
    if len(fraction) > 4:
        raise ValueError("must have at most four decimal places")
    scaled = int(match[2] or 0) * SCALE + int(fraction.ljust(4, "0"))
    if scaled > LARGEST:
        raise ValueError("is too large")
    return -scaled if match[1] == "-" else scaled


def format_scaled(amount: int, least: int = 0) -> str:
    """Ten-thousandths as decimal text without idle zeros, but with at least *least* decimals."""
    whole, fraction = divmod(abs(amount), SCALE)
    if not fraction and not least:
        return f"-{whole}" if amount < 0 else str(whole)
    digits = f"{fraction:04d}".rstrip("0").ljust(least, "0")
    return f"{'-' if amount < 0 else ''}{whole}{'.' + digits if digits else ''}"


def round_div(numerator: int, denominator: int, mode: str = "HALF_UP") -> int:
    """The exact quotient of whole numbers, rounded once: HALF_UP (away from zero), HALF_EVEN or DOWN."""
    sign = -1 if (numerator < 0) != (denominator < 0) else 1
    quotient, rest = divmod(abs(numerator), abs(denominator))
    twice = 2 * rest
    up = twice > abs(denominator) or (
        twice == abs(denominator) and (mode == "HALF_UP" or (mode == "HALF_EVEN" and quotient % 2 == 1))
    )
    return sign * (quotient + (1 if up and mode != "DOWN" else 0))


@dataclass(frozen=True, order=True, slots=True)
class Money:
    """An amount in one currency; `amount` counts ten-thousandths of its unit."""

    amount: int
    currency: str

    @classmethod
    def of(cls, text: str | int, currency: str) -> Self:
        """From decimal text: `Money.of("12.50", "CNY")`."""
        return cls(parse_scaled(str(text)), currency)

    @classmethod
    def zero(cls, currency: str) -> Self:
        """Nothing, in a currency."""
        return cls(0, currency)

    def _same(self, other: Money) -> int:
        if self.currency != other.currency:
            raise Refused("CURRENCY_MISMATCH", left=self.currency, right=other.currency)
        return other.amount

    def __add__(self, other: Money) -> Money:
        return Money(self.amount + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.amount - self._same(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount, self.currency)

    def __bool__(self) -> bool:
        return self.amount != 0

    def rounded(self, mode: str = "HALF_UP", digits: int | None = None) -> Money:
        """The nearest amount that can be paid: the currency's decimals unless *digits* says otherwise."""
        step = 10 ** (4 - (minor_digits(self.currency) if digits is None else digits))
        return Money(round_div(self.amount, step, mode) * step, self.currency)

    def __str__(self) -> str:
        return f"{format_scaled(self.amount, minor_digits(self.currency))} {self.currency}"


@dataclass(frozen=True, order=True, slots=True)
class Quantity:
    """How much of something; `amount` counts ten-thousandths of its unit of measure."""

    amount: int

    @classmethod
    def of(cls, text: str | int) -> Self:
        """From decimal text: `Quantity.of("2.5")`."""
        return cls(parse_scaled(str(text)))

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.amount + other.amount)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.amount - other.amount)

    def __bool__(self) -> bool:
        return self.amount != 0

    def __str__(self) -> str:
        return format_scaled(self.amount)


@dataclass(frozen=True, order=True, slots=True)
class Percent:
    """A share of a hundred; `amount` counts ten-thousandths of a percent, so 100 % is 1,000,000."""

    amount: int

    @classmethod
    def of(cls, text: str | int) -> Self:
        """From decimal text: `Percent.of("12.5")` is 12.5 %."""
        return cls(parse_scaled(str(text)))

    def __add__(self, other: Percent) -> Percent:
        return Percent(self.amount + other.amount)

    def __sub__(self, other: Percent) -> Percent:
        return Percent(self.amount - other.amount)

    def __bool__(self) -> bool:
        return self.amount != 0

    def __str__(self) -> str:
        return format_scaled(self.amount)


WHOLE = Percent(100 * SCALE)


def share(of: Money, percent: Percent, mode: str = "HALF_UP") -> Money:
    """That percentage of an amount, rounded once, to ten-thousandths."""
    return Money(round_div(of.amount * percent.amount, WHOLE.amount, mode), of.currency)


@dataclass(frozen=True, order=True, slots=True)
class Period:
    """Whole days from `start` up to but not including `end`."""

    start: date
    end: date

    @classmethod
    def month(cls, year: int, month: int) -> Self:
        """A calendar month."""
        first = date(year, month, 1)
        return cls(first, first + timedelta(days=monthrange(year, month)[1]))

    def months(self) -> Iterator[Period]:
        """The calendar months that begin in it."""
        at = self.start.replace(day=1)
        while at < self.end:
            month = Period.month(at.year, at.month)
            if at >= self.start:
                yield month
            at = month.end

    def __contains__(self, day: date) -> bool:
        return self.start <= day < self.end
