"""Which method a request means: the contract's path templates as one tree, and what a URL fills in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.contract import Contract, ContractIncomplete, Method
from gateway.scalars import Wrong, text
from gateway.transcode import map_entry
from gateway.wellknown import WRAPPERS

VARIABLE = re.compile(r"\{([a-z][\w.]*)(?:=([^{}]+))?\}", re.ASCII)
NAME = re.compile(r"[A-Za-z][\w]*(\.[A-Za-z][\w]*)*", re.ASCII)
TEXTUAL = frozenset(f"google.protobuf.{kind}" for kind in ("Timestamp", "Duration", "FieldMask"))
# A resource's name as a variable takes it: no more than any id needs.
LONGEST_SEGMENT = 200


@dataclass(frozen=True)
class Variable:
    """A field of the request that segments of the path fill."""

    path: tuple[str, ...]
    first: int
    last: int


@dataclass(frozen=True)
class Rule:
    """A method reached by one verb and one template."""

    method: Method
    verb: str
    template: str
    body: str
    segments: tuple[str, ...]
    action: str
    variables: tuple[Variable, ...]


@dataclass
class _Node:
    below: dict[str, _Node] = field(default_factory=dict)
    # By the word behind the colon, then by HTTP verb.
    rules: dict[str, dict[str, Rule]] = field(default_factory=dict)


class Routes:
    """Every public method's templates; two that mean the same path stop the process."""

    def __init__(self, contract: Contract) -> None:
        self.rules: list[Rule] = []
        self._root = _Node()
        for method in contract.public.values():
            for route in method.routes:
                self._add(compile_rule(method, route.verb, route.template, route.body))

    def _add(self, rule: Rule) -> None:
        node = self._root
        for segment in rule.segments:
            node = node.below.setdefault(segment, _Node())
        taken = node.rules.setdefault(rule.action, {})
        if rule.verb in taken:
            raise ContractIncomplete(
                f"{rule.method.full_name} and {taken[rule.verb].method.full_name} "
                f"are both reached by {rule.verb} {rule.template}."
            )
        taken[rule.verb] = rule
        self.rules.append(rule)

    def find(self, path: str) -> tuple[dict[str, Rule], list[str]]:
        """The rules of *path* by verb, and its segments, still percent-encoded; none when there are none."""
        if not path.startswith("/"):
            return {}, []  # OPTIONS *, CONNECT host:port
        segments = path.split("/")[1:]
        segments[-1], colon, action = segments[-1].rpartition(":")
        if not colon:
            segments[-1], action = action, ""
        return _descend(self._root, segments, 0, action) or {}, segments


def _descend(node: _Node, segments: list[str], at: int, action: str) -> dict[str, Rule] | None:
    """A literal segment goes before a variable one; a dead end turns back."""
    if at == len(segments):
        return node.rules.get(action)
    for key in (segments[at], "*"):
        below = node.below.get(key)
        if below and (key != "*" or segments[at]):
            found = _descend(below, segments, at + 1, action)
            if found:
                return found
    return None


def compile_rule(method: Method, verb: str, template: str, body: str) -> Rule:
    """A template as segments and variables, checked against the request it fills."""
    path, variables = template, []
    while found := VARIABLE.search(path):
        pattern = found[2] or "*"
        first = path[: found.start()].count("/") - 1
        variables.append(Variable(tuple(found[1].split(".")), first, first + pattern.count("/")))
        path = path[: found.start()] + pattern + path[found.end() :]
    plain, colon, action = path.rpartition(":")
    path, action = (plain, action) if colon else (path, "")
    segments = tuple(path.split("/")[1:])
    if not path.startswith("/") or "**" in segments or not all(segments) or set("{}:") & set(path):
        raise ContractIncomplete(f"{method.full_name} has a path that is not understood: {template}.")
    for variable in variables:
        if _leaf(method.input, variable.path) != FieldDescriptor.TYPE_STRING:
            name = ".".join(variable.path)
            raise ContractIncomplete(
                f"{method.full_name} takes {name} from its path, which is no string field."
            )
    if body not in ("", "*") and body not in method.input.fields_by_name:
        raise ContractIncomplete(f"{method.full_name} has no field {body} for the body.")
    return Rule(method, verb, template, body, segments, action, tuple(variables))


def _leaf(descriptor: Descriptor | None, path: tuple[str, ...]) -> int | None:
    for part in path[:-1]:
        step = descriptor.fields_by_name.get(part) if descriptor else None
        descriptor = step.message_type if step else None
    found = descriptor.fields_by_name.get(path[-1]) if descriptor else None
    return None if found is None or found.is_repeated else found.type


