"""What analytics keeps of an invoice: what is still owed on it, and since when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from chassis.kernel.values import Money

OWED = ("POSTED", "PARTLY_PAID")


@dataclass(frozen=True, kw_only=True)
class Invoice:
    """An invoice as it stands."""

    name: str
    version: int
    customer: str = ""
    owner: str = ""
    team: str = ""
    collaborators: tuple[str, ...] = ()
    state: str = "DRAFT"
    open_amount: Money
    due_date: date | None = None
