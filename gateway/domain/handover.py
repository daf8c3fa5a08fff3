"""How what one user owns goes to others: the list, who receives what, and what became of each record."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chassis.kernel.lifecycle import Lifecycle
from chassis.kernel.record import Owned, replace
from chassis.kernel.refusals import Refused, invalid
from gateway.domain.user import Kind, User
from gateway.domain.user import State as UserState

MOST = 20_000  # records of one collection that one handover takes


class State(StrEnum):
    """How far it is."""

    COLLECTING = "COLLECTING"
    READY = "READY"
    RUNNING = "RUNNING"
    DONE = "DONE"
    UNDOING = "UNDOING"
    UNDONE = "UNDONE"
    CANCELLED = "CANCELLED"


UNDER_WAY = (State.COLLECTING, State.READY, State.RUNNING, State.UNDOING)

LIFECYCLE = Lifecycle({
    "collect":        ({State.COLLECTING},              State.READY),
    "assign":         ({State.READY},                   State.READY),
    "carry out":      ({State.READY},                   State.RUNNING),
    "finish":         ({State.RUNNING},                 State.DONE),
    "undo":           ({State.DONE},                    State.UNDOING),
    "finish undoing": ({State.UNDOING},                 State.UNDONE),
    "cancel":         ({State.COLLECTING, State.READY}, State.CANCELLED),
})  # fmt: skip


class Fate(StrEnum):
    """What became of one record."""

    PENDING = "PENDING"
    LEFT_OUT = "LEFT_OUT"
    MOVED = "MOVED"
    SKIPPED = "SKIPPED"
    RETURNED = "RETURNED"
    STAYED = "STAYED"


FATES = Lifecycle({
    "move":      ({Fate.PENDING}, Fate.MOVED),
    "skip":      ({Fate.PENDING}, Fate.SKIPPED),
    "come back": ({Fate.MOVED},   Fate.RETURNED),
    "stay":      ({Fate.MOVED},   Fate.STAYED),
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Handover(Owned):
    """Everything one user owns, on its way. It belongs to that user and their team, as data scopes go."""

    user: str
    receiver: str = ""
    reason: str = ""
    at_once: bool = False
    state: State = State.COLLECTING
    total: int = 0
    moved: int = 0
    skipped: int = 0
    returned: int = 0
    stayed: int = 0
    more: bool = False

    def check(self) -> None:
        """Nobody hands over to themselves."""
        if self.receiver == self.user:
            raise invalid("receiver", "must be somebody else")

    def collected(self, total: int, *, more: bool) -> Handover:
        """With its list; nothing on it is all done."""
        ready = replace(self, state=LIFECYCLE.after("collect", self.state), total=total, more=more)
        return ready if total else replace(ready, state=State.DONE)

    def assigned(self, total: int) -> Handover:
        """With other receivers, or with so many records that are to move."""
        return replace(self, state=LIFECYCLE.after("assign", self.state), total=total)

    def carry_out(self) -> Handover:
        """Its records move; a list without any is done."""
        running = replace(self, state=LIFECYCLE.after("carry out", self.state))
        return running if self.total else replace(running, state=State.DONE)

    def tried(self, fate: Fate) -> Handover:
        """One more record was tried, there or back; after the last one it is over."""
        field = {Fate.MOVED: "moved", Fate.SKIPPED: "skipped", Fate.RETURNED: "returned",
                 Fate.STAYED: "stayed"}[fate]  # fmt: skip
        after = replace(self, **{field: getattr(self, field) + 1})
        if self.state is State.RUNNING and after.moved + after.skipped >= after.total:
            return replace(after, state=LIFECYCLE.after("finish", self.state))
        if self.state is State.UNDOING and after.returned + after.stayed >= after.moved:
            return replace(after, state=LIFECYCLE.after("finish undoing", self.state))
        return after

    def undo(self) -> Handover:
        """Its records return; when none had moved, that is done."""
        undoing = replace(self, state=LIFECYCLE.after("undo", self.state))
        return undoing if self.moved else replace(undoing, state=State.UNDONE)

    def cancel(self) -> Handover:
        """Given up."""
        return replace(self, state=LIFECYCLE.after("cancel", self.state))


@dataclass(frozen=True, kw_only=True)
class HandoverItem(Owned):
    """One record on the list."""

    handover: str
    record: str
    collection: str
    number: str = ""
    receiver: str = ""
    state: Fate = Fate.PENDING
    problem: str = ""
    previous_team: str | None = None  # None: on a list of before this was noted

    def tried(self, verb: str, problem: str = "", previous_team: str | None = None) -> HandoverItem:
        """What became of it, and the team it was in then, if that is known."""
        if previous_team is None:
            previous_team = self.previous_team
        return replace(
            self, state=FATES.after(verb, self.state), problem=problem, previous_team=previous_team
        )


def check_receiver(receiver: User, leaver: str, field: str = "receiver") -> None:
    """Refuse who cannot work what they would receive."""
    name = f"users/{receiver.id}"
    if name == leaver:
        raise invalid(field, "must be somebody else")
    if receiver.kind is not Kind.PERSON:
        raise Refused("RECEIVER_UNFIT", field=field, user=name, problem="it is no person")
    if receiver.state is UserState.DISABLED:
        raise Refused("RECEIVER_UNFIT", field=field, user=name, problem="the account is disabled")
