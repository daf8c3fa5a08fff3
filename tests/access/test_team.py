"""The laws of teams: always a tree, never too deep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.kernel.refusals import Refused
from gateway.domain.team import DEEPEST, Team, Tree


def team(key: str, parent: str = "") -> Team:
    return Team(id=key, display_name=key, parent=parent and f"teams/{parent}")


SALES = [team("sales"), team("east", "sales"), team("west", "sales"), team("city", "east")]


def test_a_subtree_is_the_team_and_all_below_it() -> None:
    tree = Tree(SALES)
    assert tree.below("teams/sales") == ("teams/sales", "teams/city", "teams/east", "teams/west")
    assert tree.below("teams/west") == ("teams/west",)
    assert tree.below("teams/none") == ()
    assert tree.above("teams/city") == ("teams/east", "teams/sales")
    assert [tree.height(t.path) for t in SALES] == [3, 2, 1, 1]


@pytest.mark.parametrize("parent", ["teams/east", "teams/city"])
def test_a_team_never_goes_under_itself_or_what_is_below_it(parent: str) -> None:
    with pytest.raises(Refused) as no:
        SALES[1].under(parent, Tree(SALES))
    assert (no.value.reason, no.value.facts) == ("TEAM_CYCLE", {"team": "teams/east", "parent": parent})


def test_a_team_moves_with_all_below_it() -> None:
    moved = SALES[1].under("teams/west", Tree(SALES))
    after = Tree([SALES[0], moved, SALES[2], SALES[3]])
    assert after.above("teams/city") == ("teams/east", "teams/west", "teams/sales")
    assert SALES[1].under("", Tree(SALES)).parent == ""


def test_teams_stand_only_so_deep() -> None:
    chain = [team("0")] + [team(str(n), str(n - 1)) for n in range(1, DEEPEST)]
    with pytest.raises(Refused, match="TEAM_TOO_DEEP"):
        team("new").under(f"teams/{DEEPEST - 1}", Tree(chain))
    assert team("new").under(f"teams/{DEEPEST - 2}", Tree(chain)).parent
    pair = [team("a"), team("b", "a")]
    with pytest.raises(Refused, match="TEAM_TOO_DEEP"):
        pair[0].under(f"teams/{DEEPEST - 2}", Tree([*chain, *pair]))


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(-1, 7)), max_size=40))
def test_whatever_is_moved_where_it_stays_one_tree(moves: list[tuple[int, int]]) -> None:
    teams = {f"teams/{n}": team(str(n)) for n in range(8)}
    for child, parent in moves:
        try:
            moved = teams[f"teams/{child}"].under(
                f"teams/{parent}" if parent >= 0 else "", Tree(teams.values())
            )
        except Refused:
            continue
        teams[moved.path] = moved
    tree = Tree(teams.values())
    roots = [t.path for t in teams.values() if not t.parent]
    assert sorted(name for root in roots for name in tree.below(root)) == sorted(teams)
