"""What an identity provider is, and who is let in on its word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chassis.kernel.record import Record
from chassis.kernel.refusals import Refused, invalid
from gateway.domain.user import normal_email

USUAL_SCOPES = ("email", "profile")
EMAIL = "email"  # the claim of which email_verified speaks, and of no other
MOST_VALUES = 1000  # of a claim; who is in more groups than that is in some by mistake


@dataclass(frozen=True)
class RoleMapping:
    """Who is said to be in a group has a role."""

    value: str
    role: str  # "roles/…"


@dataclass(frozen=True)
class Identity:
    """Somebody as a provider tells of them."""

    subject: str
    email: str
    verified: bool  # the address is theirs, the provider says
    display_name: str
    groups: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class IdentityProvider(Record):
    """An OpenID provider whose word the organization takes."""

    display_name: str
    issuer: str
    client_id: str
    client_secret: str = ""  # encrypted
    client_secret_hint: str = ""
    scopes: tuple[str, ...] = ()
    email_claim: str = ""
    trusts_email: bool = False
    email_domains: tuple[str, ...] = ()
    role_claim: str = ""
    role_mappings: tuple[RoleMapping, ...] = ()
    default_roles: tuple[str, ...] = ()
    creates_users: bool = False
    enabled: bool = False

    def check(self) -> None:
        """It asks for what it needs and does not open the door to everyone on the internet."""
        if not self.display_name.strip():
            raise invalid("display_name", "must not be empty")
        if self.trusts_email and not self.email_domains:
            raise invalid("trusts_email", "needs email_domains, or anybody could take any address")
        if self._address_claim != EMAIL and not self.trusts_email:
            raise invalid("email_claim", "needs trusts_email, since email_verified speaks of email alone")
        if self.creates_users and not self.email_domains and not self.role_mappings:
            raise invalid("creates_users", "needs email_domains or role_mappings, or it lets in everyone")
        if self.creates_users and not self.default_roles and not self.role_mappings:
            raise invalid("creates_users", "needs default_roles or role_mappings")
        if self.role_mappings and not self.role_claim:
            raise invalid("role_mappings", "need a role_claim")
        if len(set(self.role_mappings)) != len(self.role_mappings):
            raise invalid("role_mappings", "must not hold a mapping twice")

    @property
    def _address_claim(self) -> str:
        return self.email_claim or EMAIL

    @property
    def asked_scopes(self) -> str:
        """What is asked of the provider: always who somebody is."""
        return " ".join(dict.fromkeys(("openid", *(self.scopes or USUAL_SCOPES))))

    @property
    def roles(self) -> tuple[str, ...]:
        """Every role that it may give."""
        return tuple(dict.fromkeys((*self.default_roles, *(each.role for each in self.role_mappings))))

    def read(self, claims: Mapping[str, Any]) -> Identity:
        """Whom these claims, which were verified before, are about."""
        email = claims.get(self._address_claim)
        said = claims.get("email_verified") if self._address_claim == EMAIL else None
        return Identity(
            subject=claims["sub"],
            email=normal_email(email) if isinstance(email, str) and "@" in email else "",
            verified=self.trusts_email or said is True or said == "true",
            display_name=_name(claims),
            groups=_values(claims, self.role_claim) if self.role_claim else (),
        )

    def check_email(self, who: Identity) -> None:
        """Refuse an address that nobody vouches for, or of a domain that does not sign in here."""
        if not who.email or not who.verified or len(who.email) > 254:
            raise Refused("EMAIL_UNVERIFIED")
        domain = who.email.rpartition("@")[2]
        if self.email_domains and domain not in self.email_domains:
            raise Refused("EMAIL_DOMAIN_REFUSED", domain=domain[:100])

    def roles_of(self, who: Identity, known: Iterable[str]) -> tuple[str, ...]:
        """The roles that follow from the claims, of those that are *known* still."""
        groups, there = frozenset(who.groups), frozenset(known)
        mapped = (each.role for each in self.role_mappings if each.value in groups)
        return tuple(role for role in dict.fromkeys((*self.default_roles, *mapped)) if role in there)


def _name(claims: Mapping[str, Any]) -> str:
    for claim in ("name", "preferred_username", "email", "sub"):
        said = claims.get(claim)
        if isinstance(said, str) and said.strip():
            return said.strip()[:100]
    return "?"


def _values(claims: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """The texts of a claim, which may be one or a list, and lie within others."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    values = found if isinstance(found, list) else [found]
    return tuple(value for value in values[:MOST_VALUES] if isinstance(value, str))
