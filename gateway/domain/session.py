"""How long somebody stays signed in on one device, and what ends it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from chassis.kernel.lifecycle import Lifecycle
from chassis.kernel.record import Owned, replace
from chassis.kernel.refusals import Refused

ACCESS = timedelta(minutes=10)
REFRESH = timedelta(days=30)
FRESH = timedelta(minutes=10)  # a sign-in that still says who sits there
# A browser is left open on a desk.
IDLE, ABSOLUTE = timedelta(minutes=30), timedelta(hours=12)
# When it was last used is written no more often than this.
SEEN = timedelta(minutes=1)
# Two tabs may refresh at once: the immediate parent gets the same pair again for this long.
GRACE = timedelta(seconds=10)
MOST = 50  # active sessions of one user: the next one ends the oldest


class Kind(StrEnum):
    """What stands for it on the device."""

    TOKENS = "TOKENS"
    BROWSER = "BROWSER"


class State(StrEnum):
    """Whether its tokens are good."""

    ACTIVE = "ACTIVE"
    REVOKED = "REVOKED"


LIFECYCLE = Lifecycle({
    "revoke": ({State.ACTIVE}, State.REVOKED),
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Session(Owned):
    """One device on which its owner is signed in: a family of token pairs, each from the one before."""

    state: State = State.ACTIVE
    device: str = ""
    network: str = ""
    generation: int = 1
    rotate_time: datetime
    expire_time: datetime
    end_reason: str = ""
    kind: Kind = Kind.TOKENS
    last_used_time: datetime | None = None

    @property
    def access_expire_time(self) -> datetime:
        """When the present access token ends."""
        return self.rotate_time + ACCESS

    def good(self, at: datetime) -> bool:
        """Whether it has neither been ended nor run out, nor lain idle in a browser."""
        return self.state is State.ACTIVE and at < self.good_until

    @property
    def good_until(self) -> datetime:
        """When it ends unless it is used or refreshed before."""
        if self.kind is Kind.BROWSER and self.last_used_time:
            return min(self.expire_time, self.last_used_time + IDLE)
        return self.expire_time

    def unseen(self, at: datetime) -> bool:
        """Whether its last use is to be written anew."""
        return self.last_used_time is None or at - self.last_used_time >= SEEN

    def revoke(self, reason: str) -> Session:
        """Ended, with all its tokens."""
        return replace(self, state=LIFECYCLE.after("revoke", self.state), end_reason=reason)

    def refresh(self, generation: int, *, at: datetime) -> Session | None:
        """After a refresh token of *generation* came in; None when that token had been used up.

        The present generation makes the next one. The one just before it, within the grace, changes
        nothing: whoever asked twice gets the same pair. Anything older was copied by somebody.
        """
        if not self.good(at) or self.kind is Kind.BROWSER:
            raise Refused("SESSION_ENDED")
        if generation == self.generation:
            return replace(
                self, generation=generation + 1, rotate_time=at, expire_time=at + REFRESH, last_used_time=at
            )
        if generation == self.generation - 1 and at - self.rotate_time <= GRACE:
            return self
        return None


def begin(
    key: str, *, owner: str, team: str, device: str, network: str, at: datetime, kind: Kind = Kind.TOKENS
) -> Session:
    """A session that begins now."""
    lasts = ABSOLUTE if kind is Kind.BROWSER else REFRESH
    return Session(
        id=key, owner=owner, team=team, device=device[:200], network=network[:100], kind=kind,
        rotate_time=at, expire_time=at + lasts, last_used_time=at,
    )  # fmt: skip
