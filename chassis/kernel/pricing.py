"""What a commercial paper comes to: quote, contract, order, invoice and credit note all ask here.

Every product is exact and rounded once; what a document discounts and taxes as a whole is handed back to
its lines by largest remainder, so the lines sum to the document exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from chassis.kernel.allocation import allocate
from chassis.kernel.record import replace
from chassis.kernel.refusals import invalid
from chassis.kernel.values import LARGEST, SCALE, WHOLE, Money, Percent, Quantity, minor_digits, round_div

MOST_LINES = 1000
NOTHING = Percent(0)


class RoundingMode(StrEnum):
    """How an exact product becomes an amount that can be paid."""

    HALF_UP = "HALF_UP"
    HALF_EVEN = "HALF_EVEN"
    DOWN = "DOWN"


class TaxMode(StrEnum):
    """Whether unit prices already hold the tax."""

    EXCLUSIVE = "EXCLUSIVE"
    INCLUSIVE = "INCLUSIVE"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a paper; `net` and `tax` are computed, after every discount, and sum to the document's."""

    product: str = ""  # "products/…"; empty for a typed line
    description: str = ""
    quantity: Quantity
    unit_price: Money
    discount_percent: Percent = NOTHING
    tax_percent: Percent = NOTHING
    net: Money | None = None
    tax: Money | None = None


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What a paper comes to: gross − discount = net, net + tax = total; all without tax but the last two."""

    gross: Money
    discount: Money
    net: Money
    tax: Money
    total: Money


@dataclass(frozen=True, kw_only=True)
class Priced(Totals):
    """The totals with the lines that sum to them."""

    lines: tuple[Line, ...]

    @property
    def totals(self) -> Totals:
        """The totals alone, as a document keeps them."""
        return Totals(gross=self.gross, discount=self.discount, net=self.net, tax=self.tax, total=self.total)


def price(
    lines: Sequence[Line],
    *,
    currency: str,
    document_discount: Percent | Money = NOTHING,
    tax_mode: TaxMode = TaxMode.EXCLUSIVE,
    rounding_mode: RoundingMode = RoundingMode.HALF_UP,
    precision: int = 0,
) -> Priced:
    """The lines with their nets and taxes, and the document's totals.

    *precision* is how many decimals nets and taxes keep; 0 means the currency's own. *document_discount*
    comes off after the lines' own discounts: a percentage of what is left, or an amount (with the tax in
    it when prices hold the tax).
    """
    _check(lines, currency, document_discount, precision)
    step = _step(currency, precision)
    amounts = [_amount(line, line.discount_percent, step, rounding_mode) for line in lines]
    off = _discount(sum(amounts), document_discount, step, rounding_mode)
    amounts = [amount - part for amount, part in zip(amounts, allocate(off, amounts, step), strict=True)]
    nets, taxes = _taxed(lines, amounts, tax_mode, step, rounding_mode)
    full = [_amount(line, NOTHING, step, rounding_mode) for line in lines]
    gross = sum(_taxed(lines, full, tax_mode, step, rounding_mode)[0])
    net, tax = sum(nets), sum(taxes)
    if gross + tax > LARGEST:
        raise invalid("lines", "come to more than can be kept")
    return Priced(
        lines=tuple(
            replace(line, net=Money(net, currency), tax=Money(tax, currency))
            for line, net, tax in zip(lines, nets, taxes, strict=True)
        ),
        gross=Money(gross, currency),
        discount=Money(gross - net, currency),
        net=Money(net, currency),
        tax=Money(tax, currency),
        total=Money(net + tax, currency),
    )


def part(
    line: Line,
    *,
    before: Quantity,
    now: Quantity,
    rounding_mode: RoundingMode = RoundingMode.HALF_UP,
    precision: int = 0,
) -> Line:
    """The share of a priced line for *now* of its quantity, when *before* of it was already taken.

    Shares are differences of running totals, so however a line is cut, its parts sum to it exactly.
    """
    if line.net is None or line.tax is None:
        raise invalid("lines", "must be priced before they are divided")
    if now.amount <= 0 or before.amount < 0 or before.amount + now.amount > line.quantity.amount:
        raise invalid("quantity", f"must be more than zero and at most what is left of {line.quantity}")
    step = _step(line.net.currency, precision)

    def share(whole: Money) -> Money:
        until, since = (
            _running(whole, upto, line.quantity, step, rounding_mode) for upto in (before + now, before)
        )
        return Money(until - since, whole.currency)

    return replace(line, quantity=now, net=share(line.net), tax=share(line.tax))


def total_of(
    lines: Sequence[Line],
    *,
    currency: str,
    tax_mode: TaxMode = TaxMode.EXCLUSIVE,
    rounding_mode: RoundingMode = RoundingMode.HALF_UP,
    precision: int = 0,
) -> Totals:
    """The totals of lines that are priced already: parts of an order, or an invoice's lines turned back."""
    net = sum(line.net.amount for line in lines if line.net)
    tax = sum(line.tax.amount for line in lines if line.tax)
    step = _step(currency, precision)
    full = [_amount(line, NOTHING, step, rounding_mode) for line in lines]
    # A part's share of a rounded line may lie a unit above its own quantity × price: no discount is negative.
    gross = max(net, sum(_taxed(lines, full, tax_mode, step, rounding_mode)[0]))
    values = {"gross": gross, "discount": gross - net, "net": net, "tax": tax, "total": net + tax}
    return Totals(**{name: Money(amount, currency) for name, amount in values.items()})


