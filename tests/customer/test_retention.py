"""Laws of the retention rules: nobody is forgotten too early, without a warning, or while something holds."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from services.customer.domain.retention import (
    LIFECYCLE,
    MOST_CASES,
    Case,
    Hold,
    Outcome,
    RetentionRule,
    RetentionRun,
    RunState,
    State,
    Subject,
    months_before,
)

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
RULE = RetentionRule(id="1", display_name="Old leads", subject=Subject.UNTOUCHED_LEADS, months=12)


@pytest.mark.parametrize(
    ("at", "months", "before"),
    [
        ((2026, 3, 31), 1, (2026, 2, 28)), ((2024, 3, 31), 1, (2024, 2, 29)),
        ((2026, 1, 15), 1, (2025, 12, 15)),
        ((2026, 3, 31), 12, (2025, 3, 31)), ((2024, 2, 29), 12, (2023, 2, 28)),
    ],
)  # fmt: skip
def test_months_are_those_of_the_calendar(at: tuple, months: int, before: tuple) -> None:
    assert months_before(datetime(*at, tzinfo=UTC), months) == datetime(*before, tzinfo=UTC)


def outcome(rule: RetentionRule, days: float, warned: float | None = None, held: bool = False) -> str | None:
    """Of somebody with whom something last happened so many days ago, warned of so many days ago."""
    return rule.outcome(
        last_time=NOW - timedelta(days=days), held=held, now=NOW,
        warn_time=None if warned is None else NOW - timedelta(days=warned),
    )  # fmt: skip


def test_without_a_warning_the_months_decide() -> None:
    assert [outcome(RULE, days) for days in (0, 364, 366, 4000)] == [None, None, "ERASED", "ERASED"]


def test_who_is_held_is_left_however_long_ago() -> None:
    assert outcome(RULE, 4000, held=True) == "HELD"
    assert outcome(RULE, 364, held=True) is None


def test_nobody_is_forgotten_who_was_not_warned_of_long_enough_ago() -> None:
    rule = replace(RULE, warn_days=30)
    assert outcome(rule, 334) is None
    assert outcome(rule, 336) == "WARNED"  # thirty days before the year is over
    assert outcome(rule, 350, warned=14) == "WAITING"
    assert outcome(rule, 350, warned=40) == "WAITING"  # told early: the year is not over
    assert outcome(rule, 4000) == "WARNED"  # also of those whom a new rule finds overdue
    assert outcome(rule, 4000, warned=29.9) == "WAITING"
    assert outcome(rule, 4000, warned=30) == "ERASED"
    assert outcome(rule, 400, warned=400) == "WARNED"  # something happened since: warned of anew


@pytest.mark.parametrize("seed", range(200))
def test_forgetting_has_all_its_reasons(seed: int) -> None:
    chance = random.Random(seed)
    rule = replace(RULE, months=chance.randint(1, 24), warn_days=chance.choice([0, 7, 90]))
    last = NOW - timedelta(days=chance.uniform(0, 900))
    warned = chance.choice([None, NOW - timedelta(days=chance.uniform(0, 900))])
    held = chance.random() < 0.3
    found = rule.outcome(last_time=last, warn_time=warned, held=held, now=NOW)
    old = last < months_before(NOW, rule.months)
    told = rule.warn_days == 0 or (
        warned is not None and warned > last and NOW - warned >= timedelta(days=rule.warn_days)
    )
    assert (found is Outcome.ERASED) == (old and told and not held)


@pytest.mark.parametrize(("verb", "state"), [(verb, state) for verb in LIFECYCLE.steps for state in State])
def test_a_rule_is_changed_only_while_it_is_off(verb: str, state: State) -> None:
    rule = replace(RULE, state=state)
    if state in LIFECYCLE.steps[verb][0]:
        assert rule.moved(verb).state is LIFECYCLE.steps[verb][1]
    else:
        with pytest.raises(Refused, match="STATE_FORBIDS"):
            rule.moved(verb)


def test_a_report_counts_everybody_once_and_names_the_first_that_were_held() -> None:
    run = RetentionRun(id="1", rule="retentionRules/1")
    cases = [
        Case(person=f"leads/{n}", outcome=outcome, hold=Hold.FOLLOW_UP if outcome is Outcome.HELD else None)
        for n, outcome in enumerate([*Outcome] * 60)
    ]
    for at in range(0, len(cases), 7):
        run = run.advanced(cases[at : at + 7], str(at))
    assert run.examined == len(cases) == run.erased + run.warned + run.waiting + run.held
    assert (run.erased, run.held, run.reached) == (60, 60, "238")
    assert run.held_cases == tuple(case for case in cases if case.outcome is Outcome.HELD)[:MOST_CASES]
    ended = run.ended(RunState.DONE, at=NOW)
    with pytest.raises(Refused):
        ended.ended(RunState.STOPPED, at=NOW)
