"""Forged and damaged principal tokens, by name: what nobody may take for a token, whoever it is shown to.

Some are signed with the true key, as a defect or a thief in the house would; they are wrong all the same.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chassis.identity import TYPE

NEEDED = ("iss", "aud", "iat", "exp", "jti", "txn", "sub", "tid", "sid", "pv", "perms", "roles", "locale")
EC_KEY, RSA_KEY = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)


def now() -> int:
    """The time of the asking: whole runs may take longer than a token lives."""
    return int(time.time())


def part(value: Any) -> str:
    """One part of a token."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@dataclass
class Forger:
    """Somebody with the keys of the gateway, a service and a stranger; tokens for one organization."""

    gateway: Ed25519PrivateKey
    service: Ed25519PrivateKey  # of the customer service
    tenant: str
    trap: str = "http://127.0.0.1:1"  # where a validator would look that follows what a token names
    stranger: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def public(self) -> bytes:
        """The gateway's public key, as everyone may have it."""
        return self.gateway.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def pem(self) -> bytes:
        """The same as PEM."""
        return self.gateway.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def jwk(self) -> dict[str, str]:
        """The stranger's public key, as a token might bring it along."""
        raw = self.stranger.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "kid": "gateway", "x": part(raw)}

    def claims(self, **more: Any) -> dict[str, Any]:
        """The claims of a good token; one given as None is left out."""
        good: dict[str, Any] = {
            "iss": "tradewind/gateway", "aud": "tradewind", "iat": now(), "exp": now() + 60, "jti": "j",
            "txn": "t", "sub": "users/a", "tid": self.tenant, "sid": "s", "pv": "1",
            "perms": {"all": ["customers.read"]}, "roles": ["sales_rep"], "team": "", "teams": [],
            "locale": "en", "act": "",
        }  # fmt: skip
        return {name: value for name, value in (good | more).items() if value is not None}

    def signed(self, *, key: Any = None, algorithm: str = "EdDSA", head: Any = None, **said: Any) -> str:
        """A token with these claims, by default signed as the gateway does."""
        headers = {"typ": TYPE, "kid": "gateway"} | (head or {})
        return jwt.encode(self.claims(**said), key or self.gateway, algorithm=algorithm, headers=headers)

    def own(self, **said: Any) -> str:
        """A token of the service's, which speaks for itself alone."""
        told = {"key": self.service, "head": {"kid": "customer"}, "iss": "tradewind/customer"} | said
        return self.signed(**told)

    def by_hand(
        self, head: dict[str, Any] | bytes, sign: Callable[[bytes], bytes], body: bytes = b"", **said: Any
    ) -> str:
        """A token no library would make."""
        first = head if isinstance(head, bytes) else {"typ": TYPE, "kid": "gateway"} | head
        text = f"{part(first)}.{part(body or self.claims(**said))}"
        return f"{text}.{part(sign(text.encode()))}"

    def true(self, body: bytes) -> str:
        """These bytes under a true head and the gateway's true signature."""
        return self.by_hand({"alg": "EdDSA"}, self.gateway.sign, body)

    def changed(self, at: int, change: Callable[[str], str]) -> str:
        """A good token with one part changed after signing."""
        parts = self.signed().split(".")
        parts[at] = change(parts[at])
        return ".".join(parts)

    def mac(self, key: bytes) -> Callable[[bytes], bytes]:
        """HMAC-SHA256 under what should be no key for it."""
        return lambda text: hmac.new(key, text, hashlib.sha256).digest()


def _other_letter(text: str) -> str:
    middle = len(text) // 2
    return text[:middle] + ("A" if text[middle] != "A" else "B") + text[middle + 1 :]


