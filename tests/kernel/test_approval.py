"""Steps are answered in order, by those who are asked, and never by whoever asks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from chassis.kernel.approval import Step, Verdict, decide, granted, pending
from chassis.kernel.refusals import Refused

AT = datetime(2026, 3, 1, tzinfo=UTC)
STEPS = (Step(role="sales_manager", why="discount 12 % is over 10 %"), Step(role="executive"))


def answer(
    steps: tuple[Step, ...], by: str, roles: set[str], verdict: Verdict = Verdict.GRANTED
) -> tuple[Step, ...]:
    return decide(steps, verdict, by=by, roles=roles, requester="users/ann", at=AT, comment="fine")


def test_steps_are_asked_one_after_the_other() -> None:
    once = answer(STEPS, "users/bob", {"sales_manager"})
    assert (once[0].verdict, once[0].approver, once[0].decide_time) == (Verdict.GRANTED, "users/bob", AT)
    assert pending(once) == STEPS[1] and not granted(once)
    twice = answer(once, "users/cio", {"executive"})
    assert granted(twice) and pending(twice) is None


def test_a_later_step_waits_for_the_earlier() -> None:
    with pytest.raises(Refused, match="NOT_AN_APPROVER"):
        answer(STEPS, "users/cio", {"executive"})


def test_a_rejection_ends_it() -> None:
    steps = answer(STEPS, "users/bob", {"sales_manager"}, Verdict.REJECTED)
    assert pending(steps) is None and not granted(steps)
    with pytest.raises(Refused, match="NOT_AN_APPROVER"):
        answer(steps, "users/cio", {"executive"})


def test_nobody_approves_their_own_request() -> None:
    with pytest.raises(Refused, match="SELF_APPROVAL"):
        answer(STEPS, "users/ann", {"sales_manager", "executive"})


def test_equal_steps_are_answered_one_at_a_time() -> None:
    steps = answer((Step(role="finance"), Step(role="finance")), "users/bob", {"finance"})
    assert [step.verdict for step in steps] == [Verdict.GRANTED, None]


def test_no_steps_are_granted() -> None:
    assert granted(()) and pending(()) is None
