"""What a record about people can do besides: forget them, and stay as what happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from chassis.kernel.record import Record


@dataclass(frozen=True, kw_only=True)
class Erasable(Record):
    """A record whose personal values can be erased for good; everything else in it stays."""

    erase_time: datetime | None = None

    def forgotten(self) -> Self:
        """Without what tells of the person in fields that the contract does not mark as personal.

        Those that it marks are emptied by the store. Done twice, it is the same.
        """
        return self
