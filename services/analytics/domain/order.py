"""What analytics keeps of an order, and which cells it fills while it counts as revenue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from chassis.kernel.allocation import allocate
from chassis.kernel.values import Money
from services.analytics.domain.calendar import NO_MONTH, month_of
from services.analytics.domain.cells import Cell

# An order counts as revenue from its confirmation on, unless it is cancelled.
COUNTED = frozenset({"CONFIRMED", "PARTLY_SHIPPED", "SHIPPED", "DELIVERED", "SETTLED"})
UNSHIPPED = frozenset({"CONFIRMED", "PARTLY_SHIPPED"})


@dataclass(frozen=True, kw_only=True)
class Sold:
    """What an order sells of one product, in ten-thousandths; the parts sum to the order exactly."""

    product: str
    net: int
    gross: int
    quantity: int


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order as it stands; amounts are in `currency`."""

    name: str
    version: int
    customer: str = ""
    owner: str = ""
    team: str = ""
    collaborators: tuple[str, ...] = ()
    state: str = "DRAFT"
    currency: str = ""
    net: int = 0
    gross: int = 0
    quantity: int = 0
    freight: int = 0
    order_date: date | None = None
    required_date: date | None = None
    shipped_date: date | None = None
    counted: bool = False  # whether it is revenue
    sold: tuple[Sold, ...] = ()

    @property
    def late(self) -> bool:
        """Wholly on the way, but only after the day it was required."""
        return bool(self.shipped_date and self.required_date and self.shipped_date > self.required_date)

    @property
    def month(self) -> date:
        """The month of the order day; what is not known has a month of its own."""
        return month_of(self.order_date) if self.order_date else NO_MONTH


def counts(state: str, held_from: str) -> bool:
    """Whether an order in that state is revenue; a held one is what it was held from."""
    return (held_from if state == "ON_HOLD" else state) in COUNTED


def sold_of(gross: Money, lines: Sequence[tuple[str, Money, int, Money]]) -> tuple[Sold, ...]:
    """What is sold by product, from lines of (product, unit price, quantity, net).

    The order's gross is handed to its lines by quantity × unit price, so that the parts sum to it also
    when prices hold the tax.
    """
    weights = [max(0, price.amount * quantity) for _, price, quantity, _ in lines]
    parts = allocate(gross.amount, weights) if lines else []
    sums: dict[str, list[int]] = {}
    for (product, _, quantity, net), part in zip(lines, parts, strict=True):
        row = sums.setdefault(product, [0, 0, 0])
        row[0] += net.amount
        row[1] += part
        row[2] += quantity
    return tuple(Sold(product=p, net=n, gross=g, quantity=q) for p, (n, g, q) in sums.items())


def cells(order: Order) -> Iterator[Cell]:
    """Every cell the order fills: none while it does not count."""
    if not order.counted:
        return
    where = {
        "month": order.month, "owner": order.owner, "team": order.team,
        "customer": order.customer, "currency": order.currency,
    }  # fmt: skip
    whole = {"net": order.net, "gross": order.gross, "quantity": order.quantity}
    yield Cell(
        "sales_by_customer", where, {**whole, "orders": 1, "freight": order.freight, "late": int(order.late)}
    )
    for part in order.sold:
        sums = {"net": part.net, "gross": part.gross, "quantity": part.quantity, "orders": 1}
        yield Cell("sales_by_product", {**where, "product": part.product}, sums)
