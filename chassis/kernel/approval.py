"""Who has to agree, in which order, and what they said."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused


class Verdict(StrEnum):
    """What an approver may say."""

    GRANTED = "GRANTED"
    REJECTED = "REJECTED"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One question to one role; the steps of an approval are asked one after the other."""

    role: str  # "sales_manager"
    why: str = ""
    verdict: Verdict | None = None
    approver: str = ""  # "users/…"
    decide_time: datetime | None = None
    comment: str = ""


def pending(steps: Sequence[Step]) -> Step | None:
    """The step that is asked now; None when nobody is: all agreed, or somebody refused."""
    for step in steps:
        if step.verdict == Verdict.REJECTED:
            return None
        if step.verdict is None:
            return step
    return None


def granted(steps: Sequence[Step]) -> bool:
    """Whether everybody agreed; true as well when nobody had to be asked."""
    return all(step.verdict == Verdict.GRANTED for step in steps)


def decide(
    steps: Sequence[Step],
    verdict: Verdict,
    *,
    by: str,
    roles: Collection[str],
    requester: str,
    at: datetime,
    comment: str = "",
) -> tuple[Step, ...]:
    """The steps with the pending one answered by a user who holds the role it asks.

    Refuses the requester (SELF_APPROVAL) and everybody who is not asked now (NOT_AN_APPROVER).
    """
    step = pending(steps)
    if by == requester:
        raise Refused("SELF_APPROVAL", user=by)
    if step is None or step.role not in roles:
        raise Refused("NOT_AN_APPROVER", user=by, role=step.role if step else "nobody")
    answered = replace(step, verdict=verdict, approver=by, decide_time=at, comment=comment)
    at_index = next(index for index, each in enumerate(steps) if each is step)
    return (*steps[:at_index], answered, *steps[at_index + 1 :])
