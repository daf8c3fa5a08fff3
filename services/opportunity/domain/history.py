"""What a deal remembers: the states and stages it was in, who worked it, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class State(StrEnum):
    """Where a deal stands between opening and closing."""

    OPEN = "OPEN"
    SUSPENDED = "SUSPENDED"
    WON = "WON"
    LOST = "LOST"
    TERMINATED = "TERMINATED"


@dataclass(frozen=True, kw_only=True)
class StageVisit:
    """A deal's stay in a stage."""

    stage: str
    enter_time: datetime
    leave_time: datetime | None = None
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class StateChange:
    """A deal's change of state."""

    state: State
    time: datetime
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A change of hands."""

    previous_owner: str
    previous_team: str
    owner: str
    team: str
    reason: str
    time: datetime
    by: str


@dataclass(frozen=True, kw_only=True)
class DoneItem:
    """A checklist item that is ticked off."""

    item: str
    time: datetime
    by: str


@dataclass(frozen=True, kw_only=True)
class ClosingSummary:
    """What is worth remembering about how a deal ended."""

    outcome: str
    lessons: str = ""
    winning_competitor: str = ""
    by: str = ""
    time: datetime | None = None
