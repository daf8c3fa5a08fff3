"""How long people are kept after something last happened with them, and what becomes of each."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from chassis.kernel.lifecycle import Lifecycle
from chassis.kernel.record import Record, replace
from chassis.kernel.refusals import Refused

BOOKS_MONTHS = 120  # for which books are kept where nobody says otherwise
MOST_CASES = 100  # held people that a report names


class Subject(StrEnum):
    """Whom a rule is about."""

    DISQUALIFIED_LEADS = "DISQUALIFIED_LEADS"
    UNTOUCHED_LEADS = "UNTOUCHED_LEADS"
    CONVERTED_LEADS = "CONVERTED_LEADS"
    INACTIVE_CONTACTS = "INACTIVE_CONTACTS"
    INACTIVE_PRIVATE_CUSTOMERS = "INACTIVE_PRIVATE_CUSTOMERS"


class State(StrEnum):
    """Whether a rule is in force."""

    DISABLED = "DISABLED"
    ENABLED = "ENABLED"


class RunState(StrEnum):
    """How far a run is."""

    RUNNING = "RUNNING"
    DONE = "DONE"
    STOPPED = "STOPPED"


class Outcome(StrEnum):
    """What becomes of somebody."""

    ERASED = "ERASED"
    WARNED = "WARNED"
    WAITING = "WAITING"
    HELD = "HELD"


class Hold(StrEnum):
    """Why somebody is left; of several the first that is found is told."""

    OPEN_DEAL = "OPEN_DEAL"
    OPEN_CONTRACT = "OPEN_CONTRACT"
    OPEN_ORDER = "OPEN_ORDER"
    UNPAID_INVOICE = "UNPAID_INVOICE"
    BOOKS = "BOOKS"
    FOLLOW_UP = "FOLLOW_UP"


LIFECYCLE = Lifecycle(
    {
        "update":  ({State.DISABLED}, State.DISABLED),
        "delete":  ({State.DISABLED}, State.DISABLED),
        "enable":  ({State.DISABLED}, State.ENABLED),
        "disable": ({State.ENABLED},  State.DISABLED),
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RetentionRule(Record):
    """How long people of one kind are kept after something last happened with them."""

    display_name: str
    subject: Subject
    months: int
    warn_days: int = 0
    books_months: int = BOOKS_MONTHS
    state: State = State.DISABLED

    def moved(self, verb: str) -> RetentionRule:
        """In the state that the verb leads to, or a refusal."""
        return replace(self, state=LIFECYCLE.after(verb, self.state))

    def cutoff(self, now: datetime) -> datetime:
        """Nobody is forgotten with whom something has happened since then."""
        return months_before(now, self.months)

    def horizon(self, now: datetime) -> datetime:
        """Nobody is warned of with whom something has happened since then."""
        return months_before(now + timedelta(days=self.warn_days), self.months)

    def outcome(
        self, *, last_time: datetime, warn_time: datetime | None, held: bool, now: datetime
    ) -> Outcome | None:
        """What becomes of somebody now; None when it is too early for anything.

        *warn_time* is when they were last warned of. A warning from before the last thing that happened is
        none, and nobody is forgotten before the days that a warning gives are over.
        """
        if last_time >= self.horizon(now):
            return None
        if held:
            return Outcome.HELD
        if self.warn_days and (warn_time is None or warn_time <= last_time):
            return Outcome.WARNED
        early = warn_time is not None and self.warn_days and now < warn_time + timedelta(days=self.warn_days)
        if early or last_time >= self.cutoff(now):
            return Outcome.WAITING
        return Outcome.ERASED


@dataclass(frozen=True, kw_only=True)
class Case:
    """Somebody whom a rule takes, or would take."""

    person: str
    outcome: Outcome
    hold: Hold | None = None
    record: str = ""
    last_time: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class RetentionRun(Record):
    """One run of a rule over everybody it is about, and what became of them."""

    rule: str
    state: RunState = RunState.RUNNING
    cutoff_time: datetime | None = None
    finish_time: datetime | None = None
    examined: int = 0
    erased: int = 0
    warned: int = 0
    waiting: int = 0
    held: int = 0
    held_cases: tuple[Case, ...] = ()
    reached: str = ""

    def advanced(self, cases: Sequence[Case], reached: str) -> RetentionRun:
        """With these people behind it."""
        counted = {outcome: sum(case.outcome is outcome for case in cases) for outcome in Outcome}
        held = tuple(case for case in cases if case.outcome is Outcome.HELD)
        return replace(
            self, reached=reached, examined=self.examined + len(cases),
            erased=self.erased + counted[Outcome.ERASED], warned=self.warned + counted[Outcome.WARNED],
            waiting=self.waiting + counted[Outcome.WAITING], held=self.held + counted[Outcome.HELD],
            held_cases=(self.held_cases + held)[:MOST_CASES],
        )  # fmt: skip

    def ended(self, state: RunState, *, at: datetime) -> RetentionRun:
        """Over; a run that is over does not end again."""
        if self.state is not RunState.RUNNING:
            allowed = str(RunState.RUNNING)
            raise Refused("STATE_FORBIDS", verb="end", state=self.state, allowed=allowed)
        return replace(self, state=state, finish_time=at)


def months_before(at: datetime, months: int) -> datetime:
    """The same day so many months earlier, or the last of its month."""
    year, month = divmod(at.year * 12 + at.month - 1 - months, 12)
    day = min(at.day, monthrange(year, month + 1)[1])
    return at.replace(year=year, month=month + 1, day=day)
