"""ID tokens that are not right in everything: none of them is a way in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.access.identity.browser import Browser
from tests.access.provider import CLIENT, SECRET, Provider

Lie = Callable[[dict[str, Any], dict[str, Any], Provider], str | None]
STRANGER = Ed25519PrivateKey.generate()


def resigned(head: dict[str, Any], claims: dict[str, Any], provider: Provider, **said: Any) -> str:
    """Other claims under the provider's true signature; None leaves one out."""
    told = {name: value for name, value in (claims | said).items() if value is not None}
    key = provider.key.as_pem(private=True)
    return jwt.encode(told, key, algorithm=head["alg"], headers={"kid": head.get("kid")})


def raw(head: dict[str, Any], claims: dict[str, Any], signature: Callable[[bytes], bytes]) -> str:
    """A token no library would make."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims)]
    text = b".".join(parts)
    return (text + b"." + base64.urlsafe_b64encode(signature(text)).rstrip(b"=")).decode()


def public_pem(provider: Provider) -> bytes:
    """What everyone knows of the key."""
    return provider.key.as_pem(private=False)


def claim(**said: Any) -> Lie:
    """A lie in the claims."""
    return lambda head, claims, provider: resigned(head, claims, provider, **said)


def now() -> int:
    """Unix seconds."""
    return int(time.time())


LIES: dict[str, Lie] = {
    "another sign-in's nonce": claim(nonce="n" * 43),
    "no nonce": claim(nonce=None),
    "a nonce that is no text": claim(nonce=7),
    "another issuer": claim(iss="https://login.example.com"),
    "the issuer with a stroke": lambda h, c, p: resigned(h, c, p, iss=p.issuer + "/"),
    "no issuer": claim(iss=None),
    "another audience": claim(aud="somebody-else"),
    "an audience among others": claim(aud=[CLIENT, "somebody-else"]),
    "no audience": claim(aud=None),
    "given to another": claim(azp="somebody-else"),
    "expired": lambda h, c, p: resigned(h, c, p, exp=now() - 61, iat=now() - 300),
    "no expiry": claim(exp=None),
    "of the future": lambda h, c, p: resigned(h, c, p, iat=now() + 300),
    "not valid yet": lambda h, c, p: resigned(h, c, p, nbf=now() + 300),
    "old": lambda h, c, p: resigned(h, c, p, iat=now() - 3600),
    "no time of issue": claim(iat=None),
    "nobody": claim(sub=None),
    "nobody at all": claim(sub=""),
    "a subject too long": claim(sub="s" * 256),
    "another access token's": claim(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
    "alg none": lambda h, c, p: raw({"alg": "none", "kid": "r"}, c, lambda _: b""),
    "alg None": lambda h, c, p: raw({"alg": "NONE", "kid": "r"}, c, lambda _: b""),
    "HS256 with the public key": lambda h, c, p: raw(
        {"alg": "HS256", "kid": "r"}, c, lambda text: hmac.new(public_pem(p), text, hashlib.sha256).digest()
    ),
    "HS256 with the client's secret": lambda h, c, p: jwt.encode(c, SECRET, algorithm="HS256"),
    "RS512": lambda h, c, p: jwt.encode(
        c, p.key.as_pem(private=True), algorithm="RS512", headers={"kid": "r"}
    ),
    "a stranger's key": lambda h, c, p: jwt.encode(c, STRANGER, algorithm="EdDSA", headers={"kid": "o"}),
    "a key it brings along": lambda h, c, p: jwt.encode(
        c, STRANGER, algorithm="EdDSA", headers={"kid": "x", "jwk": {
            "kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(STRANGER.public_key().public_bytes(
                Encoding.Raw, PublicFormat.Raw)).decode().rstrip("=")}}),
    "a key to be fetched": lambda h, c, p: jwt.encode(
        c, STRANGER, algorithm="EdDSA", headers={"kid": "x", "jku": f"{p.issuer}/elsewhere"}
    ),
    "an unknown key": lambda h, c, p: jwt.encode(
        c, p.key.as_pem(private=True), algorithm="RS256", headers={"kid": "unknown"}
    ),
    "another kind of key under the name": lambda h, c, p: jwt.encode(
        c, p.key.as_pem(private=True), algorithm="RS256", headers={"kid": "e"}
    ),
    "an access token": lambda h, c, p: jwt.encode(
        c, p.key.as_pem(private=True), algorithm="RS256", headers={"kid": "r", "typ": "at+jwt"}
    ),
    "something critical": lambda h, c, p: raw(
        {"alg": "RS256", "kid": "r", "crit": ["x"], "x": 1}, c, lambda text: b"s"
    ),
    "claims exchanged": lambda h, c, p: ".".join((
        (good := resigned(h, c, p)).split(".")[0],
        base64.urlsafe_b64encode(json.dumps(c | {"sub": "boss"}).encode()).decode().rstrip("="),
        good.split(".")[2],
    )),
    "no token": lambda h, c, p: "nothing",
    "a large token": claim(padding="x" * 33_000),
}  # fmt: skip


@pytest.mark.req("X-08")
@pytest.mark.parametrize("lie", LIES)
async def test_a_token_that_is_not_right_in_everything_lets_nobody_in(
    browser: Browser, provider: Provider, lie: str
) -> None:
    provider.spoil = lambda head, claims: LIES[lie](head, claims, provider)
    assert await browser.home() == ("error", "IDENTITY_REFUSED")
    assert "/elsewhere" not in provider.asked


async def test_the_truth_in_the_same_hand_lets_them_in(browser: Browser, provider: Provider) -> None:
    provider.spoil = lambda head, claims: resigned(head, claims, provider)
    assert (await browser.signed_in())["user"]["email"] == provider.person["email"]


async def test_keys_that_are_new_are_looked_for_but_not_each_time(
    browser: Browser, provider: Provider
) -> None:
    await browser.signed_in()
    for _ in range(3):
        provider.spoil = lambda head, claims: LIES["an unknown key"](head, claims, provider)
        assert await browser.home() == ("error", "IDENTITY_REFUSED")
    assert provider.asked.count("/keys") <= 2
