"""The laws of roles: patterns, the widest scope wins, nobody gives more than they have."""

from __future__ import annotations

import pytest

from chassis.kernel.refusals import Refused
from gateway.domain.built_in import BUILT_IN
from gateway.domain.role import Grant, Kind, Role, Scope, check_known, check_within, expand, matches, only

CATALOGUE = ("orders.read", "orders.write", "quotes.read", "platform.verify")


@pytest.mark.parametrize(
    ("pattern", "permission", "meant"),
    [
        ("*", "orders.read", True),
        ("orders.read", "orders.read", True),
        ("orders.*", "orders.write", True),
        ("*.read", "quotes.read", True),
        ("*.read", "orders.write", False),
        ("orders.*", "ordersets.read", False),
        ("order.*", "orders.read", False),
    ],
)
def test_a_star_stands_for_one_word(pattern: str, permission: str, meant: bool) -> None:
    assert matches(pattern, permission) is meant


def test_the_widest_scope_wins_whatever_the_order() -> None:
    grants = [Grant("orders.read", Scope.TEAM), Grant("*.read", Scope.OWN), Grant("orders.*", Scope.SUBTREE)]
    wanted = {"orders.read": Scope.SUBTREE, "orders.write": Scope.SUBTREE, "quotes.read": Scope.OWN}
    assert expand(grants, CATALOGUE) == expand(grants[::-1], CATALOGUE) == wanted


def test_a_key_keeps_only_its_share() -> None:
    held = expand([Grant("*", Scope.TEAM)], CATALOGUE)
    assert only(held, ["orders.*"]) == {"orders.read": Scope.TEAM, "orders.write": Scope.TEAM}
    assert only({"quotes.read": Scope.OWN}, ["*"]) == {"quotes.read": Scope.OWN}
    assert only(held, []) == {}


def test_nobody_gives_more_than_they_have() -> None:
    held = {"orders.read": Scope.TEAM}
    check_within({"orders.read": Scope.OWN}, held)
    for given in ({"orders.read": Scope.ALL}, {"orders.write": Scope.OWN}):
        with pytest.raises(Refused, match="GRANT_EXCEEDS_OWN"):
            check_within(given, held)


def test_a_permission_no_method_asks_for_is_refused_by_its_place() -> None:
    check_known(["orders.*", "*"], CATALOGUE, "grants")
    with pytest.raises(Refused) as no:
        check_known(["orders.read", "orders.raed"], CATALOGUE, "grants")
    assert no.value.facts == {"field": "grants[1]", "permission": "orders.raed"}


def test_built_in_roles_are_whole_and_stay_as_they_are() -> None:
    for word, each in BUILT_IN.items():
        for locale in ("zh-CN", "en"):
            role = each.role(locale)
            role.check()
            assert (role.id, role.kind) == (word, Kind.BUILT_IN)
            with pytest.raises(Refused, match="ROLE_BUILT_IN"):
                role.must_be_custom()
    Role(id="x", display_name="Own", grants=(Grant("orders.read", Scope.ALL),)).must_be_custom()


def test_a_role_grants_something_and_nothing_twice() -> None:
    twice = (Grant("orders.read", Scope.OWN), Grant("orders.read", Scope.ALL))
    for grants in ((), twice):
        with pytest.raises(Refused, match="grants"):
            Role(id="x", display_name="X", grants=grants).check()
