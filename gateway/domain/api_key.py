"""What a key for a program is, and how long it is good."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from chassis.kernel.lifecycle import Lifecycle
from chassis.kernel.record import Owned, replace
from chassis.kernel.refusals import Refused, invalid
from gateway.domain.user import Kind, User

USUAL = timedelta(days=90)
LONGEST = timedelta(days=366)
MOST = 50  # active keys of one owner
GRANTED = timedelta(minutes=10)  # what a token obtained with a key lives
SEEN = timedelta(minutes=1)  # how exactly it is known when a key was last used


class State(StrEnum):
    """Whether it is good, as long as it has not run out."""

    ACTIVE = "ACTIVE"
    REVOKED = "REVOKED"


LIFECYCLE = Lifecycle({
    "revoke": ({State.ACTIVE}, State.REVOKED),
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ApiKey(Owned):
    """A credential that acts for its owner, within a share of the owner's permissions."""

    display_name: str
    state: State = State.ACTIVE
    permissions: tuple[str, ...] = ()  # patterns: the most it may do
    expire_time: datetime | None = None
    hint: str = ""
    last_used_time: datetime | None = None

    @property
    def key(self) -> str:
        """Never kept: the answer that makes a key shows it, once."""
        return ""

    def check(self) -> None:
        """It is for something and may do something."""
        if not self.display_name.strip():
            raise invalid("display_name", "must say what the key is for")
        if not self.permissions:
            raise invalid("permissions", "must hold at least one permission")

    def issued(self, owner: User, *, by: str, at: datetime) -> ApiKey:
        """For its maker or a service account, with an end that is neither past nor far."""
        path = f"users/{owner.id}"
        if path != by and owner.kind is not Kind.SERVICE_ACCOUNT:
            raise Refused("KEY_FOR_ANOTHER", owner=path)
        end = self.expire_time or at + USUAL
        if not at < end <= at + LONGEST:
            raise invalid("expire_time", f"must lie within the next {LONGEST.days} days")
        return replace(self, owner=path, team=owner.team, expire_time=end)

    def good(self, at: datetime) -> bool:
        """Whether it has neither been ended nor run out."""
        return self.state is State.ACTIVE and self.expire_time is not None and at < self.expire_time

    def unseen(self, at: datetime) -> bool:
        """Whether that it is used now has to be written down."""
        return self.last_used_time is None or at - self.last_used_time >= SEEN

    def granted_until(self, at: datetime) -> datetime:
        """When a token obtained with it now ends: soon, and not after the key itself."""
        assert self.expire_time is not None
        return min(at + GRANTED, self.expire_time)

    def revoke(self) -> ApiKey:
        """Ended for good."""
        return replace(self, state=LIFECYCLE.after("revoke", self.state))
