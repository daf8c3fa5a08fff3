"""Who is refused what: every method × {no token, forged token, no permission}, at the services' own doors.

The methods come from the contract, the callers are made here. A new method is in the matrix by itself.
Which role reaches whose records is judged in tests/access/test_matrix.py.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.call import new_id
from chassis.identity import Principal, Signer
from chassis.reasons import reason_of
from gateway.contract import PUBLIC, SERVICE, SIGNED_IN, Contract, Method
from tests.platform import Platform, Running

CONTRACT = Contract.load()
METHODS = {method.full_name: method for method in CONTRACT.methods}
GUARDED = [name for name, method in METHODS.items() if method.permission != PUBLIC]


async def service_of(platform: Platform, method: Method) -> Running:
    """The running service that a method belongs to."""
    return await platform.service(method.home)


def smallest(method: Method) -> Message:
    """The smallest request of a method."""
    return GetMessageClass(method.input)()


async def outcome(call: Any) -> tuple[str, str]:
    """(gRPC code, reason) of a call, streams too."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                return "OK", ""
        else:
            await call
        return "OK", ""
    except grpc.aio.AioRpcError as no:
        return no.code().name, reason_of(no)[0]


def tampered(token: str) -> list[str]:
    """Tokens that look right and are not."""
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["tid"] = new_id()
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    none = (
        base64.urlsafe_b64encode(b'{"alg":"none","typ":"txntoken+jwt","kid":"gateway"}').decode().rstrip("=")
    )
    stranger = Signer("gateway", Ed25519PrivateKey.generate())
    return [
        f"{head}.{forged}.{signature}", f"{none}.{body}.", f"{none}.{forged}.{signature}",
        stranger.mint(Principal(user="users/x", tenant=new_id(), permissions={})), "", "a.b.c",
    ]  # fmt: skip


@pytest.mark.req("SEC-01", "SEC-03")
@pytest.mark.parametrize("name", GUARDED)
async def test_nobody_comes_in_without_a_true_token_and_the_permission(platform: Platform, name: str) -> None:
    method = METHODS[name]
    service = await service_of(platform, method)
    request = smallest(method)
    assert await outcome(service.method(method.name)(request)) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
    boss = service.as_(permissions={method.permission: "all"})
    for token in tampered(boss.token):
        assert await outcome(service.method(method.name, token)(request)) == (
            "UNAUTHENTICATED", "UNAUTHENTICATED"), token  # fmt: skip
    if method.permission != SIGNED_IN:
        others = {other.permission: "all" for other in METHODS.values()} | {"records.backdate": "all"}
        others.pop(method.permission)
        clerk = service.as_(permissions=others)
        assert await outcome(getattr(clerk, method.name)(request)) == (
            "PERMISSION_DENIED",
            "PERMISSION_DENIED",
        )


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.permission == SERVICE])
async def test_what_services_ask_each_other_no_person_may_ask(platform: Platform, name: str) -> None:
    method = METHODS[name]
    service = await service_of(platform, method)
    boss = service.as_("administrator")
    assert (await outcome(getattr(boss, method.name)(smallest(method))))[1] == "PERMISSION_DENIED"
