"""What every noun's record carries: identity, version, times and people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar


@dataclass(frozen=True, kw_only=True)
class Record:
    """One aggregate as it stands at one version; a verb returns the next one.

    The store keeps `version`, the times and the people; business code does not set them.
    A record may define `check()`, which raises Refused when its own values contradict each other:
    the store asks it before every save.
    """

    id: str
    version: int = 0  # 0: not saved yet
    create_time: datetime | None = None
    update_time: datetime | None = None
    creator: str = ""  # "users/…"
    updater: str = ""
    delete_time: datetime | None = None

    def check(self) -> None:
        """Raise Refused when the record contradicts itself; nothing to say by default."""


R = TypeVar("R", bound=Record)


def stamped(record: R, **said: Any) -> R:
    """The record with what the store says of it: dataclasses.replace without a look at every field."""
    made = object.__new__(type(record))
    made.__dict__.update(record.__dict__)
    made.__dict__.update(said)
    return made


@dataclass(frozen=True, kw_only=True)
class Owned(Record):
    """A record that a person works, in a team: what data scopes (own, team, subtree) look at."""

    owner: str = ""  # "users/…"
    team: str = ""  # "teams/…"
    collaborators: tuple[str, ...] = ()  # "users/…": read and write it as the owner does
