"""A list that the people of a role see first, with whose records it shows left open."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from chassis.kernel.record import replace
from chassis.kernel.refusals import invalid

MOST = 30  # of one role
ME, TEAM = "{me}", "{team}"


@dataclass(frozen=True)
class View:
    """Records of one collection, as a list page asks for them."""

    title: str
    collection: str  # "opportunities"
    filter: str = ""  # AIP-160; {me} and {team} stand for whoever looks
    order_by: str = ""
    columns: tuple[str, ...] = ()  # none: the client chooses

    def filled(self, *, me: str, team: str) -> View:
        """For one person: their name and their team's in the filter."""
        return replace(self, filter=self.filter.replace(ME, f'"{me}"').replace(TEAM, f'"{team}"'))


def check_views(views: Iterable[View], known: Mapping[str, Collection[str]], field: str) -> None:
    """Refuse a view of a collection that no method lists (*known*: collection → its fields), or a column
    that its records do not have."""
    for at, view in enumerate(views):
        if not view.title.strip():
            raise invalid(f"{field}[{at}].title", "must not be empty")
        if view.collection not in known:
            raise invalid(f"{field}[{at}].collection", "must be one that is listed: opportunities")
        for number, column in enumerate(view.columns):
            if column not in known[view.collection]:
                raise invalid(f"{field}[{at}].columns[{number}]", f"is no field of {view.collection}")


def of_roles(roles: Iterable[Iterable[View]], reachable: Collection[str]) -> list[View]:
    """What somebody with these roles sees: each list once, those of the first role first, none that they
    may not read."""
    found = {(v.collection, v.filter, v.order_by): v for views in roles for v in views}
    return [view for view in found.values() if view.collection in reachable]
