"""What every commercial paper has: lines at a price, and a discount that somebody may have to allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from chassis.kernel.approval import Step
from chassis.kernel.pricing import NOTHING, Line, RoundingMode, TaxMode, Totals, price
from chassis.kernel.record import Owned, replace
from chassis.kernel.refusals import invalid
from chassis.kernel.values import WHOLE, Percent, round_div

ASK_MANAGER_ABOVE = Percent.of("10")
ASK_EXECUTIVE_ABOVE = Percent.of("25")


@dataclass(frozen=True, kw_only=True)
class Paper(Owned):
    """A quote, a contract or an invoice: its lines and the terms they are priced by."""

    lines: tuple[Line, ...] = ()
    currency: str = ""
    tax_mode: TaxMode = TaxMode.EXCLUSIVE
    rounding_mode: RoundingMode = RoundingMode.HALF_UP
    precision: int = 0
    discount_percent: Percent = NOTHING
    totals: Totals | None = None

    def priced(self) -> Self:
        """With every net, tax and total computed; the currency is the first line's where none is said."""
        currency = self.currency or (self.lines[0].unit_price.currency if self.lines else "")
        if not currency:
            raise invalid("currency", "is required where there are no lines")
        priced = price(
            self.lines,
            currency=currency,
            document_discount=self.discount_percent,
            tax_mode=self.tax_mode,
            rounding_mode=self.rounding_mode,
            precision=self.precision,
        )
        return replace(self, currency=currency, lines=priced.lines, totals=priced.totals)

    def takes(self, other: Paper) -> Self:
        """With the other paper's lines and terms, so that both come to the same."""
        return replace(
            self,
            lines=other.lines,
            currency=other.currency,
            tax_mode=other.tax_mode,
            rounding_mode=other.rounding_mode,
            precision=other.precision,
            discount_percent=other.discount_percent,
            totals=other.totals,
        )

    def same_terms(self, other: Paper) -> bool:
        """Whether both are priced alike, so that there is nothing to compute again."""
        return self.takes(other) == self


def deepest_discount(lines: tuple[Line, ...], discount_percent: Percent) -> Percent:
    """The largest part of a line's price that is given away, the document's discount included."""
    document = WHOLE.amount - discount_percent.amount
    kept = min((WHOLE.amount - line.discount_percent.amount for line in lines), default=WHOLE.amount)
    return Percent(WHOLE.amount - round_div(kept * document, WHOLE.amount, "DOWN"))


def discount_steps(discount: Percent) -> tuple[Step, ...]:
    """Who has to allow a discount: the sales manager above 10 %, an executive as well above 25 %."""
    asked = (("sales_manager", ASK_MANAGER_ABOVE), ("executive", ASK_EXECUTIVE_ABOVE))
    return tuple(
        Step(role=role, why=f"discount {discount} % is over {limit} %")
        for role, limit in asked
        if discount > limit
    )
