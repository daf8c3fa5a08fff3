"""What is on hand of a product in a warehouse, and what of it is promised."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.kernel.record import Record, replace
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import Quantity

NONE = Quantity(0)


@dataclass(frozen=True, kw_only=True)
class Stock(Record):
    """A guarded balance: 0 ≤ reserved ≤ on hand, here and in the database."""

    product: str
    warehouse: str
    sku: str
    on_hand: Quantity = NONE
    reserved: Quantity = NONE

    def check(self) -> None:
        """A balance that breaks its law is a defect, not something a caller could mend."""
        if not 0 <= self.reserved.amount <= self.on_hand.amount:
            raise RuntimeError(f"{self.sku}: {self.reserved} reserved of {self.on_hand} on hand")

    @property
    def available(self) -> Quantity:
        """What may still be promised."""
        return self.on_hand - self.reserved

    def receive(self, quantity: Quantity) -> Stock:
        """Goods came in."""
        return replace(self, on_hand=self.on_hand + positive(quantity))

    def take(self, quantity: Quantity) -> Stock:
        """Goods that nobody was promised leave."""
        self._free(positive(quantity))
        return replace(self, on_hand=self.on_hand - quantity)

    def reserve(self, quantity: Quantity) -> Stock:
        """Goods are promised."""
        self._free(positive(quantity))
        return replace(self, reserved=self.reserved + quantity)

    def release(self, quantity: Quantity) -> Stock:
        """A promise is taken back."""
        return replace(self, reserved=self.reserved - positive(quantity))

    def commit(self, quantity: Quantity) -> Stock:
        """Promised goods leave."""
        return replace(self, on_hand=self.on_hand - positive(quantity), reserved=self.reserved - quantity)

    def _free(self, quantity: Quantity) -> None:
        if quantity > self.available:
            raise Refused("STOCK_SHORT", sku=self.sku, asked=quantity, available=self.available)


def positive(quantity: Quantity, field: str = "quantity") -> Quantity:
    """The quantity, refused unless it is more than zero."""
    if quantity.amount <= 0:
        raise invalid(field, "must be more than zero")
    return quantity
