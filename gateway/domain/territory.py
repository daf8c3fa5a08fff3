"""How the market is parted: territories in a tree, the customers that belong to each, and who works them."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.kernel.record import Record, replace
from chassis.kernel.refusals import Refused, invalid
from gateway.domain.tree import Tree

DEEPEST = 10
MOST = 100  # of one organization: tokens name those that their bearer reaches


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What a customer must be like: one of each list that is not empty, and of that size."""

    country_codes: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    industries: tuple[str, ...] = ()
    min_employees: int = 0
    below_employees: int = 0


@dataclass(frozen=True, kw_only=True)
class Territory(Record):
    """A part of the market, under another one or at the top."""

    display_name: str
    parent: str = ""  # "territories/…"
    members: tuple[str, ...] = ()  # "users/…"
    criteria: Criteria | None = None

    @property
    def path(self) -> str:
        """Its resource name."""
        return f"territories/{self.id}"

    def check(self) -> None:
        """It has a name, is not its own parent, and some size fits it."""
        if not self.display_name.strip():
            raise invalid("display_name", "must not be empty")
        if self.parent == self.path:
            raise Refused("TERRITORY_CYCLE", territory=self.path, parent=self.parent)
        said = self.criteria
        if said and said.below_employees and said.below_employees <= said.min_employees:
            raise invalid("criteria.below_employees", "must be more than min_employees")

    def under(self, parent: str, tree: Tree[Territory]) -> Territory:
        """The territory, with all below it, under *parent*; never under itself, never too deep."""
        if parent and parent in tree.below(self.path):
            raise Refused("TERRITORY_CYCLE", territory=self.path, parent=parent)
        above = len(tree.above(parent)) + 1 if parent else 0
        if above + tree.height(self.path) > DEEPEST:
            raise Refused("TERRITORY_TOO_DEEP", limit=DEEPEST)
        return replace(self, parent=parent)


def reached_by(user: str, tree: Tree[Territory]) -> tuple[str, ...]:
    """The territories that a user works: those they are a member of, and all below."""
    mine = [name for name, one in tree.places.items() if user in one.members]
    return tuple(sorted({below for name in mine for below in tree.below(name)}))
