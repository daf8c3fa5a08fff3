"""What a wish to see what is kept back is, who may grant it, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from chassis.kernel.lifecycle import Lifecycle
from chassis.kernel.record import Owned, replace
from chassis.kernel.refusals import Refused, invalid

USUAL = timedelta(days=1)
LONGEST = timedelta(days=7)
MOST = 20  # open or granted ones of one asker: what they lift travels in a token


class State(StrEnum):
    """How far it is."""

    PENDING = "PENDING"
    GRANTED = "GRANTED"
    DENIED = "DENIED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


LIFECYCLE = Lifecycle({
    "grant": ({State.PENDING}, State.GRANTED),
    "deny": ({State.PENDING}, State.DENIED),
    "cancel": ({State.PENDING, State.GRANTED}, State.CANCELLED),
    "revoke": ({State.GRANTED}, State.EXPIRED),
    "expire": ({State.PENDING, State.GRANTED}, State.EXPIRED),
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AccessRequest(Owned):
    """Its owner asks to see a field, of one record or of all, to use a method that reads such fields, or to
    export a list."""

    field: str = ""  # "customers.tax_id"
    record: str = ""  # "customers/…"
    method: str = ""  # "tradewind.analytics.v1.ReportService.QueryRevenue"
    reason: str
    expire_time: datetime | None = None
    state: State = State.PENDING
    decider: str = ""
    comment: str = ""
    decide_time: datetime | None = None
    export: str = ""  # "customers"

    def check(self) -> None:
        """It asks for one thing, and says why."""
        if sum(map(bool, (self.field, self.method, self.export))) != 1:
            raise invalid("field", "must say a field, or else method a method, or export a list")
        if self.record and self.record.partition("/")[0] != self.field.partition(".")[0]:
            raise invalid("record", "must be a record of the noun that the field is of")
        if not self.reason.strip():
            raise invalid("reason", "must say what it is needed for")

    def asked(self, *, at: datetime) -> AccessRequest:
        """With an end that is neither past nor far."""
        end = self.expire_time or at + USUAL
        if not at < end <= at + LONGEST:
            raise invalid("expire_time", f"must lie within the next {LONGEST.days} days")
        return replace(self, state=State.PENDING, expire_time=end, decider="", comment="", decide_time=None)

    def grant(
        self, *, by: str, at: datetime, comment: str = "", until: datetime | None = None
    ) -> AccessRequest:
        """Granted by somebody else, until the time that was asked or a nearer one."""
        assert self.expire_time is not None
        state = LIFECYCLE.after("grant", self.state)
        self._not_oneself(by)
        end = until or self.expire_time
        if not at < end <= self.expire_time:
            raise invalid("expire_time", "must lie between now and the time that was asked for")
        return replace(self, state=state, decider=by, comment=comment, decide_time=at, expire_time=end)

    def deny(self, *, by: str, at: datetime, comment: str = "") -> AccessRequest:
        """Refused by somebody else."""
        state = LIFECYCLE.after("deny", self.state)
        self._not_oneself(by)
        return replace(self, state=state, decider=by, comment=comment, decide_time=at)

    def revoke(self, *, by: str, at: datetime, comment: str = "") -> AccessRequest:
        """Ended before its time, by who decides."""
        state = LIFECYCLE.after("revoke", self.state)
        return replace(self, state=state, decider=by, comment=comment, decide_time=at, expire_time=at)

    def cancel(self) -> AccessRequest:
        """Taken back by the asker."""
        return replace(self, state=LIFECYCLE.after("cancel", self.state))

    def expire(self) -> AccessRequest:
        """Its time is over."""
        return replace(self, state=LIFECYCLE.after("expire", self.state))

    def holds(self, at: datetime) -> bool:
        """Whether the asker sees it."""
        return self.state is State.GRANTED and self.expire_time is not None and at < self.expire_time

    def _not_oneself(self, by: str) -> None:
        if by == self.owner:
            raise Refused("SELF_APPROVAL")
