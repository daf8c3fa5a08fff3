"""What is kept back stays so in every answer, list, filter, order, fact, report and refusal of every noun.

Nothing here is listed by hand: nouns, fields, methods, events and reasons come from the contract, so a new
one is in it by itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, error_details_pb2

from chassis.field_rules import FieldRules, is_map, noun_of, overlap, shown_by
from chassis.kernel.refusals import Refused
from chassis.reasons import meanings, reason_of, worded
from gateway.contract import SERVICE, Contract, Method
from gateway.field_rules import ALWAYS_SEEN, UNRULED, Noun, nouns
from tests.platform import Caller, Platform
from tests.world import SERVICES, build

CONTRACT = Contract.load()
NOUNS = nouns()
CANARY = "Kanarienvogel"
READING = [m for m in CONTRACT.methods if not m.effects and not m.streams and m.permission != SERVICE]
for file in CONTRACT.files:
    if file.package.startswith("tradewind."):
        importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")


def descriptor(name: str) -> Descriptor:
    """The message of that name, as the services know it."""
    return descriptor_pool.Default().FindMessageTypeByName(name)


OURS = [descriptor(m.full_name) for m in CONTRACT.messages() if m.full_name.startswith("tradewind.")]
DESCRIPTOR = {noun_of(message): message for message in OURS if noun_of(message)}


@pytest_asyncio.fixture(scope="module")
async def world(platform: Platform) -> tuple[dict[str, str], dict[str, Any]]:
    """One record of every noun, and their organization's administrator at every service."""
    return await build(platform, CANARY)


def ruled(boss: Caller, rules: dict[str, str]) -> Caller:
    """Somebody who may do what the administrator may, less these fields, with a token of now."""
    who = boss.who
    fields = FieldRules(rules) if rules else None
    return boss.service.as_(
        tenant=who.tenant, user=who.user, permissions=dict(who.permissions), fields=fields
    )


def filled(kind: Descriptor, above: tuple[str, ...] = ()) -> Any:
    """A message with something in every field, at every depth."""
    message: Any = GetMessageClass(kind)()
    for field in kind.fields:
        inner = field.message_type
        if inner is None:
            value = {field.TYPE_STRING: CANARY, field.TYPE_BYTES: b"1"}.get(field.type, 1)
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        elif inner.full_name not in (*above, "google.protobuf.Any") and not is_map(field):
            part = filled(inner, (*above, kind.full_name))
            getattr(message, field.name).MergeFrom([part] if field.is_repeated else part)
    return message


def standing(message: Message, noun: str = "", path: str = "") -> Iterator[tuple[tuple[str, ...], Any]]:
    """(the "collection.field"s that a value is of or shows, the value) for whatever stands in a message."""
    own = noun_of(message.DESCRIPTOR)
    noun, path = (own, "") if own else (noun, path)
    for field, value in message.ListFields():
        at = f"{path}.{field.name}" if path else field.name
        keys = (*((f"{noun}.{at}",) if noun else ()), *shown_by(field))
        if keys:
            yield keys, value
        if field.message_type is not None and not is_map(field):
            for item in value if field.is_repeated else (value,):
                yield from standing(item, noun, at)


def is_masked(value: Any) -> bool:
    return value == "***" or (not isinstance(value, (str, bytes, int)) and list(value) == ["***"])


TELLING = sorted(
    {m.output.full_name for m in CONTRACT.public.values()}
    | {m.full_name for m in CONTRACT.messages() if m.file.name.endswith("/events.proto")}
    | {d.full_name for d in DESCRIPTOR.values()}
)


