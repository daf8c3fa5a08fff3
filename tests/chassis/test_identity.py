"""Principal tokens: whatever is not exactly right is nobody."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf import descriptor_pool
from tradewind.customer.v1 import customer_pb2  # noqa: F401 - the methods' descriptors

from chassis.identity import TYPE, Principal, Signer, Validator
from chassis.kernel.refusals import Refused
from chassis.rpc import Server, policy_of

GATEWAY, CUSTOMER, STRANGER = (Ed25519PrivateKey.generate() for _ in range(3))
KEYS = {"gateway": GATEWAY.public_key(), "customer": CUSTOMER.public_key()}
TENANT = str(uuid.uuid4())


def claims(**more: Any) -> dict[str, Any]:
    """The claims of a good token; one given as None is left out."""
    now = int(time.time())
    good: dict[str, Any] = {
        "iss": "tradewind/gateway", "aud": "tradewind", "iat": now, "exp": now + 60, "jti": "j", "txn": "t",
        "sub": "users/a", "tid": TENANT, "sid": "s", "pv": "1", "perms": {"all": ["customers.read"]},
        "roles": ["sales_rep"], "team": "", "teams": [], "locale": "en", "act": "",
    }  # fmt: skip
    return {name: value for name, value in (good | more).items() if value is not None}


def signed(
    *, key: Any = GATEWAY, algorithm: str = "EdDSA", head: dict[str, Any] | None = None, **said: Any
) -> str:
    """A token with these claims, by default signed as the gateway does."""
    headers = {"typ": TYPE, "kid": "gateway"} | (head or {})
    return jwt.encode(claims(**said), key, algorithm=algorithm, headers=headers)


def part(value: Any) -> str:
    """One part of a token."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def by_hand(head: dict[str, Any], sign: Callable[[bytes], bytes], **said: Any) -> str:
    """A token no library would make."""
    text = f"{part({'typ': TYPE, 'kid': 'gateway'} | head)}.{part(claims(**said))}"
    return f"{text}.{part(sign(text.encode()))}"


def swapped(**said: Any) -> str:
    """A good token whose claims were exchanged after signing."""
    head, _, signature = signed().split(".")
    return f"{head}.{part(claims(**said))}.{signature}"


PUBLIC = GATEWAY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
PEM = GATEWAY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def now() -> int:
    """The time of the asking: whole runs may take longer than a token lives."""
    return int(time.time())


SERVICE = {"key": CUSTOMER, "head": {"kid": "customer"}, "iss": "tradewind/customer"}

