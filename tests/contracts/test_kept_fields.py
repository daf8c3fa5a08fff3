"""What the server keeps, no client writes: each such field of each Create and Update, and odd masks."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.api import field_behavior_pb2 as behavior

from chassis.call import new_id
from chassis.reasons import reason_of
from gateway.contract import Contract, Method
from tests.access.matrix.asked import about, request, resource
from tests.platform import Platform

METHODS = [m for m in Contract.load().methods if resource(m)]
CREATES = [m for m in METHODS if m.name.startswith("Create")]
UPDATES = [m for m in METHODS if m.name.startswith("Update") and "update_mask" in m.input.fields_by_name]
UNKNOWN = ("*", "nothing_of_the_kind", "", "tenant_id", "version", "displayName", "$more")


def kept(method: Method, *kinds: int) -> list[Any]:
    """The fields of the record that a client may not say."""
    return [
        field for field in method.output.fields
        if set(kinds) & set(field.GetOptions().Extensions[behavior.field_behavior])
    ]  # fmt: skip


def _changeable(method: Method) -> str:
    """A field that a client may change."""
    fixed = {field.name for field in kept(method, behavior.OUTPUT_ONLY, behavior.IMMUTABLE)}
    return next(f.name for f in method.output.fields if f.name not in fixed | {"name", "etag"})


def claim(record: Any, field: Any) -> None:
    """Say something in that field."""
    held = getattr(record, field.name)
    if field.is_repeated:
        if field.message_type is None:
            held.append("x" if field.type == field.TYPE_STRING else 1)
        elif not field.message_type.GetOptions().map_entry:
            held.add()
    elif field.message_type:
        held.SetInParent()
    else:
        setattr(record, field.name, "x" if field.type == field.TYPE_STRING else 1)


async def refusal(platform: Platform, method: Method, message: Any) -> tuple[str, str]:
    """(reason, field) of the refusal of an administrator's request; ("", "") when there is none."""
    service = await platform.service(method.home)
    boss = service.as_("administrator")
    try:
        await service.method(method.name, boss.token)(message)
    except grpc.aio.AioRpcError as no:
        reason, facts = reason_of(no)
        return reason, facts.get("field", "")
    return "", ""


@pytest.mark.req("SEC-03")
@pytest.mark.parametrize("method", UPDATES, ids=lambda method: method.name)
async def test_an_update_writes_nothing_that_the_server_keeps(platform: Platform, method: Method) -> None:
    within = resource(method)
    fields = {field.name: field for field in kept(method, behavior.OUTPUT_ONLY, behavior.IMMUTABLE)}
    fields |= {name: method.output.fields_by_name[name] for name in ("name", "etag")}
    for field in fields.values():
        message = request(method, f"{about(method)[1]}/{new_id()}")
        if field.name != "name":
            claim(getattr(message, within), field)
        message.update_mask.paths.append(field.name)
        said = await refusal(platform, method, message)
        assert said == ("FIELD_NOT_WRITABLE", f"{within}.{field.name}")
        message.update_mask.paths[:] = [_changeable(method), field.name]  # nor beside another one
        assert await refusal(platform, method, message) == said


@pytest.mark.req("SEC-03")
@pytest.mark.parametrize("method", UPDATES, ids=lambda method: method.name)
async def test_a_mask_names_fields_of_the_record_one_by_one(platform: Platform, method: Method) -> None:
    nested = [f"{field.name}.{inner}" for field in method.output.fields for inner in ("more", "*")]
    for path in (*UNKNOWN, *nested[:4], f"{resource(method)}.name"):
        message = request(method, f"{about(method)[1]}/{new_id()}")
        message.update_mask.paths.append(path)
        said = await refusal(platform, method, message)
        assert said == ("FIELD_UNKNOWN", f"update_mask: {path}"), path


@pytest.mark.req("SEC-03")
@pytest.mark.parametrize("method", UPDATES, ids=lambda method: method.name)
async def test_without_a_mask_what_the_server_keeps_stays_as_it_is(
    platform: Platform, method: Method
) -> None:
    message = request(method, f"{about(method)[1]}/{new_id()}")
    record = getattr(message, resource(method))
    name = record.name
    record.Clear()
    record.name = name
    for field in kept(method, behavior.OUTPUT_ONLY):
        claim(record, field)
    assert await refusal(platform, method, message) == ("FIELD_INVALID", "update_mask")


@pytest.mark.req("SEC-03")
@pytest.mark.parametrize("method", CREATES, ids=lambda method: method.name)
async def test_a_create_says_nothing_that_the_server_keeps(platform: Platform, method: Method) -> None:
    for field in kept(method, behavior.OUTPUT_ONLY):
        message = request(method)
        claim(getattr(message, resource(method)), field)
        said = await refusal(platform, method, message)
        assert said == ("FIELD_NOT_WRITABLE", f"{resource(method)}.{field.name}")