@pytest.mark.req("X-11")
@pytest.mark.parametrize("rule", ["HIDDEN", "MASKED"])
def test_no_answer_and_no_fact_tells_what_is_kept_back(rule: str) -> None:
    """Each field by itself in every record, and all of them together in every answer and every event."""
    fields = sorted(f"{noun.name}.{path}" for noun in NOUNS.values() for path in noun.fields)
    all_together = FieldRules(dict.fromkeys(fields, rule))
    for name in TELLING:
        message = filled(descriptor(name))
        held = {key for keys, _ in standing(message) for key in keys} & set(fields)
        single = held if noun_of(message.DESCRIPTOR) else set()
        for rules in (all_together, *(FieldRules({key: rule}) for key in sorted(single))):
            for keys, value in standing(rules.shown(message)):
                kept = any(key in rules.rules or _lies_in(key, rules.rules) for key in keys)
                assert not kept or (rule == "MASKED" and is_masked(value)), (name, keys)
    there = {key for kind in DESCRIPTOR.values() for keys, _ in standing(filled(kind)) for key in keys}
    assert set(fields) <= there


def _lies_in(key: str, rules: dict[str, str]) -> bool:
    return any(key.startswith(f"{kept}.") for kept in rules)


def listing(noun: Noun) -> Method | None:
    """The method that lists a noun."""
    name = DESCRIPTOR[noun.name].name
    found = (m for m in READING if m.name.startswith("List") and any(
        f.message_type and f.message_type.name == name for f in m.output.fields))  # fmt: skip
    return next(found, None)


def getting(noun: Noun) -> Method | None:
    """The method that reads one."""
    return next((m for m in READING if m.output.full_name == DESCRIPTOR[noun.name].full_name
                 and "name" in m.input.fields_by_name), None)  # fmt: skip


@pytest.mark.req("X-11")
@pytest.mark.parametrize("noun", NOUNS.values(), ids=lambda noun: noun.name)
async def test_a_record_is_read_and_listed_without_what_is_kept_back(
    world: tuple[dict[str, str], dict[str, Any]], noun: Noun
) -> None:
    _, at = world
    for rule in ("HIDDEN", "MASKED"):
        rules = {f"{noun.name}.{path}": rule for path in noun.fields if "." not in path}
        name = ""
        for method in (listing(noun), getting(noun)):
            if method is None or (method is getting(noun) and not name):
                continue
            boss = ruled(at[method.home], {})
            request = {"name": name} if method is getting(noun) else {}
            whole = await getattr(boss, method.name)(**request)
            if method is listing(noun):
                name = next((value for f, values in whole.ListFields() if f.message_type
                             for value in (item.name for item in values)), "")  # fmt: skip
            part = await getattr(ruled(boss, rules), method.name)(**request)
            seen = [value for keys, value in standing(part) if any(key in rules for key in keys)]
            assert whole != part or not any(key in rules for keys, _ in standing(whole) for key in keys)
            assert all(rule == "MASKED" and is_masked(value) for value in seen)
            kept = {f"{noun.name}.{name}" for name in ALWAYS_SEEN}
            same = [(keys, value) for keys, value in standing(whole) if set(keys) <= kept]
            assert same == [(keys, value) for keys, value in standing(part) if set(keys) <= kept]


@pytest.mark.req("X-11")
@pytest.mark.parametrize("noun", NOUNS.values(), ids=lambda noun: noun.name)
async def test_nobody_asks_by_what_they_may_not_see(
    world: tuple[dict[str, str], dict[str, Any]], noun: Noun
) -> None:
    """Neither by the field, nor by what it lies in, nor by what lies in it: whoever may ask, can guess."""
    method = listing(noun)
    if method is None:
        pytest.skip("nobody lists it")
    boss = world[1][method.home]
    for path in noun.fields:
        if path.count(".") > 1:
            continue
        someone = ruled(boss, {f"{noun.name}.{path}": "HIDDEN"})
        top = path.partition(".")[0]
        for asked in {path, top, f"{path}.currency"}:
            for request in (
                {"filter": f'NOT {asked} : "x" OR name = "x"'},
                {"order_by": f"name, {asked} desc"},
            ):
                with pytest.raises(grpc.aio.AioRpcError) as no:
                    await getattr(someone, method.name)(**request)
                found, facts = reason_of(no.value)
                assert (found, facts["field"]) == ("FIELD_RESTRICTED", f"{noun.name}.{asked}"), request
        assert await getattr(someone, method.name)(order_by="create_time desc", read_mask={"paths": [top]})


