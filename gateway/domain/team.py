"""How people are grouped: teams in a tree, which the data scopes follow."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.kernel.record import Record, replace
from chassis.kernel.refusals import Refused, invalid
from gateway.domain.tree import Tree

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

    def under(self, parent: str, tree: Tree[Team]) -> Team:
        """The team, with all below it, under *parent*; never under itself, never too deep."""
        if parent and parent in tree.below(self.path):
            raise Refused("TEAM_CYCLE", team=self.path, parent=parent)
        above = len(tree.above(parent)) + 1 if parent else 0
        if above + tree.height(self.path) > DEEPEST:
            raise Refused("TEAM_TOO_DEEP", limit=DEEPEST)
        return replace(self, parent=parent)
