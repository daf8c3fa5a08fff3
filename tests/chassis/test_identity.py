"""Principal tokens: whatever is not exactly right is nobody."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf import descriptor_pool
from tradewind.customer.v1 import customer_pb2  # noqa: F401 - the methods' descriptors

from chassis.identity import Principal, Signer, Validator
from chassis.kernel.refusals import Refused
from chassis.rpc import Server, policy_of
from tests.tokens import FORGED, Forger

GATEWAY, CUSTOMER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
KEYS = {"gateway": GATEWAY.public_key(), "customer": CUSTOMER.public_key()}
TENANT = str(uuid.uuid4())
FORGER = Forger(GATEWAY, CUSTOMER, TENANT)
signed = FORGER.signed


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_token_speaks_for_nobody(how: str) -> None:
    with pytest.raises(Refused, match="UNAUTHENTICATED"):
        Validator(KEYS).verify(FORGED[how](FORGER))


def test_no_token_speaks_for_nobody() -> None:
    with pytest.raises(Refused, match="UNAUTHENTICATED"):
        Validator(KEYS).verify("")


def test_a_good_token_says_who_it_is() -> None:
    who = Principal(user="users/a", tenant=TENANT, permissions={"customers.read": "team"}, roles=("rep",),
                    team="teams/n", teams=("teams/n",), locale="zh", zone="Asia/Kolkata",
                    session="sessions/1")  # fmt: skip
    read = Validator(KEYS).verify(Signer("gateway", GATEWAY).mint(who))
    assert (read.user, read.tenant, read.permissions, read.team, read.locale, read.session) == (
        "users/a", TENANT, {"customers.read": "team"}, "teams/n", "zh", "sessions/1",
    )  # fmt: skip
    assert read.zone == "Asia/Kolkata"
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
