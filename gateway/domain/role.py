"""What a role grants, permissions with the records they reach, and which fields it keeps from its holders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from chassis.kernel.record import Record
from chassis.kernel.refusals import Refused, invalid
from gateway.domain.view import View

# The permission to export lists; who was granted one list has "customers.export" instead, which no role has.
EXPORT = "records.export"


class Kind(StrEnum):
    """Where a role comes from."""

    CUSTOM = "CUSTOM"
    BUILT_IN = "BUILT_IN"


class Scope(StrEnum):
    """Which records a permission reaches, from narrow to wide; each holds the ones before."""

    OWN = "OWN"
    TEAM = "TEAM"
    SUBTREE = "SUBTREE"
    TERRITORY = "TERRITORY"
    ALL = "ALL"

    @property
    def width(self) -> int:
        """For comparing: own 0 … all 4."""
        return _WIDTHS[self]


_WIDTHS = {scope: width for width, scope in enumerate(Scope)}


@dataclass(frozen=True)
class Grant:
    """A permission, or a pattern of permissions, and how far it reaches."""

    permission: str  # "opportunities.write", "opportunities.*", "*.read", "*"
    scope: Scope


class Rule(StrEnum):
    """What becomes of a field, from the mildest to the strictest; what is not seen is not written either."""

    READ_ONLY = "READ_ONLY"
    MASKED = "MASKED"
    HIDDEN = "HIDDEN"


@dataclass(frozen=True)
class FieldRule:
    """A field of a noun that is not, or not wholly, for who has the role."""

    noun: str  # the collection: "customers"
    field: str  # "tax_id"; "ship_to.phone" where it lies in a message within
    rule: Rule

    @property
    def key(self) -> str:
        """ "customers.tax_id"."""
        return f"{self.noun}.{self.field}"


@dataclass(frozen=True, kw_only=True)
class Role(Record):
    """A set of grants under a name, less what its field rules keep back."""

    display_name: str
    description: str = ""
    kind: Kind = Kind.CUSTOM
    grants: tuple[Grant, ...] = ()
    field_rules: tuple[FieldRule, ...] = ()
    views: tuple[View, ...] = ()

    def check(self) -> None:
        """It grants something, and nothing twice."""
        if not self.display_name.strip():
            raise invalid("display_name", "must not be empty")
        if not self.grants:
            raise invalid("grants", "must hold at least one permission")
        named = [grant.permission for grant in self.grants]
        if len(set(named)) != len(named):
            raise invalid("grants", "must not name a permission twice")
        ruled = [rule.key for rule in self.field_rules]
        if len(set(ruled)) != len(ruled):
            raise invalid("field_rules", "must not name a field twice")

    def must_be_custom(self) -> None:
        """Refuse to change what comes with Tradewind."""
        if self.kind is Kind.BUILT_IN:
            raise Refused("ROLE_BUILT_IN", role=f"roles/{self.id}")


def matches(pattern: str, permission: str) -> bool:
    """Whether *pattern* stands for *permission*; a `*` stands for any one word, alone for anything."""
    if pattern in ("*", permission):
        return True
    left, _, right = pattern.partition(".")
    noun, _, action = permission.partition(".")
    return left in ("*", noun) and right in ("*", action)


@lru_cache(maxsize=4096)
def _meant(pattern: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Which of these permissions *pattern* stands for: asked at every identity, and always the same."""
    return tuple(permission for permission in names if matches(pattern, permission))


def expand(grants: Iterable[Grant], catalogue: Iterable[str]) -> dict[str, Scope]:
    """permission → the widest scope that any of the grants gives it."""
    found: dict[str, Scope] = {}
    names = tuple(catalogue)
    for grant in grants:
        for permission in _meant(grant.permission, names):
            known = found.get(permission)
            if known is None or known.width < grant.scope.width:
                found[permission] = grant.scope
    return found


def only(permissions: Mapping[str, Scope], patterns: Iterable[str]) -> dict[str, Scope]:
    """What is left of *permissions* for a key that is limited to *patterns*."""
    names = tuple(permissions)
    wanted = {permission for pattern in patterns for permission in _meant(pattern, names)}
    return {p: scope for p, scope in permissions.items() if p in wanted}


def within(pattern: str, patterns: Iterable[str], catalogue: Iterable[str]) -> bool:
    """Whether *pattern* stands for something, and for nothing that *patterns* do not stand for."""
    wide = tuple(patterns)
    meant = [permission for permission in catalogue if matches(pattern, permission)]
    return bool(meant) and all(any(matches(each, p) for each in wide) for p in meant)


def check_known(patterns: Iterable[str], catalogue: Iterable[str], field: str) -> None:
    """Refuse a pattern that stands for no permission there is."""
    names = tuple(catalogue)
    for at, pattern in enumerate(patterns):
        if not any(matches(pattern, permission) for permission in names):
            raise Refused("PERMISSION_UNKNOWN", field=f"{field}[{at}]", permission=pattern)


def check_within(given: Mapping[str, Scope], held: Mapping[str, Scope]) -> None:
    """Refuse to give more than the giver holds: nobody raises themselves by way of a role or a key."""
    for permission, scope in sorted(given.items()):
        own = held.get(permission)
        if own is None or own.width < scope.width:
            raise Refused("GRANT_EXCEEDS_OWN", permission=permission, scope=scope.lower())
