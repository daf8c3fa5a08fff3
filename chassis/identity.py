"""Principal tokens: how the gateway tells a service who calls, for one minute, beyond doubt.

EdDSA JWTs after the IETF transaction-token draft. One strict validator: algorithm exactly EdDSA, type
exactly `txntoken+jwt`, every claim present, a lifetime of at most two minutes, keys only from the
configured set. The key named `gateway` may speak for anyone; a service's key only for that service.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from chassis.field_rules import FieldRules
from chassis.kernel.refusals import Refused
from chassis.personal.keys import make_master

AUDIENCE = "tradewind"
TYPE = "txntoken+jwt"
LIFETIME = 60
LONGEST = 120
LEEWAY = 5
LARGEST = 12_000  # bytes: a token has to fit the metadata of a call
TERRITORY = "territories/"
_CLAIMS = ["iss", "aud", "iat", "exp", "jti", "txn", "sub", "tid", "sid", "pv", "perms", "roles", "locale"]
_USER = re.compile(r"users/[^/\s]+")


@dataclass(frozen=True)
class Principal:
    """What a verified token says."""

    user: str  # "users/…" or "services/…"
    tenant: str
    permissions: Mapping[str, str]  # permission → scope
    roles: tuple[str, ...] = ()
    team: str = ""
    teams: tuple[str, ...] = ()
    territories: tuple[str, ...] = ()
    locale: str = "en"
    zone: str = "UTC"  # the organization's, an IANA name
    session: str = ""
    version: str = ""  # of the permissions
    actor: str = ""  # on whose behalf a service acts
    expires: float = 0.0
    fields: FieldRules | None = None  # what this caller may not see or write; None: no rules


class Signer:
    """Mints principal tokens with one private key."""

    def __init__(self, name: str, private_key: Ed25519PrivateKey) -> None:
        self.name = name
        self.key = private_key

    @classmethod
    def load(cls, folder: Path, name: str) -> Signer:
        """The key `<name>.pem` of the installation's key folder."""
        key = load_pem_private_key((folder / f"{name}.pem").read_bytes(), password=None)
        assert isinstance(key, Ed25519PrivateKey)
        return cls(name, key)

    def mint(self, who: Principal, lifetime: int = LIFETIME) -> str:
        """A token for *who*; seconds of *lifetime* from now."""
        grouped: dict[str, list[str]] = {}
        for permission, scope in who.permissions.items():
            grouped.setdefault(scope, []).append(permission)
        now = int(time.time())
        claims = {
            "iss": f"tradewind/{self.name}", "aud": AUDIENCE, "iat": now, "exp": now + lifetime,
            "jti": str(uuid.uuid4()), "txn": str(uuid.uuid4()), "sub": who.user, "tid": who.tenant,
            "sid": who.session, "pv": who.version, "perms": grouped, "roles": list(who.roles),
            "team": who.team, "teams": list(who.teams), "locale": who.locale, "act": who.actor,
        }  # fmt: skip
        if who.territories:
            claims["places"] = [name.removeprefix(TERRITORY) for name in who.territories]
        if who.zone != "UTC":
            claims["zone"] = who.zone
        if who.fields:
            claims["fields"] = who.fields.claim()
        return jwt.encode(claims, self.key, algorithm="EdDSA", headers={"typ": TYPE, "kid": self.name})

    def secret(self, purpose: str) -> bytes:
        """A key for *purpose*, the same in every process that holds this private key."""
        raw = self.key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return hmac.new(raw, purpose.encode(), hashlib.sha256).digest()


