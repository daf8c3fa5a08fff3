"""Every permission that the contract asks for is somebody's to have."""

from __future__ import annotations

from gateway.domain.built_in import ADMINISTRATOR_ONLY, BUILT_IN, EVERYONE
from gateway.domain.role import Scope, expand, matches
from gateway.permissions import asked, catalogue, page, permissions_of


def test_every_permission_is_granted_beside_the_administrator_or_is_the_administrators_alone() -> None:
    others = [each.role("en") for word, each in BUILT_IN.items() if word != "administrator"]
    granted = {name for role in others for name in permissions_of([role])}
    assert set(catalogue()) - granted == set(ADMINISTRATOR_ONLY)


def test_the_administrator_has_every_permission_everywhere() -> None:
    held = permissions_of([BUILT_IN["administrator"].role("en")])
    assert set(held) == set(catalogue()) and set(held.values()) == {Scope.ALL}


def test_no_role_grants_what_no_method_asks_for() -> None:
    grants = [grant for each in BUILT_IN.values() for grant in each.grants] + list(EVERYONE)
    idle = {g.permission for g in grants if not any(matches(g.permission, name) for name in catalogue())}
    assert not idle


def test_the_auditor_changes_nothing_but_their_own_sessions_and_keys() -> None:
    own = expand(EVERYONE, catalogue())
    for permission in permissions_of([BUILT_IN["auditor"].role("en")]):
        assert permission.endswith((".read", ".verify")) or own[permission] is Scope.OWN


def test_a_representative_has_nothing_of_business_beyond_their_own() -> None:
    shared = {"pipelines", "products", "priceLists", "warehouses", "stock", "users", "teams", "roles"}
    for permission, scope in permissions_of([BUILT_IN["sales_rep"].role("en")]).items():
        assert scope is Scope.OWN or permission.split(".")[0] in shared, permission


def test_the_page_names_every_permission_once() -> None:
    text = page()
    for permission in catalogue():
        assert text.count(f"| `{permission}` |") == 1
    assert all(methods or permission == "records.backdate" for permission, methods in asked().items())
