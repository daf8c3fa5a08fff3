"""OpenID Connect as a relying party: what a provider says of itself, its keys, and its ID tokens judged.

Authorization code with PKCE (S256), state and nonce. An ID token counts only when it is signed by a key of
the provider under one of three algorithms, and was made for this client and this sign-in, a moment ago.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from chassis.kernel.refusals import Refused
from gateway.fetch import Fetcher

# algorithm → the kind of key, its curve, and the hash that belongs to it
ALGORITHMS = {
    "RS256": ("RSA", None, hashlib.sha256),
    "ES256": ("EC", "P-256", hashlib.sha256),
    "EdDSA": ("OKP", "Ed25519", hashlib.sha512),
}
CONFIGURATION = "/.well-known/openid-configuration"
FRESH = 600.0  # seconds that a configuration and keys are taken as they were
AGAIN = 30.0  # between two looks for a key that is not there
MOST_PROVIDERS, MOST_KEYS = 500, 100
SKEW = 60
OLDEST = 600
LARGEST = 32 * 1024
NEEDED = ["iss", "sub", "aud", "exp", "iat", "nonce"]


@dataclass(frozen=True)
class Configuration:
    """What a provider says of itself."""

    issuer: str
    authorize: str
    token: str
    keys: str
    user: str  # "": there is nothing to be asked about a user
    posts_secret: bool  # the client's secret goes into the form
    names_itself: bool  # RFC 9207: every answer says by whom it is


@dataclass(frozen=True)
class Signed:
    """What came for a code: the token that says who, and the one that opens the provider's own doors."""

    id_token: str
    access_token: str


