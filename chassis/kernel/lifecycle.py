"""Which verb leads from which states to which: a table, read by the domain and by the tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Generic, TypeVar

from chassis.kernel.refusals import Refused

S = TypeVar("S", bound=StrEnum)


class Lifecycle(Generic[S]):
    """The verbs of a noun: `{"win": ({State.OPEN}, State.WON)}`."""

    def __init__(self, steps: Mapping[str, tuple[Iterable[S], S]]) -> None:
        self.steps = {verb: (frozenset(allowed), target) for verb, (allowed, target) in steps.items()}

    def after(self, verb: str, state: S) -> S:
        """The state that *verb* leads to, or a refusal saying where it is allowed."""
        allowed, target = self.steps[verb]
        if state not in allowed:
            raise Refused("STATE_FORBIDS", verb=verb, state=state, allowed=", ".join(sorted(allowed)))
        return target