def apply_path(rule: Rule, segments: list[str], message: Any) -> None:
    """Fill the fields that the path names; a body that says otherwise is refused."""
    for variable in rule.variables:
        *parts, name = variable.path
        holder = message
        for part in parts:
            holder = getattr(holder, part)
        try:
            value = "/".join(map(_segment, segments[variable.first : variable.last + 1]))
        except Wrong as wrong:
            raise wrong.under(".".join(variable.path)) from None
        if getattr(holder, name) not in ("", value):
            raise Wrong(f"must be {value}, as in the path, or be left out").under(".".join(variable.path))
        setattr(holder, name, value)


def _segment(raw: str) -> str:
    try:
        value = text(unquote_to_bytes(raw).decode())
    except UnicodeDecodeError:
        raise Wrong("must be percent-encoded UTF-8") from None
    if "/" in value or len(value) > LONGEST_SEGMENT:
        raise Wrong(f"must be at most {LONGEST_SEGMENT} characters without a slash")
    return value


class Query:
    """Turns the query of one rule's requests into the JSON that fills the rest of the message."""

    def __init__(self, rule: Rule) -> None:
        self._descriptor = rule.method.input
        self._open = rule.body != "*"
        self._taken = {variable.path[0] for variable in rule.variables} | {rule.body}
        self._known: dict[str, tuple[list[str], FieldDescriptor]] = {}

    def read(self, pairs: list[tuple[str, str]]) -> dict[str, Any]:
        """name=value pairs → an object; every name must be a field that the path and the body leave."""
        made: dict[str, Any] = {}
        for name, value in pairs:
            path, leaf = self._known.get(name) or self._find(name)
            holder = made
            for part in path[:-1]:
                holder = holder.setdefault(part, {})
            try:
                if leaf.is_repeated:
                    holder.setdefault(path[-1], []).append(_from_text(leaf, value))
                elif path[-1] in holder:
                    raise Wrong("must be given once")
                else:
                    holder[path[-1]] = _from_text(leaf, value)
            except Wrong as wrong:
                raise wrong.under(name) from None
        return made

    def _find(self, name: str) -> tuple[list[str], FieldDescriptor]:
        """Only what exists is remembered: the names of a contract are few, those of a stranger are not."""
        descriptor: Descriptor | None = self._descriptor
        path: list[str] = []
        leaf: FieldDescriptor | None = None
        for part in name.split(".") if NAME.fullmatch(name) else []:
            leaf = _field(descriptor, part)
            if leaf is None or (not path and leaf.name in self._taken):
                leaf = None
                break
            path.append(leaf.json_name)
            descriptor = None if leaf.is_repeated or _written_as_one(leaf) else leaf.message_type
        if (
            not self._open
            or leaf is None
            or map_entry(leaf)
            or (leaf.message_type and not _written_as_one(leaf))
        ):
            raise Wrong("is not a parameter", "FIELD_UNKNOWN").under(name[:100])
        self._known[name] = self._known[".".join(path)] = (path, leaf)
        return path, leaf


def _field(descriptor: Descriptor | None, part: str) -> FieldDescriptor | None:
    if descriptor is None:
        return None
    return descriptor.fields_by_name.get(part) or descriptor.fields_by_camelcase_name.get(part)


def _written_as_one(leaf: FieldDescriptor) -> bool:
    """A message that is one string or number in JSON can be a parameter; times and masks are."""
    kind = leaf.message_type
    return kind is not None and (kind.full_name in TEXTUAL or kind.full_name in WRAPPERS)


def _from_text(leaf: FieldDescriptor, value: str) -> Any:
    """A parameter's text as JSON would have it; strings of digits already pass for numbers."""
    kind = leaf.message_type.fields_by_name.get("value", leaf) if leaf.message_type else leaf
    if kind.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if value not in ("true", "false"):
            raise Wrong("must be true or false")
        return value == "true"
    if kind.enum_type and value.lstrip("-").isdecimal() and value.isascii():
        return int(value)
    return value


def parameter_names(rule: Rule) -> list[FieldDescriptor]:
    """The fields of the request that the query can give, for the API's description."""
    taken = {variable.path[0] for variable in rule.variables} | {rule.body}
    if rule.body == "*":
        return []
    return [each for each in rule.method.input.fields if each.name not in taken]