def _spare_bits(text: str) -> str:
    """The same bytes by another last letter: its low bits stand for nothing."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + letters[letters.index(text[-1]) ^ 1]


def _body(forger: Forger) -> bytes:
    return json.dumps(forger.claims()).encode()


Forge = Callable[[Forger], str]
FORGED: dict[str, Forge] = {
    # not a token
    "no token": lambda f: "not.a.token",
    "dots": lambda f: "..",
    "one word": lambda f: "x" * 80,
    "two parts": lambda f: f.signed().rpartition(".")[0],
    "four parts": lambda f: f.signed() + ".x",
    "five parts, as if encrypted": lambda f: ".".join([part({"alg": "dir", "enc": "A256GCM"}), *"abcd"]),
    "no signature": lambda f: f.signed().rpartition(".")[0] + ".",
    "detached claims": lambda f: f.changed(1, lambda _: ""),
    "no head": lambda f: f.changed(0, lambda _: ""),
    "too large": lambda f: f.signed(locale="x" * 9_000),
    # algorithms
    "alg none": lambda f: f.by_hand({"alg": "none"}, lambda _: b""),
    "alg None": lambda f: f.by_hand({"alg": "None"}, lambda _: b""),
    "alg nOnE with the true signature": lambda f: f.by_hand({"alg": "nOnE"}, f.gateway.sign),
    "no alg": lambda f: f.by_hand({}, f.gateway.sign),
    "alg in lower case": lambda f: f.by_hand({"alg": "eddsa"}, f.gateway.sign),
    "alg as a list": lambda f: f.by_hand({"alg": ["EdDSA"]}, f.gateway.sign),
    "alg twice": lambda f: f.by_hand(
        b'{"alg":"none","typ":"txntoken+jwt","kid":"gateway","alg":"EdDSA"}', f.gateway.sign
    ),
    "HS256 with the raw public key": lambda f: f.by_hand({"alg": "HS256"}, f.mac(f.public)),
    "HS256 with the public key as PEM": lambda f: f.by_hand({"alg": "HS256"}, f.mac(f.pem)),
    "HS256 with nothing": lambda f: f.by_hand({"alg": "HS256"}, f.mac(b"")),
    "EdDSA said, HS256 done": lambda f: f.by_hand({"alg": "EdDSA"}, f.mac(f.public)),
    "ES256": lambda f: f.signed(key=EC_KEY, algorithm="ES256"),
    "ES256 of zeros": lambda f: f.by_hand({"alg": "ES256"}, lambda _: bytes(64)),
    "EdDSA of zeros": lambda f: f.by_hand({"alg": "EdDSA"}, lambda _: bytes(64)),
    "RS256": lambda f: f.signed(key=RSA_KEY, algorithm="RS256"),
    # keys
    "a stranger's key": lambda f: f.signed(key=f.stranger),
    "a key it brings along": lambda f: f.signed(key=f.stranger, head={"jwk": f.jwk}),
    "a key to be fetched": lambda f: f.signed(key=f.stranger, head={"jku": f"{f.trap}/jwks.json"}),
    "a key to be fetched under a new name": lambda f: f.signed(
        key=f.stranger, head={"jku": f"{f.trap}/jwks.json", "kid": "new"}
    ),
    "a certificate to be fetched": lambda f: f.signed(key=f.stranger, head={"x5u": f"{f.trap}/cert.pem"}),
    "a certificate it brings along": lambda f: f.signed(key=f.stranger, head={"x5c": ["MIIB"]}),
    "a key named by an address": lambda f: f.signed(key=f.stranger, head={"kid": f"{f.trap}/jwks.json"}),
    "another service's key under the gateway's name": lambda f: f.signed(key=f.service),
    "an unknown key": lambda f: f.signed(head={"kid": "mallory"}),
    "a path for a key": lambda f: f.signed(head={"kid": "../../gateway"}),
    "a device for a key": lambda f: f.by_hand({"alg": "HS256", "kid": "/dev/null"}, f.mac(b"")),
    "SQL for a key": lambda f: f.signed(head={"kid": "x' UNION SELECT 'gateway' --"}),
    "a name that looks alike": lambda f: f.signed(head={"kid": "gatew\u0430y"}),
    "a name in wide letters": lambda f: f.signed(head={"kid": "\uff47ateway"}),
    "a name and a zero byte": lambda f: f.signed(head={"kid": "gateway\x00"}),
    "an empty key": lambda f: f.signed(head={"kid": ""}),
    "no key": lambda f: f.by_hand({"alg": "EdDSA", "kid": None}, f.gateway.sign),
    "a list for a key": lambda f: f.by_hand({"alg": "EdDSA", "kid": ["gateway"]}, f.gateway.sign),
    # heads
    "typ JWT": lambda f: f.signed(head={"typ": "JWT"}),
    "typ in capitals": lambda f: f.signed(head={"typ": TYPE.upper()}),
    "typ of an access token": lambda f: f.signed(head={"typ": "at+jwt"}),
    "no typ": lambda f: f.signed(head={"typ": None}),
    "an unknown critical header": lambda f: f.signed(head={"crit": ["bogus"], "bogus": True}),
    "claims not encoded": lambda f: f.by_hand(
        {"alg": "EdDSA", "b64": False, "crit": ["b64"]}, f.gateway.sign
    ),
    "claims compressed": lambda f: f.by_hand(
        {"alg": "EdDSA", "zip": "DEF"}, f.gateway.sign, zlib.compress(_body(f))[2:-4]
    ),
    "a token within a token": lambda f: f.by_hand(
        {"alg": "EdDSA", "cty": "JWT"}, f.gateway.sign, f.signed().encode()
    ),
    "a head that is a list": lambda f: f.by_hand(b"[1]", f.gateway.sign),
    "a head without end": lambda f: f.by_hand(b"[" * 4000, f.gateway.sign),
    # audience and issuer
    "another audience": lambda f: f.signed(aud="elsewhere"),
    "an audience among others": lambda f: f.signed(aud=["tradewind", "elsewhere"]),
    "an audience in capitals": lambda f: f.signed(aud="Tradewind"),
    "another issuer": lambda f: f.signed(iss="tradewind/customer"),
    "an issuer without a name": lambda f: f.signed(iss="tradewind"),
    "an issuer as a list": lambda f: f.by_hand(
        {"alg": "EdDSA"}, f.gateway.sign, iss=["tradewind/gateway"]
    ),
    # times
    "expired": lambda f: f.signed(iat=now() - 100, exp=now() - 40),
    "of the future": lambda f: f.signed(iat=now() + 600, exp=now() + 660),
    "not valid yet": lambda f: f.signed(nbf=now() + 600),
    "living too long": lambda f: f.signed(exp=now() + 3600),
    "living ten years": lambda f: f.signed(exp=now() + 10 * 365 * 86_400),
    "living for ever": lambda f: f.signed(exp=10**12),
    "an expiry beyond numbers": lambda f: f.signed(exp=float("inf")),
    "an expiry that is no number": lambda f: f.signed(exp=float("nan")),
    "an expiry too large to read": lambda f: f.true(_body(f).replace(b'"exp": ', b'"exp": 1e999, "was": ')),
    "an expiry in words": lambda f: f.signed(exp="never"),
    "an expiry in digits": lambda f: f.signed(exp=str(now() + 60)),
    "an expiry before its birth": lambda f: f.signed(iat=now(), exp=now() - 30),
    # whom it is about
    "no organization's id": lambda f: f.signed(tid="acme"),
    "an empty organization": lambda f: f.signed(tid=""),
    "an organization spelled otherwise": lambda f: f.signed(tid="{" + f.tenant.upper() + "}"),
    "two organizations": lambda f: f.signed(tid=[f.tenant, f.tenant]),
    "permissions as a list": lambda f: f.signed(perms=["customers.read"]),
    "permissions as text": lambda f: f.signed(perms="all"),
    "nobody": lambda f: f.signed(sub=""),
    "a user without an id": lambda f: f.signed(sub="users/"),
    "a user and a line": lambda f: f.signed(sub="users/a\n"),
    "neither user nor service": lambda f: f.signed(sub="teams/a"),
    "the gateway as another service": lambda f: f.signed(sub="services/contract"),
    "the gateway as a service called alike": lambda f: f.signed(sub="services/accessory"),
    "a service as a user": lambda f: f.own(),
    "a service as another": lambda f: f.own(sub="services/contract"),
    "a service as one called alike": lambda f: f.own(sub="services/customers"),
    "a service as the gateway": lambda f: f.own(sub="services/access"),
    "a service under the gateway's issuer": lambda f: f.own(iss="tradewind/gateway", sub="services/customer"),
    # damage
    "claims exchanged": lambda f: f.changed(1, lambda _: part(f.claims(sub="users/boss"))),
    "a letter of the head": lambda f: f.changed(0, _other_letter),
    "a letter of the claims": lambda f: f.changed(1, _other_letter),
    "a letter of the signature": lambda f: f.changed(2, _other_letter),
    "the signature cut": lambda f: f.changed(2, lambda s: s[:-8]),
    "the signature doubled": lambda f: f.changed(2, lambda s: s + s),
    "the signature padded": lambda f: f.changed(2, lambda s: s + "=="),
    "the signature with a stranger's letter": lambda f: f.changed(2, lambda s: s[:9] + "!" + s[9:]),
    "the signature's spare bits": lambda f: f.changed(2, _spare_bits),
    "a space within": lambda f: f.changed(2, lambda s: s[:9] + " " + s[9:]),
    "claims twice": lambda f: f.true(_body(f)[:-1] + b', "sub": "users/boss"}'),
    "claims twice, deep": lambda f: f.true(_body(f).replace(b'{"all":', b'{"all": [], "all":')),
    "claims after a byte order mark": lambda f: f.true(b"\xef\xbb\xbf" + _body(f)),
    "claims in UTF-16": lambda f: f.true(_body(f).decode().encode("utf-16")),
    "claims in Latin-1": lambda f: f.true(_body(f).replace(b'"en"', b'"\xe9"')),
    "claims as a list": lambda f: f.true(b"[" + _body(f) + b"]"),
    "claims and more": lambda f: f.true(_body(f) + b"{}"),
    "claims without end": lambda f: f.true(b'{"a":' + b"[" * 4000),
    **{f"no {claim}": lambda f, claim=claim: f.signed(**{claim: None}) for claim in NEEDED},
}  # fmt: skip