@pytest.mark.req("X-11")
@pytest.mark.parametrize("service", SERVICES)
async def test_facts_are_told_without_what_is_kept_back(
    world: tuple[dict[str, str], dict[str, Any]], service: str
) -> None:
    boss = ruled(world[1][service], {})
    whole = await _facts(boss)
    for rule in ("HIDDEN", "MASKED"):
        rules = {
            f"{noun.name}.{path}": rule for noun in NOUNS.values() for path in noun.fields if "." not in path
        }
        part = await _facts(ruled(boss, rules))
        assert [position for position, _ in part] == [position for position, _ in whole]
        for _, fact in part:
            for keys, value in standing(fact):
                assert not any(key in rules for key in keys) or (rule == "MASKED" and is_masked(value))


async def _facts(caller: Caller) -> list[tuple[int, Any]]:
    found = []
    async for event in caller.WatchEvents(until_now=True):
        kind = GetMessageClass(descriptor(event.type))
        found.append((event.position, kind.FromString(event.payload.value)))
    return found


@pytest.mark.req("X-11")
@pytest.mark.parametrize("method", [m for m in CONTRACT.methods if m.reads], ids=lambda method: method.name)
async def test_a_report_is_refused_to_who_may_not_see_what_it_counts(
    world: tuple[dict[str, str], dict[str, Any]], method: Method
) -> None:
    boss = world[1][method.home]
    for key in method.reads:
        for rule in ("HIDDEN", "MASKED"):
            with pytest.raises(grpc.aio.AioRpcError) as no:
                await getattr(ruled(boss, {key: rule}), method.name)()
            assert reason_of(no.value) == ("FIELD_RESTRICTED", {"field": key})
        try:
            await getattr(ruled(boss, {key: "READ_ONLY"}), method.name)()
        except grpc.aio.AioRpcError as other:
            assert reason_of(other)[0] != "FIELD_RESTRICTED"


def test_every_report_says_what_it_counts_from() -> None:
    silent = [m.full_name for m in CONTRACT.methods if m.permission == "reports.read" and not m.reads]
    assert not silent


def test_what_the_contract_says_of_other_fields_is_there() -> None:
    """`reads` of methods, `shows` of fields and of refusals name fields that there can be rules for."""
    there = {f"{noun.name}.{path}" for noun in NOUNS.values() for path in noun.fields}
    said = {(m.full_name, key) for m in CONTRACT.methods for key in m.reads}
    for name in TELLING:
        said |= {(name, key) for key in _shown(descriptor(name))}
    for domain in (*SERVICES, "tradewind"):
        said |= {(reason, key) for reason, its in meanings(domain).items() for _, key in its.shows}
    assert said and not [(where, key) for where, key in sorted(said) if key not in there]


def _shown(kind: Descriptor, above: tuple[str, ...] = ()) -> Iterator[str]:
    for field in kind.fields:
        yield from shown_by(field)
        inner = field.message_type
        if inner is not None and inner.full_name.startswith("tradewind.") and inner.full_name not in above:
            yield from _shown(inner, (*above, kind.full_name))


@pytest.mark.req("X-11")
@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_refusal_tells_a_fact_that_is_kept_back(language: str) -> None:
    for domain in (*SERVICES, "tradewind"):
        for reason, meaning in meanings(domain).items():
            for fact, key in meaning.shows:
                assert f"{{{fact}}}" in meaning.en + meaning.zh, f"{reason} has no fact {fact}"
                status = worded(Refused(reason, **{fact: CANARY, "name": "x"}), meaning, language)
                assert CANARY in str(status)
                told = FieldRules({key: "MASKED"}).status(status)
                assert CANARY not in str(told)
                assert told.code == status.code == code_pb2.Code.Value(code_pb2.Code.Name(status.code))
                info = error_details_pb2.ErrorInfo()
                assert told.details[0].Unpack(info) and info.metadata[fact] == "***"


def test_what_the_platform_needs_is_never_ruled() -> None:
    for noun in NOUNS.values():
        assert noun.name not in UNRULED and not ALWAYS_SEEN & noun.fields.keys()
        assert noun.reads and all(not overlap(path, name) for path in noun.fields for name in ALWAYS_SEEN)
