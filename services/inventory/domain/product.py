"""What is sold: goods that are kept in stock, and services that are not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chassis.kernel.record import Record
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import WHOLE, Money, Percent, Quantity

UNTAXED, NEVER_LOW = Percent(0), Quantity(0)


class Kind(StrEnum):
    """Whether it is kept in a warehouse."""

    STOCKED = "STOCKED"
    SERVICE = "SERVICE"


@dataclass(frozen=True, kw_only=True)
class Product(Record):
    """Something that is sold, by its sku."""

    sku: str
    display_name: str
    description: str = ""
    category: str = ""
    unit: str = ""
    kind: Kind = Kind.STOCKED
    tax_percent: Percent = UNTAXED
    list_price: Money | None = None
    cost: Money | None = None
    supplier: str = ""
    reorder_level: Quantity = NEVER_LOW
    discontinued: bool = False
    external_id: str = ""

    def check(self) -> None:
        """Percentages, prices and levels within their ranges."""
        if not 0 <= self.tax_percent.amount <= WHOLE.amount:
            raise invalid("tax_percent", "must be from 0 to 100")
        for field, money in (("list_price", self.list_price), ("cost", self.cost)):
            if money and money.amount < 0:
                raise invalid(field, "must not be negative")
        if self.reorder_level.amount < 0:
            raise invalid("reorder_level", "must not be negative")

    @property
    def stocked(self) -> bool:
        """Whether an order of it takes stock."""
        return self.kind == Kind.STOCKED

    def must_be_stocked(self) -> Product:
        """Itself, unless it is a service: then there is no stock to speak of."""
        if not self.stocked:
            raise Refused("NOT_STOCKED", sku=self.sku)
        return self

    def is_low(self, available: Quantity) -> bool:
        """Whether so little is left that someone should be told."""
        return self.stocked and not self.discontinued and available.amount < self.reorder_level.amount
