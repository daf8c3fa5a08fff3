"""What a quote is, and what may happen to it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from chassis.kernel.approval import Step, Verdict, decide, granted
from chassis.kernel.erasable import Erasable
from chassis.kernel.lifecycle import Lifecycle
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused, invalid
from services.contract.domain.paper import Paper, deepest_discount, discount_steps


class State(StrEnum):
    """Where a quote stands."""

    DRAFT = "DRAFT"
    IN_REVIEW = "IN_REVIEW"
    APPROVED = "APPROVED"
    SENT = "SENT"
    ACCEPTED = "ACCEPTED"
    DECLINED = "DECLINED"
    EXPIRED = "EXPIRED"


LIFECYCLE = Lifecycle(
    {
        "update": ({State.DRAFT}, State.DRAFT),
        "delete": ({State.DRAFT}, State.DRAFT),
        "submit": ({State.DRAFT}, State.IN_REVIEW),
        "approve": ({State.IN_REVIEW}, State.APPROVED),
        "reject": ({State.IN_REVIEW}, State.DRAFT),
        "send": ({State.APPROVED}, State.SENT),
        "accept": ({State.SENT}, State.ACCEPTED),
        "decline": ({State.SENT}, State.DECLINED),
        "expire": ({State.APPROVED, State.SENT}, State.EXPIRED),
        "revise": ({State.APPROVED, State.SENT, State.DECLINED, State.EXPIRED}, State.DRAFT),
    }
)


@dataclass(frozen=True, kw_only=True)
class Quote(Paper, Erasable):
    """An offer at a price, good until a day; each revision is a record of its own."""

    number: str = ""
    revision: int = 1
    previous: str = ""
    superseded_by: str = ""
    title: str = ""
    opportunity: str = ""
    customer: str = ""
    valid_until: date | None = None
    state: State = State.DRAFT
    approvals: tuple[Step, ...] = ()
    requester: str = ""
    send_time: datetime | None = None
    answer_time: datetime | None = None
    accepter: str = ""
    decline_reason: str = ""
    note: str = ""

    def check(self) -> None:
        """A quote is made to somebody."""
        if not self.customer:
            raise invalid("customer", "is required where the opportunity does not say it")

    def submit(self, *, by: str) -> Quote:
        """Waiting for those who have to allow its discount; approved where nobody has to."""
        state = LIFECYCLE.after("submit", self.state)
        if not self.lines:
            raise Refused("QUOTE_EMPTY", number=self.number)
        steps = discount_steps(deepest_discount(self.lines, self.discount_percent))
        return replace(self, state=state if steps else State.APPROVED, approvals=steps, requester=by)

    def approve(self, *, by: str, roles: Collection[str], at: datetime, comment: str = "") -> Quote:
        """With one more yes; approved after the last."""
        approved = LIFECYCLE.after("approve", self.state)
        steps = decide(
            self.approvals,
            Verdict.GRANTED,
            by=by,
            roles=roles,
            requester=self.requester,
            at=at,
            comment=comment,
        )
        return replace(self, state=approved if granted(steps) else self.state, approvals=steps)

    def reject(self, *, by: str, roles: Collection[str], at: datetime, comment: str) -> Quote:
        """A draft again, with the reason on its step."""
        state = LIFECYCLE.after("reject", self.state)
        steps = decide(
            self.approvals,
            Verdict.REJECTED,
            by=by,
            roles=roles,
            requester=self.requester,
            at=at,
            comment=comment,
        )
        return replace(self, state=state, approvals=steps)

    def send(self, *, at: datetime, today: date) -> Quote:
        """With the customer."""
        state = LIFECYCLE.after("send", self.state)
        self._must_stand(today)
        return replace(self, state=state, send_time=at)

    def accept(self, *, accepter: str, at: datetime, today: date) -> Quote:
        """Agreed to by the customer, in time and in its newest revision."""
        state = LIFECYCLE.after("accept", self.state)
        self._must_stand(today)
        return replace(self, state=state, accepter=accepter, answer_time=at)

    def decline(self, *, reason: str, at: datetime) -> Quote:
        """Refused by the customer."""
        state = LIFECYCLE.after("decline", self.state)
        return replace(self, state=state, decline_reason=reason, answer_time=at)

    def overdue(self, today: date) -> bool:
        """Whether its last day is over while it may still be accepted."""
        waiting = self.state in LIFECYCLE.steps["expire"][0]
        return waiting and self.valid_until is not None and self.valid_until < today

    def expire(self) -> Quote:
        """Its last day went by."""
        return replace(self, state=LIFECYCLE.after("expire", self.state))

    def revise(self, *, name: str, new_id: str, today: date) -> tuple[Quote, Quote]:
        """(this revision, which can no longer be accepted; the next one, a draft)."""
        collection = name.rpartition("/")[0]
        old = self.superseded(f"{collection}/{new_id}")
        draft = replace(
            self,
            id=new_id,
            version=0,
            creator="",
            state=State.DRAFT,
            revision=self.revision + 1,
            previous=name,
            valid_until=self.valid_until if self.valid_until and self.valid_until >= today else None,
            approvals=(),
            requester="",
            send_time=None,
            answer_time=None,
            decline_reason="",
            erase_time=None,
        )
        return old, draft

    def superseded(self, by: str) -> Quote:
        """This revision, which can no longer be accepted: the next one is *by*."""
        LIFECYCLE.after("revise", self.state)
        if self.superseded_by:
            raise Refused("QUOTE_SUPERSEDED", superseded_by=self.superseded_by)
        return replace(self, superseded_by=by)

    def _must_stand(self, today: date) -> None:
        if self.superseded_by:
            raise Refused("QUOTE_SUPERSEDED", superseded_by=self.superseded_by)
        if self.valid_until is not None and self.valid_until < today:
            raise Refused("QUOTE_EXPIRED", valid_until=self.valid_until)