class Validator:
    """Verifies principal tokens against a fixed set of public keys, remembering those still valid."""

    def __init__(self, keys: Mapping[str, Any]) -> None:
        self._keys = dict(keys)
        self._known: dict[str, Principal] = {}

    @classmethod
    def load(cls, folder: Path) -> Validator:
        """The public keys of `jwks.json`."""
        document = json.loads((folder / "jwks.json").read_text())
        return cls({key["kid"]: jwt.PyJWK(key, algorithm="EdDSA").key for key in document["keys"]})

    @property
    def keys(self) -> Mapping[str, Any]:
        """The public keys by their names."""
        return self._keys

    def verify(self, token: str) -> Principal:
        """Who the token speaks for, or UNAUTHENTICATED."""
        known = self._known.get(token)
        if known and known.expires > time.time():
            return known
        principal = self._read(token)
        if len(self._known) > 10_000:
            now = time.time()
            self._known = {t: p for t, p in self._known.items() if p.expires > now}
        self._known[token] = principal
        return principal

    def _read(self, token: str) -> Principal:
        if len(token) > LARGEST:
            raise Refused("UNAUTHENTICATED", problem="the token is too large")
        try:
            _check_spelling(token)
            header = jwt.get_unverified_header(token)
            if header.get("typ") != TYPE or header.get("alg") != "EdDSA":
                raise Refused("UNAUTHENTICATED", problem="the token is of the wrong type")
            name = header.get("kid")
            key = self._keys.get(name) if isinstance(name, str) else None
            if key is None:
                raise Refused("UNAUTHENTICATED", problem="the token's key is unknown")
            claims = jwt.decode(
                token, key, algorithms=["EdDSA"], audience=AUDIENCE, issuer=f"tradewind/{name}",
                leeway=LEEWAY, options={"require": _CLAIMS, "strict_aud": True},
            )  # fmt: skip
            return self._principal(str(name), claims)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError,
                RecursionError) as problem:  # fmt: skip
            raise Refused("UNAUTHENTICATED", problem="the token is not valid") from problem

    @staticmethod
    def _principal(key_name: str, claims: Mapping[str, Any]) -> Principal:
        if claims["exp"] - claims["iat"] > LONGEST:
            raise ValueError("lives too long")
        subject = claims["sub"]
        if key_name != "gateway" and subject != f"services/{key_name}":
            raise ValueError("a service speaks only for itself")
        if key_name == "gateway" and subject != "services/access" and not _USER.fullmatch(subject):
            raise ValueError("the gateway speaks for users and for itself")
        if str(uuid.UUID(claims["tid"])) != claims["tid"]:
            raise ValueError("an organization has one spelling")
        return Principal(
            user=subject,
            tenant=claims["tid"],
            permissions={p: scope for scope, names in claims["perms"].items() for p in names},
            roles=tuple(claims["roles"]),
            team=claims.get("team", ""),
            teams=tuple(claims.get("teams", ())),
            territories=tuple(TERRITORY + id for id in claims.get("places", ())),
            locale=claims["locale"],
            zone=str(claims.get("zone", "UTC")),
            session=claims["sid"],
            version=str(claims["pv"]),
            actor=claims.get("act", ""),
            expires=float(claims["exp"]),
            fields=FieldRules.of_claim(claims.get("fields")),
        )


def _check_spelling(token: str) -> None:
    """Refuse what says the same in more than one way, or could be read in two: parts that are not base64url
    to the last bit, JSON that is not UTF-8 or names a thing twice. The library forgives all of it."""
    parts = token.split(".")
    raw = [jwt.utils.base64url_decode(part) for part in parts]
    if len(parts) != 3 or [jwt.utils.base64url_encode(each).decode() for each in raw] != parts:
        raise ValueError("a token has one spelling")
    for each in raw[:2]:
        json.loads(each.decode(), object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a claim stands twice")
    return made


def make_keys(folder: Path, names: list[str]) -> None:
    """Make what is missing of an installation's keys: `<name>.pem` and `<name>.master` (0600) each, and
    `jwks.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    public = []
    for name in names:
        path = folder / f"{name}.pem"
        if not path.exists():
            key = Ed25519PrivateKey.generate()
            path.touch(mode=0o600)
            path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        make_master(folder / f"{name}.master")
        raw = Signer.load(folder, name).key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        x = jwt.utils.base64url_encode(raw).decode()
        public.append({"kty": "OKP", "crv": "Ed25519", "kid": name, "use": "sig", "alg": "EdDSA", "x": x})
    (folder / "jwks.json").write_text(json.dumps({"keys": public}, indent=1))
