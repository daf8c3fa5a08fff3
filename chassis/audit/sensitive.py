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
    """Where to look in messages of a type."""

    collection: str  # "customers", of a record
    # sensitive fields: whether the message tells that they are there, whether they repeat, whether as texts
    own: tuple[tuple[str, bool, bool, bool], ...]
    inner: tuple[tuple[str, bool], ...]  # fields inside which there may be more; whether they repeat


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
def _plan(descriptor: Descriptor) -> _Plan:
    pattern = descriptor.GetOptions().Extensions[resource_pb2.resource].pattern
    own = [f for f in descriptor.fields if f.GetOptions().Extensions[options_pb2.sensitive]]
    inner = [
        (field.name, bool(field.is_repeated))
        for field in descriptor.fields
        if field not in own and _ours(field.message_type) and may_show(field.message_type)
    ]
    told = [
        (f.name, f.has_presence, bool(f.is_repeated), f.type == FieldDescriptor.TYPE_STRING and not is_map(f))
        for f in own
    ]
    return _Plan(pattern[0].partition("/")[0] if pattern else "", tuple(told), tuple(inner))


def shown(answer: Message) -> tuple[list[str], set[str]]:
    """(the names of records of which something sensitive is shown, the fields: "customers.tax_id")."""
    records: list[str] = []
    fields: set[str] = set()
    _look(answer, "", "", records, fields)
    return records, fields


def _seen(message: Any, own: tuple[tuple[str, bool, bool, bool], ...]) -> list[str]:
    """The sensitive fields that say something, other than that a rule has kept it from whoever is told."""
    found = []
    for name, tells, repeated, text in own:
        if tells:
            said = message.HasField(name) and not (text and getattr(message, name) == MASK)
        else:
            value = getattr(message, name)
            masked = text and value and (all(one == MASK for one in value) if repeated else value == MASK)
            said = bool(value) and not masked
        if said:
            found.append(name)
    return found


def _look(message: Any, name: str, path: str, records: list[str], fields: set[str]) -> None:
    plan = _plan(message.DESCRIPTOR)
    if plan.collection:
        name, path = message.name, f"{plan.collection}."
    if plan.own and (found := _seen(message, plan.own)):
        fields.update([path + field for field in found])
        if name:
            records.append(name)
    for field, repeated in plan.inner:
        if repeated:
            for item in getattr(message, field):
                _look(item, name, f"{path}{field}.", records, fields)
        elif message.HasField(field):
            _look(getattr(message, field), name, f"{path}{field}.", records, fields)
