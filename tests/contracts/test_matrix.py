"""Who is refused what: every method × {no token, forged token, no permission, another organization's record}.

The methods come from the contract, the callers are made here. A new method is in the matrix by itself.
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
from tests.platform import Caller, Platform, Running

CONTRACT = Contract.load()
METHODS = {method.full_name: method for method in CONTRACT.methods}
GUARDED = [name for name, method in METHODS.items() if method.permission != PUBLIC]


async def service_of(platform: Platform, method: Method) -> Running:
    """The running service that a method belongs to."""
    return await platform.service(method.home)


def filled(method: Method, name: str = "") -> Message:
    """The smallest request of a method, with *name* where it names a record."""
    request = GetMessageClass(method.input)()
    for field in method.input.fields:
        if field.name == "name" and name:
            request.name = name  # type: ignore[attr-defined]
        elif (
            field.message_type
            and "name" in field.message_type.fields_by_name
            and field.name == resource(method)
        ):
            getattr(request, field.name).name = name
    return request


def resource(method: Method) -> str:
    """The field of an Update that holds the resource; "" for other methods."""
    if not method.name.startswith("Update"):
        return ""
    return next(f.name for f in method.input.fields if f.message_type and f.message_type is method.output)


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
    request = filled(method)
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
    assert (await outcome(getattr(boss, method.name)(filled(method))))[1] == "PERMISSION_DENIED"


def names_a_record(method: Method) -> bool:
    """Whether a method is about one record, by its name."""
    return "name" in method.input.fields_by_name or bool(resource(method))


async def one_of(platform: Platform, method: Method, world: dict[str, str], boss: Caller) -> str:
    """The name of a record of that organization that the method could be about; "" when there is none."""
    collection = method.routes[0].template.partition("=")[2].partition("/")[0]
    return world.get(collection, "")


@pytest.mark.req("X-25")
@pytest.mark.parametrize("name", [name for name in GUARDED if names_a_record(METHODS[name])])
async def test_another_organizations_record_answers_as_one_that_is_not_there(
    platform: Platform, world: dict[str, str], name: str
) -> None:
    method = METHODS[name]
    if method.permission == SERVICE:
        pytest.skip("services are trusted with names; the matrix above keeps people out")
    service = await service_of(platform, method)
    collection = method.routes[0].template.partition("=")[2].partition("/")[0]
    assert collection in world, f"the world has no {collection}: add one"
    stranger = service.as_("administrator")
    foreign = await outcome(getattr(stranger, method.name)(complete(method, world[collection])))
    absent = await outcome(getattr(stranger, method.name)(complete(method, f"{collection}/{new_id()}")))
    assert foreign == absent
    assert foreign == ("NOT_FOUND", "NOT_FOUND")


def complete(method: Method, name: str) -> Message:
    """A request that passes validation: what is required gets some value of its kind."""
    request = filled(method, name)
    _complete(request, resource(method))
    return request


def _complete(message: Message, update: str = "") -> None:
    from google.api import field_behavior_pb2

    for field in message.DESCRIPTOR.fields:
        said = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        if field.name == update:
            resource = getattr(message, update)
            for text in resource.DESCRIPTOR.fields:
                plain = text.type == text.TYPE_STRING and not text.is_repeated
                if plain and text.name in ("display_name", "title", "description", "carrier", "note"):
                    setattr(resource, text.name, "x")
                    break
            continue
        if field_behavior_pb2.REQUIRED not in said or field.name == "name":
            continue
        _some_value(message, field)


def _some_value(message: Message, field: Any) -> None:
    known = {"stage": "bidding", "password": "a long enough passphrase"}
    if field.is_repeated:
        if field.message_type:
            _complete(getattr(message, field.name).add())
        else:
            getattr(message, field.name).append("users/x")
    elif field.message_type is None:
        if field.type == field.TYPE_STRING:
            setattr(message, field.name, known.get(field.name, "users/x" if field.name == "owner" else "x"))
        elif field.enum_type is not None:
            setattr(message, field.name, 1)
        else:
            setattr(message, field.name, 1)
    else:
        inner = getattr(message, field.name)
        if field.message_type.full_name == "google.type.Decimal":
            inner.value = "1"
        elif field.message_type.full_name == "google.type.Money":
            inner.currency_code, inner.units = "CNY", 1
        else:
            inner.SetInParent()
            _complete(inner)
