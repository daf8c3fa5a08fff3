"""What a request must satisfy before its handler sees it: required fields, fields kept by the server,
the validation rules of the contract, and update masks. All of it is read from the descriptors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import protovalidate
from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from chassis.kernel.refusals import Refused, invalid

REQUIRED = field_behavior_pb2.REQUIRED
OUTPUT_ONLY = field_behavior_pb2.OUTPUT_ONLY
IMMUTABLE = field_behavior_pb2.IMMUTABLE
MOST_ELEMENTS = 5000  # of any list of a request
_SERVER = ("name", "etag")  # told by the path and the version, never by a body's wish


@cache
def behaviors(descriptor: Descriptor) -> Mapping[str, frozenset[int]]:
    """field name → its google.api.field_behavior."""
    return {
        field.name: frozenset(field.GetOptions().Extensions[field_behavior_pb2.field_behavior])
        for field in descriptor.fields
    }


def _is_list(field: Any) -> bool:
    return bool(field.is_repeated)


def _is_map(field: Any) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


def _absent(message: Message, field: Any) -> bool:
    if _is_list(field):
        return not getattr(message, field.name)
    if field.message_type is not None or field.has_presence:
        return not message.HasField(field.name)
    return not getattr(message, field.name)


class _Plan(NamedTuple):
    """What to look for in messages of a type, by the names of its fields."""

    required: tuple[str, ...]
    computed: frozenset[str]  # told by the server alone
    lists: frozenset[str]
    nested: Mapping[str, bool]  # our own messages inside: whether they repeat; google's carry no such rules


@cache
def _plan(descriptor: Descriptor) -> _Plan:
    said = behaviors(descriptor)
    inner = [(f, f.message_type) for f in descriptor.fields if f.message_type and not _is_map(f)]
    return _Plan(
        tuple(name for name, these in said.items() if REQUIRED in these),
        frozenset(name for name, these in said.items() if OUTPUT_ONLY in these),
        frozenset(field.name for field in descriptor.fields if _is_list(field)),
        {f.name: _is_list(f) for f, kind in inner if kind and kind.full_name.startswith("tradewind.")},
    )


def missing(message: Message, path: str = "") -> list[str]:
    """The paths of REQUIRED fields that are absent, at every depth that is present.

    Refuses lists so long that looking at each element would hold up everybody else.
    """
    plan, present = _plan(message.DESCRIPTOR), message.ListFields()
    said = {field.name for field, _ in present}
    found = [path + name for name in plan.required if name not in said]
    for field, value in present:
        name = field.name
        if name in plan.lists and len(value) > MOST_ELEMENTS:
            raise invalid(path + name, f"must contain no more than {MOST_ELEMENTS} items")
        if (repeated := plan.nested.get(name)) is None:
            continue
        if not repeated:
            found += missing(value, f"{path}{name}.")
            continue
        for i, item in enumerate(value):
            found += missing(item, f"{path}{name}[{i}].")
    return found


def clear_computed(message: Message) -> None:
    """Forget what only the server says inside nested values: a client may send back what it read."""
    nested = _plan(message.DESCRIPTOR).nested
    for field, value in message.ListFields() if nested else ():
        if field.name not in nested:
            continue
        for inner in value if nested[field.name] else (value,):
            for name in _plan(inner.DESCRIPTOR).computed:
                inner.ClearField(name)
            clear_computed(inner)


def violations(message: Message) -> dict[str, str]:
    """field path → what the contract's rules find wrong with it."""
    found: dict[str, str] = {}
    for violation in protovalidate.collect_violations(message):
        path = ""
        elements = violation.proto.field.elements if violation.proto.field else ()
        for element in elements:
            path += ("." if path else "") + element.field_name
            index = element.subscript
            if index is not None and index.field == "index":
                path += f"[{index.value}]"
        found.setdefault(path, _sentence(violation.proto))
    if b"\0" in message.SerializeToString():
        found |= dict.fromkeys(_with_nul(message, ""), "must not hold a NUL character")
    return found


