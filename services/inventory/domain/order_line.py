"""One line of an order: what it costs, and how far its goods have come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from chassis.kernel.pricing import NOTHING
from chassis.kernel.record import replace
from chassis.kernel.refusals import invalid
from chassis.kernel.values import Money, Percent, Quantity
from services.inventory.domain.price_list import PriceList, price_of
from services.inventory.domain.product import Product

NONE = Quantity(0)


@dataclass(frozen=True, kw_only=True)
class OrderLine:
    """A priced line, and how far its goods have come."""

    product: str = ""
    description: str = ""
    quantity: Quantity
    unit_price: Money | None = None  # unsaid, as the tax, only until the order is first kept
    discount_percent: Percent = NOTHING
    tax_percent: Percent | None = None
    net: Money | None = None
    tax: Money | None = None
    sku: str = ""
    category: str = ""
    stocked: bool = False
    reserved: Quantity = NONE
    shipped: Quantity = NONE
    delivered: Quantity = NONE

    @property
    def unshipped(self) -> Quantity:
        """What has still to leave."""
        return self.quantity - self.shipped

    @property
    def short(self) -> Quantity:
        """What has still to leave and is not promised from stock."""
        return self.unshipped - self.reserved if self.stocked else NONE

    def described(
        self,
        product: Product | None,
        prices: Iterable[PriceList],
        *,
        currency: str,
        customer: str,
        on: date,
        field: str,
    ) -> OrderLine:
        """With what it leaves unsaid taken from the product and its price; a typed line says all itself."""
        if product is None:
            if self.unit_price is None:
                raise invalid(f"{field}.unit_price", "is required of a line without a product")
            return replace(self, tax_percent=self.tax_percent or NOTHING, sku="", category="", stocked=False)
        unit_price = self.unit_price
        if unit_price is None:
            unit_price = price_of(
                product,
                prices,
                name=self.product,
                currency=currency,
                customer=customer,
                quantity=self.quantity,
                on=on,
            ).unit_price
        return replace(
            self,
            unit_price=unit_price,
            tax_percent=product.tax_percent if self.tax_percent is None else self.tax_percent,
            description=self.description or product.display_name,
            sku=product.sku,
            category=product.category,
            stocked=product.stocked,
        )