FORGED: dict[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "no token": lambda: "not.a.token",
    "two parts": lambda: signed().rpartition(".")[0],
    "no signature": lambda: signed().rpartition(".")[0] + ".",
    "alg none": lambda: by_hand({"alg": "none"}, lambda _: b""),
    "alg None": lambda: by_hand({"alg": "None"}, lambda _: b""),
    "no alg": lambda: by_hand({}, GATEWAY.sign),
    "alg in lower case": lambda: by_hand({"alg": "eddsa"}, GATEWAY.sign),
    "HS256 with the raw public key": lambda: by_hand(
        {"alg": "HS256"}, lambda text: hmac.new(PUBLIC, text, hashlib.sha256).digest()
    ),
    "HS256 with the public key as PEM": lambda: by_hand(
        {"alg": "HS256"}, lambda text: hmac.new(PEM, text, hashlib.sha256).digest()
    ),
    "EdDSA said, HS256 done": lambda: by_hand(
        {"alg": "EdDSA"}, lambda text: hmac.new(PUBLIC, text, hashlib.sha256).digest()
    ),
    "ES256": lambda: signed(key=ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"),
    "RS256": lambda: signed(key=rsa.generate_private_key(65537, 2048), algorithm="RS256"),
    "an unknown critical header": lambda: signed(head={"crit": ["bogus"], "bogus": True}),
    "a stranger's key": lambda: signed(key=STRANGER),
    "a key of its own in the head": lambda: signed(key=STRANGER, head={"jwk": {"kty": "OKP", "x": "AA"}}),
    "another service's key under the gateway's name": lambda: signed(key=CUSTOMER),
    "an unknown key": lambda: signed(head={"kid": "mallory"}),
    "a path for a key": lambda: signed(head={"kid": "../../gateway"}),
    "no key": lambda: by_hand({"alg": "EdDSA", "kid": None}, GATEWAY.sign),
    "a list for a key": lambda: by_hand({"alg": "EdDSA", "kid": ["gateway"]}, GATEWAY.sign),
    "typ JWT": lambda: signed(head={"typ": "JWT"}),
    "no typ": lambda: signed(head={"typ": None}),
    "another audience": lambda: signed(aud="elsewhere"),
    "an audience among others": lambda: signed(aud=["tradewind", "elsewhere"]),
    "another issuer": lambda: signed(iss="tradewind/customer"),
    "an issuer without a name": lambda: signed(iss="tradewind"),
    "expired": lambda: signed(iat=now() - 100, exp=now() - 40),
    "of the future": lambda: signed(iat=now() + 600, exp=now() + 660),
    "not valid yet": lambda: signed(nbf=now() + 600),
    "living too long": lambda: signed(exp=int(time.time()) + 3600),
    "living for ever": lambda: signed(exp=10**12),
    "an expiry in words": lambda: signed(exp="never"),
    "an expiry in digits": lambda: signed(exp=str(int(time.time()) + 60)),
    "no organization's id": lambda: signed(tid="acme"),
    "an empty organization": lambda: signed(tid=""),
    "an organization spelled otherwise": lambda: signed(tid="{" + TENANT.upper() + "}"),
    "permissions as a list": lambda: signed(perms=["customers.read"]),
    "permissions as text": lambda: signed(perms="all"),
    "nobody": lambda: signed(sub=""),
    "a user without an id": lambda: signed(sub="users/"),
    "neither user nor service": lambda: signed(sub="teams/a"),
    "the gateway as another service": lambda: signed(sub="services/contract"),
    "the gateway as a service called alike": lambda: signed(sub="services/accessory"),
    "a service as a user": lambda: signed(**SERVICE),
    "a service as another": lambda: signed(**SERVICE, sub="services/contract"),
    "a service as one called alike": lambda: signed(**SERVICE, sub="services/customers"),
    "a service as the gateway": lambda: signed(**SERVICE, sub="services/access"),
    "a service under the gateway's issuer": lambda: signed(
        **SERVICE | {"iss": "tradewind/gateway"}, sub="services/customer"
    ),
    "claims exchanged": lambda: swapped(sub="users/boss"),
    "too large": lambda: signed(locale="x" * 12_000),
}  # fmt: skip
NEEDED = ("iss", "aud", "iat", "exp", "jti", "txn", "sub", "tid", "sid", "pv", "perms", "roles", "locale")


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_token_speaks_for_nobody(how: str) -> None:
    with pytest.raises(Refused, match="UNAUTHENTICATED"):
        Validator(KEYS).verify(FORGED[how]())


@pytest.mark.parametrize("claim", NEEDED)
def test_a_token_that_keeps_silent_about_something_speaks_for_nobody(claim: str) -> None:
    with pytest.raises(Refused, match="UNAUTHENTICATED"):
        Validator(KEYS).verify(signed(**{claim: None}))


@pytest.mark.parametrize("at", range(3))
def test_a_token_changed_in_any_part_speaks_for_nobody(at: int) -> None:
    parts = signed().split(".")
    middle = len(parts[at]) // 2
    changed = "A" if parts[at][middle] != "A" else "B"
    parts[at] = parts[at][:middle] + changed + parts[at][middle + 1 :]
    with pytest.raises(Refused, match="UNAUTHENTICATED"):
        Validator(KEYS).verify(".".join(parts))


def test_a_good_token_says_who_it_is() -> None:
    who = Principal(user="users/a", tenant=TENANT, permissions={"customers.read": "team"}, roles=("rep",),
                    team="teams/n", teams=("teams/n",), locale="zh", session="sessions/1")  # fmt: skip
    read = Validator(KEYS).verify(Signer("gateway", GATEWAY).mint(who))
    assert (read.user, read.tenant, read.permissions, read.team, read.locale, read.session) == (
        "users/a", TENANT, {"customers.read": "team"}, "teams/n", "zh", "sessions/1",
    )  # fmt: skip
    own = Principal(user="services/customer", tenant=TENANT, permissions={}, actor="users/a")
    read = Validator(KEYS).verify(Signer("customer", CUSTOMER).mint(own))
    assert (read.user, read.actor) == ("services/customer", "users/a")
    Validator(KEYS).verify(signed(sub="services/access"))  # the gateway's own work


def a_minute_and_more_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """For whoever asks what time it is."""
    later = datetime.now(UTC) + timedelta(seconds=70)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return later

    monkeypatch.setattr("chassis.identity.time.time", later.timestamp)
    monkeypatch.setattr("jwt.api_jwt.datetime", Later)


def test_a_remembered_token_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    validator, token = Validator(KEYS), signed()
    assert validator.verify(token).user == "users/a"
    a_minute_and_more_passes(monkeypatch)
    with pytest.raises(Refused, match="UNAUTHENTICATED"):
        validator.verify(token)


def test_what_a_token_admits_to_is_remembered_for_its_method_and_its_time_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    methods = descriptor_pool.Default().FindServiceByName("tradewind.customer.v1.CustomerService")
    read, change = (policy_of(methods.methods_by_name[name]) for name in ("GetCustomer", "UpdateCustomer"))
    server: Any = Server("customer", None, Validator(KEYS), None)  # type: ignore[arg-type]
    said = {"authorization": f"Bearer {signed()}"}
    first, second = server._call(read, said | {"accept-language": "zh"}), server._call(read, said)
    first.request_id = "once"
    assert (second.user, second.scope, second.locale, second.request_id) == ("users/a", "all", "en", "")
    with pytest.raises(Refused, match="PERMISSION_DENIED"):
        server._call(change, said)
    a_minute_and_more_passes(monkeypatch)
    with pytest.raises(Refused, match="UNAUTHENTICATED"):
        server._call(read, said)
