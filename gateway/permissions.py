"""Every permission there is, who is granted it, and the page that says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from gateway import field_rules
from gateway.contract import PUBLIC, SERVICE, SIGNED_IN, Contract
from gateway.domain.built_in import BUILT_IN, COLLEAGUES, EVERYONE, given_to
from gateway.domain.role import EXPORT, Role, Scope, expand

# Asked for inside methods, when a call wants more than usual; no annotation names them.
WITHIN = {
    "records.backdate": "Set a business date in the past, as imports of history do.",
    EXPORT: "Export lists as files: of what may be read, the records that this reaches as well.",
}
_SIGNS = {
    Scope.OWN: "own",
    Scope.TEAM: "team",
    Scope.SUBTREE: "subtree",
    Scope.TERRITORY: "territory",
    Scope.ALL: "all",
}


@cache
def asked() -> Mapping[str, tuple[str, ...]]:
    """permission → the methods that ask for it, sorted."""
    found: dict[str, list[str]] = {name: [] for name in WITHIN}
    for method in Contract.load().methods:
        if method.permission not in (PUBLIC, SIGNED_IN, SERVICE):
            found.setdefault(method.permission, []).append(
                f"{method.service.rpartition('.')[2]}.{method.name}"
            )
    return {name: tuple(sorted(set(methods))) for name, methods in sorted(found.items())}


@cache
def catalogue() -> tuple[str, ...]:
    """Every permission, sorted."""
    return tuple(asked())


@cache
def listed() -> Mapping[str, tuple[str, frozenset[str]]]:
    """collection → (the permission to list it, the fields of its records)."""
    found = {}
    for method in Contract.load().methods:
        collection = method.routes[0].template.removeprefix("/v1/")
        nouns = [f.message_type for f in method.output.fields if f.name not in ("next_page_token",)]
        if method.name.startswith("List") and "filter" in method.input.fields_by_name and nouns[0]:
            found[collection] = (method.permission, frozenset(nouns[0].fields_by_name))
    return found


def permissions_of(roles: Iterable[Role]) -> dict[str, Scope]:
    """What who has these roles may do."""
    return expand(given_to(roles), catalogue())


def page() -> str:
    """docs/permissions.md: permission × built-in role."""
    granted = {word: permissions_of([each.role("en")]) for word, each in BUILT_IN.items()}
    lines = [
        "# Permissions and roles",
        "",
        "Which built-in role has which permission, and which records it reaches: *own* records (and those",
        "the user collaborates on), those of the user's *team*, of the team's *subtree*, those and what lies",
        "in the user's *territory*, or *all*. Everyone",
        "who signs in has the permissions of the second table, save that partners have none to read users,",
        "teams and roles. An organization makes roles of its own with `POST /v1/roles`; an API key has some",
        "of its owner's permissions.",
        "",
        "A record may be shared with a user or a team beside that: `POST /v1/shares/<service>`. A share",
        "gives reach and no permission: it makes the record one of the user's own, as it were, to read or to",
        "change as well. Permissions that end in `delete`, `transfer`, `assign`, `archive` or `purge` never",
        "reach what is only shared, nor does sharing on. Contacts are shared with their customer, shipments",
        "with their order, versions with their contract, credit notes with their invoice; what has an owner",
        "of its own (deals, quotes, orders) is shared by itself. Reports count what the lists show: what the",
        "scope of `reports.read` reaches, and the deals, orders and invoices that are shared.",
        "",
        "Territories part the market (`/v1/territories`): each says by criteria (country, region, industry,",
        "size) which customers belong to it, and which users work it; `POST /v1/customers/<id>:place` puts a",
        "customer somewhere by hand, and `territoryReason` says which of the two it was. A role of the",
        "organization's own may grant permissions with the scope `TERRITORY`: it reaches what `SUBTREE`",
        "does, the customers of the user's territories and of those below, and their contacts,",
        "opportunities, quotes, contracts, invoices, credit notes, payments, credit, orders, shipments and",
        "reservations, in lists, reports and by name. When criteria change the customers follow in the",
        "background: `GET /v1/customers:territorySettlement`.",
        "",
        f"| permission | {' | '.join(BUILT_IN)} | asked by |",
        f"|---|{'---|' * len(BUILT_IN)}---|",
    ]
    common = expand([*EVERYONE, *COLLEAGUES], catalogue())
    for permission, methods in asked().items():
        if permission not in common:
            scopes = [granted[word].get(permission) for word in BUILT_IN]
            cells = [_SIGNS[scope] if scope else "" for scope in scopes]
            why = "<br>".join(methods) or WITHIN[permission]
            lines.append(f"| `{permission}` | {' | '.join(cells)} | {why} |")
    lines += ["", "## Everyone", "", "| permission | reaches | asked by |", "|---|---|---|"]
    lines += [f"| `{p}` | {_SIGNS[common[p]]} | {'<br>'.join(asked()[p])} |" for p in sorted(common)]
    lines += field_rules.page()
    lines += ["", "## The roles", ""]
    lines += [f"- **{each.titles['en']}** (`roles/{word}`, {each.titles['zh']}): {each.purpose['en']}"
              for word, each in BUILT_IN.items()]  # fmt: skip
    return "\n".join(lines) + "\n"