class OpenId:
    """Providers as they are asked and judged; one per process."""

    def __init__(self, fetcher: Fetcher) -> None:
        self.fetcher = fetcher
        self._configurations: OrderedDict[str, tuple[float, Configuration]] = OrderedDict()
        self._keys: OrderedDict[str, tuple[float, tuple[jwt.PyJWK, ...]]] = OrderedDict()

    async def configuration(self, issuer: str) -> Configuration:
        """What the provider says of itself, remembered for some minutes."""
        at, known = self._configurations.get(issuer, (0.0, None))
        if known is None or time.monotonic() - at > FRESH:
            said = await self.fetcher.get(issuer.rstrip("/") + CONFIGURATION)
            known = self._read(issuer, said)
            _remember(self._configurations, issuer, known)
        return known

    def _read(self, issuer: str, said: Mapping[str, Any]) -> Configuration:
        if said.get("issuer") != issuer:
            raise _unusable(f"it calls itself {str(said.get('issuer'))[:200]!r} and not {issuer!r}")
        found = {}
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(url := said.get(name), str):
                raise _unusable(f"its configuration has no {name}")
            self.fetcher.check(url)
            found[name] = url
        for name, needed in (
            ("response_types_supported", "code"), ("code_challenge_methods_supported", "S256"),
        ):  # fmt: skip
            if name in said and needed not in _texts(said[name]):
                raise _unusable(f"its {name} lack {needed}")
        signs = _texts(said.get("id_token_signing_alg_values_supported", ["RS256"]))
        if not ALGORITHMS.keys() & set(signs):
            raise _unusable(f"it signs with none of {', '.join(ALGORITHMS)}")
        ways = _texts(said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"]))
        user = said.get("userinfo_endpoint")
        return Configuration(
            issuer, found["authorization_endpoint"], found["token_endpoint"], found["jwks_uri"],
            user if isinstance(user, str) else "",
            "client_secret_basic" not in ways and "client_secret_post" in ways,
            said.get("authorization_response_iss_parameter_supported") is True,
        )  # fmt: skip

    async def keys(self, configuration: Configuration, oldest: float = FRESH) -> tuple[jwt.PyJWK, ...]:
        """The keys that the provider signs with, as they were at most *oldest* seconds ago."""
        at, known = self._keys.get(configuration.keys, (0.0, None))
        if known is None or time.monotonic() - at > oldest:
            said = await self.fetcher.get(configuration.keys)
            listed = said.get("keys")
            if not isinstance(listed, list) or len(listed) > MOST_KEYS:
                raise _unusable(f"its keys are no list of at most {MOST_KEYS}")
            known = tuple(key for each in listed if (key := _key(each)) is not None)
            _remember(self._keys, configuration.keys, known)
        return known

    async def exchange(
        self,
        configuration: Configuration,
        *,
        client: str,
        secret: str,
        code: str,
        verifier: str,
        redirect: str,
    ) -> Signed:
        """What the provider gives for a code."""
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": redirect,
            "code_verifier": verifier,
        }  # fmt: skip
        user = None
        if secret and not configuration.posts_secret:
            user = (_form_encoded(client), _form_encoded(secret))
        else:
            form |= {"client_id": client} | ({"client_secret": secret} if secret else {})
        status, said = await self.fetcher.post(configuration.token, form, user)
        if status != 200:
            error = str(said.get("error", ""))[:60]
            raise _refuse(f"it gives no token for the code ({error or status})")
        tokens = said.get("id_token"), said.get("access_token", "")
        if not all(isinstance(each, str) for each in tokens) or not tokens[0]:
            raise _refuse("it gives no ID token")
        return Signed(*tokens)

    async def claims(
        self, configuration: Configuration, signed: Signed, *, client: str, nonce: str
    ) -> dict[str, Any]:
        """What the ID token says, once everything about it is right; IDENTITY_REFUSED else."""
        if len(signed.id_token) > LARGEST:
            raise _refuse("the ID token is too large")
        try:
            head = jwt.get_unverified_header(signed.id_token)
            algorithm = head.get("alg")
            if algorithm not in ALGORITHMS or "crit" in head or head.get("typ", "JWT") not in ("JWT", "jwt"):
                raise _refuse("the ID token is signed in a way that does not count")
            key = await self._signing(configuration, head)
            claims = jwt.decode(
                signed.id_token, key.key, algorithms=[algorithm], audience=client,
                issuer=configuration.issuer, leeway=SKEW, options={"require": NEEDED},
            )  # fmt: skip
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError) as problem:
            raise _refuse(f"the ID token is not valid ({type(problem).__name__})") from problem
        _check(claims, client, nonce)
        _check_access(claims, signed.access_token, algorithm)
        return claims

    async def _signing(self, configuration: Configuration, head: Mapping[str, Any]) -> jwt.PyJWK:
        """The provider's key that the head names; looked for anew, not too often, when it is not there."""
        for oldest in (FRESH, AGAIN):
            fitting = [key for key in await self.keys(configuration, oldest) if _fits(key, head)]
            if len(fitting) == 1:
                return fitting[0]
        raise _refuse("the ID token is signed by a key that the provider does not name")

    async def more(
        self, configuration: Configuration, signed: Signed, claims: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The claims, and those that the provider keeps at its userinfo endpoint."""
        if not configuration.user or not signed.access_token:
            return dict(claims)
        said = await self.fetcher.get(configuration.user, token=signed.access_token)
        if said.get("sub") != claims["sub"]:
            raise _refuse("its userinfo is about somebody else")
        return said | dict(claims)


def _fits(key: jwt.PyJWK, head: Mapping[str, Any]) -> bool:
    return key.algorithm_name == head["alg"] and ("kid" not in head or key.key_id == head["kid"])


def _key(said: Any) -> jwt.PyJWK | None:
    """A public key that signatures may be checked with; None for every other."""
    if not isinstance(said, dict) or said.get("use", "sig") != "sig" or "d" in said:
        return None
    kind = [said.get("kty"), said.get("crv")]
    algorithm = next((name for name, (*known, _) in ALGORITHMS.items() if known == kind), None)
    if algorithm is None or said.get("alg", algorithm) != algorithm:
        return None
    try:
        key = jwt.PyJWK(said, algorithm=algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < 2048:
        return None
    return key


def _check(claims: Mapping[str, Any], client: str, nonce: str) -> None:
    """What OpenID Connect asks for beyond a good signature (Core §3.1.3.7)."""
    audience = claims["aud"]
    if (audience if isinstance(audience, list) else [audience]) != [client]:
        raise _refuse("the ID token is meant for others too")
    if claims.get("azp", client) != client:
        raise _refuse("the ID token was given to another client")
    said = claims["nonce"]
    if not isinstance(said, str) or not hmac.compare_digest(said.encode(), nonce.encode()):
        raise _refuse("the ID token belongs to another sign-in")
    if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= 255:
        raise _refuse("the ID token says of nobody who they are")
    if time.time() - int(claims["iat"]) > OLDEST + SKEW:
        raise _refuse("the ID token is old")


def _check_access(claims: Mapping[str, Any], token: str, algorithm: str) -> None:
    """Where the ID token names its access token, it came with that one."""
    said = claims.get("at_hash")
    if said is None or not token:
        return
    whole = ALGORITHMS[algorithm][2](token.encode()).digest()
    half = base64.urlsafe_b64encode(whole[: len(whole) // 2]).rstrip(b"=").decode()
    if not isinstance(said, str) or not hmac.compare_digest(said.encode(), half.encode()):
        raise _refuse("the ID token belongs to another access token")


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _form_encoded(text: str) -> str:
    """As RFC 6749 §2.3.1 wants names and secrets in the header."""
    return quote_plus(text)


def _remember(known: OrderedDict[str, tuple[float, Any]], name: str, value: Any) -> None:
    known[name] = (time.monotonic(), value)
    known.move_to_end(name)
    while len(known) > MOST_PROVIDERS:
        known.popitem(last=False)


def _unusable(problem: str) -> Refused:
    return Refused("PROVIDER_INVALID", problem=problem)


def _refuse(problem: str) -> Refused:
    return Refused("IDENTITY_REFUSED", problem=problem)