def _check(lines: Sequence[Line], currency: str, discount: Percent | Money, precision: int) -> None:
    if not 0 <= precision <= 4:
        raise invalid("precision", "must be 0 (the currency's own) to 4")
    if len(lines) > MOST_LINES:
        raise invalid("lines", f"must be at most {MOST_LINES}")
    if isinstance(discount, Percent) and not 0 <= discount.amount <= WHOLE.amount:
        raise invalid("discount_percent", "must be from 0 to 100")
    if isinstance(discount, Money) and (discount.currency != currency or discount.amount < 0):
        raise invalid("discount", f"must be an amount in {currency}, not negative")
    for index, line in enumerate(lines):
        at = f"lines[{index}]"
        if line.quantity.amount <= 0:
            raise invalid(f"{at}.quantity", "must be more than zero")
        if line.unit_price.amount < 0:
            raise invalid(f"{at}.unit_price", "must not be negative")
        if line.unit_price.currency != currency:
            raise invalid(f"{at}.unit_price", f"must be in {currency}, as the document is")
        for field, percent in (
            ("discount_percent", line.discount_percent),
            ("tax_percent", line.tax_percent),
        ):
            if not 0 <= percent.amount <= WHOLE.amount:
                raise invalid(f"{at}.{field}", "must be from 0 to 100")


def _step(currency: str, precision: int) -> int:
    return int(10 ** (4 - (precision or minor_digits(currency))))


def _amount(line: Line, discount: Percent, step: int, mode: RoundingMode) -> int:
    exact = line.quantity.amount * line.unit_price.amount * (WHOLE.amount - discount.amount)
    return round_div(exact, SCALE * WHOLE.amount * step, mode) * step


def _discount(amount: int, discount: Percent | Money, step: int, mode: RoundingMode) -> int:
    if isinstance(discount, Percent):
        return round_div(amount * discount.amount, WHOLE.amount * step, mode) * step
    off = round_div(discount.amount, step, mode) * step
    if off > amount:
        raise invalid("discount", "must not be more than the lines come to")
    return off


def _taxed(
    lines: Sequence[Line], amounts: Sequence[int], tax_mode: TaxMode, step: int, mode: RoundingMode
) -> tuple[list[int], list[int]]:
    """Nets and taxes per line; the tax is computed once per rate, on the sum, as tax offices do."""
    taxes = [0] * len(lines)
    for rate in {line.tax_percent.amount for line in lines}:
        rated = [index for index, line in enumerate(lines) if line.tax_percent.amount == rate]
        whole = WHOLE.amount + (rate if tax_mode == TaxMode.INCLUSIVE else 0)
        tax = round_div(sum(amounts[index] for index in rated) * rate, whole * step, mode) * step
        for index, share in zip(rated, allocate(tax, [amounts[index] for index in rated], step), strict=True):
            taxes[index] = share
    if tax_mode == TaxMode.INCLUSIVE:
        return [amount - tax for amount, tax in zip(amounts, taxes, strict=True)], taxes
    return list(amounts), taxes


def _running(whole: Money, upto: Quantity, of: Quantity, step: int, mode: RoundingMode) -> int:
    if upto.amount == of.amount:
        return whole.amount
    return round_div(whole.amount * upto.amount, of.amount * step, mode) * step
