"""Every change of stock, for ever."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from chassis.kernel.record import Record
from chassis.kernel.refusals import invalid
from chassis.kernel.values import Quantity

# Places outside all warehouses.
SUPPLIER = "SUPPLIER"
CUSTOMER = "CUSTOMER"
ADJUSTMENT = "ADJUSTMENT"
TRANSIT = "TRANSIT"


@dataclass(frozen=True, kw_only=True)
class Movement(Record):
    """Goods went from one place to another on a day; never changed, corrected by another movement."""

    product: str
    sku: str
    source: str
    destination: str
    quantity: Quantity
    effective_date: date
    reason: str = ""
    order: str = ""
    shipment: str = ""

    def check(self) -> None:
        """Something moved, and it moved somewhere."""
        if self.quantity.amount <= 0:
            raise invalid("quantity", "must be more than zero")
        if self.source == self.destination:
            raise invalid("destination", "must be another place than the source")
