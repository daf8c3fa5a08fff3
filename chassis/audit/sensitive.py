"""Which sensitive fields an answer shows, and of which records; read from the contract."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from google.api import resource_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from tradewind.type.v1 import options_pb2

from chassis.field_rules import MASK, is_map


class _Plan(NamedTuple):
    """Where to look in messages of a type that stands at a path ("customers.", "" outside of any record)."""

    record: bool  # whether it is one, with a name
    # sensitive fields: their name, what it is with its path, whether the message tells that they are there,
    # whether they repeat, whether as texts
    own: tuple[tuple[str, str, bool, bool, bool], ...]
    inner: tuple[tuple[str, bool, _Plan], ...]  # fields inside which there may be more; whether they repeat


def _ours(descriptor: Descriptor | None) -> bool:
    return descriptor is not None and descriptor.full_name.startswith("tradewind.")


@cache
def may_show(descriptor: Descriptor, above: tuple[str, ...] = ()) -> bool:
    """Whether anything sensitive can stand in a message of this type."""
    for field in descriptor.fields:
        if field.GetOptions().Extensions[options_pb2.sensitive]:
            return True
        inner = field.message_type
        if inner is None or not _ours(inner) or inner.full_name in above:
            continue
        if may_show(inner, (*above, descriptor.full_name)):
            return True
    return False


@cache
def _plan(descriptor: Descriptor, path: str = "") -> _Plan:
    pattern = descriptor.GetOptions().Extensions[resource_pb2.resource].pattern
    if pattern:
        path = f"{pattern[0].partition('/')[0]}."
    own = [f for f in descriptor.fields if f.GetOptions().Extensions[options_pb2.sensitive]]
    told = [
        (f.name, path + f.name, f.has_presence, bool(f.is_repeated),
         f.type == FieldDescriptor.TYPE_STRING and not is_map(f))
        for f in own
    ]  # fmt: skip
    inner = [
        (
            field.name,
            bool(field.is_repeated),
            _plan(field.message_type, f"{path}{field.name}."),
        )
        for field in descriptor.fields
        if field not in own and _ours(field.message_type) and may_show(field.message_type)
    ]
    return _Plan(bool(pattern), tuple(told), tuple(inner))


def shown(answer: Message) -> tuple[list[str], set[str]]:
    """(the names of records of which something sensitive is shown, the fields: "customers.tax_id")."""
    records: list[str] = []
    fields: set[str] = set()
    plan = _plan(answer.DESCRIPTOR)
    if plan.own or plan.inner:
        _look(plan, answer, "", records, fields)
    return records, fields


def _look(plan: _Plan, message: Any, name: str, records: list[str], fields: set[str]) -> None:
    """Note what sensitive a message says, other than that a rule has kept it from whoever is told."""
    found = False
    for field, told, tells, repeated, text in plan.own:
        if tells and not message.HasField(field):
            continue
        value = getattr(message, field)
        if not tells and not value:
            continue
        if text and (len(value) == 1 and value[0] == MASK if repeated else value == MASK):
            continue
        found = True
        fields.add(told)
    if plan.record:
        name = message.name
    if found and name:
        records.append(name)
    for field, repeated, inner in plan.inner:
        if repeated:
            for item in getattr(message, field):
                _look(inner, item, name, records, fields)
        elif message.HasField(field):
            _look(inner, getattr(message, field), name, records, fields)
