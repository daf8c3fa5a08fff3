"""What stands in a tree: teams and territories."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar


class Placed(Protocol):
    """Something with a name of its own, under something of its kind or at the top."""

    @property
    def path(self) -> str:
        """Its resource name."""

    @property
    def parent(self) -> str:
        """The name of what it is under; "" at the top."""


P = TypeVar("P", bound=Placed)


class Tree(Generic[P]):
    """All teams, or all territories, of one organization, as they stand to each other."""

    def __init__(self, places: Iterable[P]) -> None:
        self.places = {one.path: one for one in places}
        self._children: dict[str, list[str]] = {}
        for name, one in self.places.items():
            self._children.setdefault(one.parent, []).append(name)

    def below(self, name: str) -> tuple[str, ...]:
        """Itself and all below it; nothing for what is not there."""
        found: dict[str, None] = {}
        waiting = [name] if name in self.places else []
        while waiting:
            here = waiting.pop()
            if here not in found:
                found[here] = None
                waiting += self._children.get(here, [])
        return tuple(sorted(found, key=lambda each: (each != name, each)))

    def above(self, name: str) -> tuple[str, ...]:
        """Its parent, its parent's parent, and so on to the top."""
        found: dict[str, None] = {}
        here = self.places[name].parent if name in self.places else ""
        while here in self.places and here not in found:
            found[here] = None
            here = self.places[here].parent
        return tuple(found)

    def height(self, name: str) -> int:
        """How many levels it and those below it take: 1 for what has none below."""
        tops = len(self.above(name))
        return max((len(self.above(each)) - tops + 1 for each in self.below(name)), default=1)
