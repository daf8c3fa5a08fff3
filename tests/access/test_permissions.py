"""Every permission that the contract asks for is somebody's to have."""

from __future__ import annotations

from chassis.kernel.record import replace
from gateway.domain.built_in import ADMINISTRATOR_ONLY, BUILT_IN, COLLEAGUES, EVERYONE
from gateway.domain.role import Kind, Scope, expand, matches
from gateway.permissions import WITHIN, asked, catalogue, page, permissions_of


def test_every_permission_is_granted_beside_the_administrator_or_is_the_administrators_alone() -> None:
    others = [each.role("en") for word, each in BUILT_IN.items() if word != "administrator"]
    granted = {name for role in others for name in permissions_of([role])}
    assert set(catalogue()) - granted == set(ADMINISTRATOR_ONLY)


def test_the_administrator_has_every_permission_everywhere() -> None:
    held = permissions_of([BUILT_IN["administrator"].role("en")])
    assert set(held) == set(catalogue()) and set(held.values()) == {Scope.ALL}


def test_no_role_grants_what_no_method_asks_for() -> None:
    grants = [grant for each in BUILT_IN.values() for grant in each.grants] + [*EVERYONE, *COLLEAGUES]
    idle = {g.permission for g in grants if not any(matches(g.permission, name) for name in catalogue())}
    assert not idle


def test_the_auditor_changes_nothing_but_their_own_sessions_and_keys() -> None:
    own = expand([*EVERYONE, *COLLEAGUES], catalogue())
    for permission in permissions_of([BUILT_IN["auditor"].role("en")]):
        assert permission.endswith((".read", ".verify")) or own[permission] is Scope.OWN


def test_a_representative_has_nothing_of_business_beyond_their_own() -> None:
    shared = {"pipelines", "products", "priceLists", "warehouses", "stock", "users", "teams", "roles",
              "territories"}  # fmt: skip
    for permission, scope in permissions_of([BUILT_IN["sales_rep"].role("en")]).items():
        assert scope is Scope.OWN or permission.split(".")[0] in shared, permission


def test_a_partner_knows_what_is_shared_and_their_own_and_no_colleague() -> None:
    partner = BUILT_IN["partner"].role("en")
    held = permissions_of([partner])
    assert {name for name, scope in held.items() if scope is not Scope.OWN} == {"pipelines.read"}
    nouns = {name.partition(".")[0] for name in held}
    for noun in (
        "users",
        "teams",
        "roles",
        "territories",
        "products",
        "priceLists",
        "stock",
        "events",
        "reports",
        "handovers",
    ):
        assert noun not in nouns
    assert "shares.write" not in held
    # Whatever role is added gives what it grants itself, and not the directory that comes with being here.
    both = permissions_of([partner, BUILT_IN["support"].role("en")])
    assert "users.read" not in both and "orders.read" in both
    impostor = replace(partner, id="0190", kind=Kind.CUSTOM)
    assert "users.read" in permissions_of([impostor])


def test_the_page_names_every_permission_once() -> None:
    text = page()
    for permission in catalogue():
        assert text.count(f"| `{permission}` |") == 1
    assert all(methods or permission in WITHIN for permission, methods in asked().items())
