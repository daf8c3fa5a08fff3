"""What a share is: one record within the reach of one more user or team, for reading or for changing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chassis.kernel.record import Record, replace
from chassis.kernel.refusals import Refused, invalid

MOST_OF_A_RECORD, MOST_OF_A_GRANTEE = 100, 1000


class Access(StrEnum):
    """How far a share goes; writing is reading too."""

    READ = "READ"
    WRITE = "WRITE"


@dataclass(frozen=True, kw_only=True)
class Share(Record):
    """A record that somebody may reach beside those whose scope does."""

    record: str  # "customers/…"
    grantee: str  # "users/…" or "teams/…"
    access: Access = Access.READ
    expire_time: datetime | None = None
    reason: str = ""

    def check(self) -> None:
        """It is of one record with one user or team."""
        if not self.record.rpartition("/")[2]:
            raise invalid("record", "must name a record")
        if not self.grantee.startswith(("users/", "teams/")):
            raise invalid("grantee", "must be a user or a team")

    def good(self, at: datetime) -> bool:
        """Whether it reaches anybody at that time."""
        return self.delete_time is None and (self.expire_time is None or at < self.expire_time)

    def again(self, access: Access, expire_time: datetime | None, reason: str) -> Share:
        """The same two, for something else from now on."""
        return replace(self, access=access, expire_time=expire_time, reason=reason)

    def end(self, *, at: datetime) -> Share:
        """Over; a second end is no other."""
        return self if self.delete_time else replace(self, delete_time=at)


def check_until(expire_time: datetime | None, *, at: datetime) -> None:
    """Refuse a share that would be over before it begins."""
    if expire_time is not None and expire_time <= at:
        raise invalid("expire_time", "must lie in the future")


def check_few(name: str, there: int, limit: int) -> None:
    """Refuse one more than *limit* shares of a record, or with one user or team."""
    if there >= limit:
        raise Refused("SHARED_TOO_OFTEN", name=name, limit=str(limit))
