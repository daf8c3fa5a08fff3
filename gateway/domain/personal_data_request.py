"""What a person asks of whoever keeps something about them: to be told all of it, or to be forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chassis.kernel.lifecycle import Lifecycle
from chassis.kernel.record import Record, replace
from chassis.kernel.refusals import Refused

MOST = 2000  # records of one request


class Kind(StrEnum):
    """What is asked for."""

    EXPORT = "EXPORT"
    ERASURE = "ERASURE"


class State(StrEnum):
    """How far it is."""

    READY = "READY"
    RUNNING = "RUNNING"
    DONE = "DONE"
    CANCELLED = "CANCELLED"


class Fate(StrEnum):
    """What becomes of a record when its person is erased."""

    ERASABLE = "ERASABLE"
    ERASED = "ERASED"
    KEPT_BY_LAW = "KEPT_BY_LAW"
    IMPERSONAL = "IMPERSONAL"


LIFECYCLE = Lifecycle({
    "export": ({State.READY},   State.READY),
    "erase":  ({State.READY},   State.RUNNING),
    "finish": ({State.RUNNING}, State.DONE),
    "cancel": ({State.READY},   State.CANCELLED),
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Item:
    """One record that was found, and what becomes of it."""

    service: str
    noun: str
    record: str
    fate: Fate


@dataclass(frozen=True, kw_only=True)
class PersonalDataRequest(Record):
    """One person's request. It names records and nobody: it outlives what it erases."""

    kind: Kind
    subject: str
    reason: str
    state: State = State.READY
    items: tuple[Item, ...] = ()
    finish_time: datetime | None = None
    more: bool = False

    def found(self, items: Sequence[Item], *, more: bool) -> PersonalDataRequest:
        """With what there is now."""
        return replace(self, items=tuple(items[:MOST]), more=more or len(items) > MOST)

    def exported(self) -> None:
        """Refuse what was not asked for."""
        LIFECYCLE.after("export", self.state)
        self._must_be(Kind.EXPORT, "export")

    def erase(self) -> PersonalDataRequest:
        """Its subject is being forgotten, from now on for good."""
        self._must_be(Kind.ERASURE, "erase")
        return replace(self, state=LIFECYCLE.after("erase", self.state))

    def finish(self, *, at: datetime) -> PersonalDataRequest:
        """Everything that could be erased is."""
        gone = tuple(
            replace(item, fate=Fate.ERASED) if item.fate is Fate.ERASABLE else item for item in self.items
        )
        return replace(self, state=LIFECYCLE.after("finish", self.state), items=gone, finish_time=at)

    def cancel(self) -> PersonalDataRequest:
        """Given up."""
        return replace(self, state=LIFECYCLE.after("cancel", self.state))

    def erasable(self, service: str) -> list[str]:
        """The records of a service that are to forget, or have forgotten, the person."""
        gone = (Fate.ERASABLE, Fate.ERASED)
        return [item.record for item in self.items if item.service == service and item.fate in gone]

    def _must_be(self, kind: Kind, verb: str) -> None:
        if self.kind is not kind:
            raise Refused("STATE_FORBIDS", verb=verb, state=self.kind.value, allowed=kind.value)
