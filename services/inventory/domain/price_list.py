"""What things cost whom, and when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from chassis.kernel.record import Record
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import Money, Quantity
from services.inventory.domain.product import Product

ANY = Quantity(0)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The price of one product, from one quantity on."""

    product: str
    min_quantity: Quantity = ANY
    unit_price: Money


@dataclass(frozen=True, kw_only=True)
class PriceList(Record):
    """Prices in one currency, for a time, for everybody or for one customer."""

    display_name: str
    currency: str
    customer: str = ""
    start_date: date | None = None
    end_date: date | None = None
    entries: tuple[Entry, ...] = ()

    def check(self) -> None:
        """Dates in order, each price in the list's currency, each quantity break once."""
        if self.start_date and self.end_date and self.end_date < self.start_date:
            raise invalid("end_date", "must not be before start_date")
        breaks = set()
        for index, entry in enumerate(self.entries):
            at = f"entries[{index}]"
            if entry.unit_price.currency != self.currency:
                raise invalid(f"{at}.unit_price", f"must be in {self.currency}, as the list is")
            if entry.unit_price.amount < 0:
                raise invalid(f"{at}.unit_price", "must not be negative")
            if entry.min_quantity.amount < 0:
                raise invalid(f"{at}.min_quantity", "must not be negative")
            if (entry.product, entry.min_quantity) in breaks:
                raise invalid(f"{at}.min_quantity", "stands twice for this product")
            breaks.add((entry.product, entry.min_quantity))

    def holds(self, customer: str, on: date) -> bool:
        """Whether it applies to this customer on this day."""
        begun = self.start_date is None or self.start_date <= on
        over = self.end_date is not None and self.end_date < on
        return begun and not over and self.customer in ("", customer)

    def entry_for(self, product: str, quantity: Quantity) -> Entry | None:
        """The largest quantity break that this quantity reaches."""
        reached = [e for e in self.entries if e.product == product and e.min_quantity <= quantity]
        return max(reached, key=lambda entry: entry.min_quantity, default=None)


@dataclass(frozen=True, kw_only=True)
class Price:
    """What one unit costs, and what says so."""

    unit_price: Money
    price_list: str = ""  # empty: the product's own list price
    min_quantity: Quantity = ANY


def price_of(
    product: Product,
    prices: Iterable[PriceList],
    *,
    name: str,
    currency: str,
    customer: str,
    quantity: Quantity,
    on: date,
) -> Price:
    """The customer's own list before the general ones, the later before the earlier, then the list price.

    *name* is the product's resource name, as the entries of price lists say it.
    """
    found = [
        (bool(each.customer), each.start_date or date.min, each.id, each, entry)
        for each in prices
        if each.currency == currency
        and each.holds(customer, on)
        and (entry := each.entry_for(name, quantity))
    ]
    if found:
        *_, best, entry = max(found, key=lambda each: each[:3])
        return Price(
            unit_price=entry.unit_price,
            price_list=f"priceLists/{best.id}",
            min_quantity=entry.min_quantity,
        )
    if product.list_price is None or product.list_price.currency != currency:
        raise Refused("PRICE_UNKNOWN", sku=product.sku, currency=currency or "any currency")
    return Price(unit_price=product.list_price)
