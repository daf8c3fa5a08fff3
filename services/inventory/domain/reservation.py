"""A promise on stock, resolved at most once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chassis.kernel.lifecycle import Lifecycle
from chassis.kernel.record import Record, replace
from chassis.kernel.values import Quantity


class State(StrEnum):
    """Where a promise stands."""

    HELD = "HELD"
    COMMITTED = "COMMITTED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"


LIFECYCLE = Lifecycle(
    {
        "commit": ({State.HELD}, State.COMMITTED),
        "release": ({State.HELD}, State.RELEASED),
        "expire": ({State.HELD}, State.EXPIRED),
    }
)


@dataclass(frozen=True, kw_only=True)
class Reservation(Record):
    """So much of a product in a warehouse is promised to an order or to a client."""

    product: str
    warehouse: str
    quantity: Quantity
    state: State = State.HELD
    order: str = ""
    order_line: int = 0
    purpose: str = ""
    expire_time: datetime | None = None
    resolve_time: datetime | None = None

    def commit(self, *, at: datetime) -> Reservation:
        """The goods left."""
        return replace(self, state=LIFECYCLE.after("commit", self.state), resolve_time=at)

    def release(self, *, at: datetime) -> Reservation:
        """The goods are free again."""
        return replace(self, state=LIFECYCLE.after("release", self.state), resolve_time=at)

    def expire(self, *, at: datetime) -> Reservation:
        """Its time is over."""
        return replace(self, state=LIFECYCLE.after("expire", self.state), resolve_time=at)

    def split(self, taken: Quantity, *, rest_id: str) -> tuple[Reservation, Reservation | None]:
        """The part that is taken now, and a promise of its own for what stays, if anything does."""
        rest = self.quantity - taken
        if rest.amount <= 0:
            return self, None
        kept = replace(self, id=rest_id, version=0, quantity=rest)
        return replace(self, quantity=taken), kept
