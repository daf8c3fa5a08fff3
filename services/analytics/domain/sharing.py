"""What analytics keeps of a share: which record is within reach of whom, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """A share of a deal, an order or an invoice as it stands."""

    name: str
    version: int
    record: str = ""
    grantee: str = ""  # "users/…" or "teams/…"
    access: str = ""
    expire_time: datetime | None = None
    delete_time: datetime | None = None
