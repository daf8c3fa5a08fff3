"""How people are grouped: teams in a tree, which the data scopes follow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chassis.kernel.record import Record, replace
from chassis.kernel.refusals import Refused, invalid

DEEPEST = 10


@dataclass(frozen=True, kw_only=True)
class Team(Record):
    """People who sell together, under another team or at the top."""

    display_name: str
    parent: str = ""  # "teams/…"
    manager: str = ""  # "users/…"
    region: str = ""

    @property
    def path(self) -> str:
        """Its resource name."""
        return f"teams/{self.id}"

    def check(self) -> None:
        """It has a name and is not its own parent."""
        if not self.display_name.strip():
            raise invalid("display_name", "must not be empty")
        if self.parent == self.path:
            raise Refused("TEAM_CYCLE", team=self.path, parent=self.parent)

    def under(self, parent: str, tree: Tree) -> Team:
        """The team, with all below it, under *parent*; never under itself, never too deep."""
        if parent and parent in tree.below(self.path):
            raise Refused("TEAM_CYCLE", team=self.path, parent=parent)
        above = len(tree.above(parent)) + 1 if parent else 0
        if above + tree.height(self.path) > DEEPEST:
            raise Refused("TEAM_TOO_DEEP", limit=DEEPEST)
        return replace(self, parent=parent)


class Tree:
    """All teams of one organization, as they stand to each other."""

    def __init__(self, teams: Iterable[Team]) -> None:
        self.teams = {team.path: team for team in teams}
        self._children: dict[str, list[str]] = {}
        for name, team in self.teams.items():
            self._children.setdefault(team.parent, []).append(name)

    def below(self, name: str) -> tuple[str, ...]:
        """The team itself and every team below it; nothing for a team that is not there."""
        found: dict[str, None] = {}
        waiting = [name] if name in self.teams else []
        while waiting:
            here = waiting.pop()
            if here not in found:
                found[here] = None
                waiting += self._children.get(here, [])
        return tuple(sorted(found, key=lambda each: (each != name, each)))

    def above(self, name: str) -> tuple[str, ...]:
        """Its parent, its parent's parent, and so on to the top."""
        found: dict[str, None] = {}
        here = self.teams[name].parent if name in self.teams else ""
        while here in self.teams and here not in found:
            found[here] = None
            here = self.teams[here].parent
        return tuple(found)

    def height(self, name: str) -> int:
        """How many levels the team and those below it take: 1 for a team that has none below."""
        tops = len(self.above(name))
        return max((len(self.above(each)) - tops + 1 for each in self.below(name)), default=1)