# What stands in a pattern of the contract → what would be right, for who cannot read patterns.
_PATTERNS = (
    ("(users|teams)/", "must be a name such as users/…, teams/…"),
    ("(contacts|leads|customers|users)/", "must be a name such as contacts/…, leads/…, customers/…, users/…"),
    ("(contacts|leads|customers)/", "must be a name such as contacts/…, leads/…, customers/…"),
    ("[A-Za-z]{1,40}/", "must be a name such as customers/…"),
    ("https?://", "must be a web address such as www.example.com"),
    ("0-9+()", "must be a phone number such as +86 21 5555 0100"),
    ("{2,3}(-", "must be a language such as zh-CN"),
    ("[A-Z]{3}", "must be three capital letters such as CNY"),
    ("[A-Z]{2}", "must be two capital letters such as CN"),
    ("\\*\\.", "must be a permission such as customers.read"),
    ("[0-9a-f]{64}", "must be the SHA-256 of the file, 64 hexadecimal digits"),
    ("^[a-z][a-z0-9_]*$", "must be small letters, digits and _, such as first_call"),
)


def _sentence(violation: Any) -> str:
    """What would be right; a bare pattern says that to nobody."""
    text = str(violation.message or "is not valid")
    if violation.rule_id != "string.pattern":
        return text
    pattern = text.partition("`")[2].rpartition("`")[0]
    if named := re.search(r"([a-z][A-Za-z]+)/\[", pattern):
        return f"must be a name such as {named[1]}/…"
    return next((said for part, said in _PATTERNS if part in pattern), text)


def _with_nul(message: Message, path: str) -> Iterable[str]:
    """The texts that hold a NUL, which PostgreSQL cannot keep."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            if any("\0" in text for text in (value if _is_list(field) else [value])):
                yield path + field.name
        elif field.message_type is not None and not _is_map(field):
            for item in value if _is_list(field) else [value]:
                yield from _with_nul(item, f"{path}{field.name}.")


def check(request: Message) -> None:
    """Refuse a request that breaks the contract; the refusal lists every field that does."""
    lacking = missing(request)
    problems = dict.fromkeys(lacking, "is required") | {
        path: text for path, text in violations(request).items() if path not in lacking
    }
    if "update_mask" in request.DESCRIPTOR.fields_by_name:
        problems = {path: text for path, text in problems.items() if _is_written(request, path)}
    if problems:
        field, problem = next(iter(problems.items()))
        refused = Refused("FIELD_INVALID", field=field, problem=problem)
        refused.violations = problems  # type: ignore[attr-defined]
        raise refused


def _is_written(request: Any, path: str) -> bool:
    """Whether an Update touches what lies at *path*: beside its mask, a resource may be incomplete."""
    field, dot, inner = path.partition(".")
    if not dot or field not in request.DESCRIPTOR.fields_by_name:
        return True
    named = list(request.update_mask.paths) or _changes(getattr(request, field))
    return inner.partition(".")[0].partition("[")[0] in named


def _changes(resource: Message) -> list[str]:
    """What an Update without a mask changes (AIP-134): all that is present and may be changed."""
    said = behaviors(resource.DESCRIPTOR)
    return [
        field.name for field, _ in resource.ListFields()
        if field.name not in _SERVER and not said[field.name] & {OUTPUT_ONLY, IMMUTABLE}
    ]  # fmt: skip


def check_new(resource: Message, path: str) -> None:
    """Refuse a resource to be created that claims what only the server says."""
    computed = _plan(resource.DESCRIPTOR).computed
    for field, _ in resource.ListFields():
        if field.name in computed or field.name in _SERVER:
            raise Refused("FIELD_NOT_WRITABLE", field=f"{path}.{field.name}")


def check_mask(resource: Message, paths: Iterable[str], path: str) -> None:
    """Refuse an update_mask that names what is no field of the resource, or what a client may not change.

    "*" is refused, so that a client that knows fewer fields than the server never empties the others; so is
    a path into a field: what a field holds is said as a whole.
    """
    said = behaviors(resource.DESCRIPTOR)
    for name in paths:
        if name not in said:
            raise Refused("FIELD_UNKNOWN", field=f"update_mask: {name}")
        if name in _SERVER or said[name] & {OUTPUT_ONLY, IMMUTABLE}:
            raise Refused("FIELD_NOT_WRITABLE", field=f"{path}.{name}")


def masked(resource: Message, paths: Iterable[str], known: Callable[[str], Any], path: str) -> list[str]:
    """The fields that an Update changes, by its update_mask, which was checked, or without one."""
    said = behaviors(resource.DESCRIPTOR)
    names = list(paths) or _changes(resource)
    if not names:
        raise Refused("FIELD_INVALID", field="update_mask", problem="must name at least one field")
    for name in names:
        if REQUIRED in said[name] and _absent(resource, resource.DESCRIPTOR.fields_by_name[name]):
            raise Refused("FIELD_INVALID", field=f"{path}.{name}", problem="is required")
        known(name)
    return names
