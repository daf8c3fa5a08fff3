"""What a caller may not see, or not write, of the records they reach: applied to every message on its way.

A rule names a collection and a field ("customers.tax_id", "orders.ship_to.phone"). A HIDDEN field is left
out of whatever the caller is told; of a MASKED one a text is told as `***`, whatever its length or number,
and everything else is left out; both, and READ_ONLY ones, are not the caller's to write. Who may not see a
field may not ask by it either. Which messages hold a field, and which show another noun's (the option
`shows`), is read from the descriptors once for each set of rules: no noun has code for it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

from google.api import resource_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import status_pb2
from tradewind.type.v1 import options_pb2

from chassis.kernel.refusals import Refused
from chassis.reasons import without

HIDDEN, MASKED, READ_ONLY = "HIDDEN", "MASKED", "READ_ONLY"
STRICTNESS = {READ_ONLY: 1, MASKED: 2, HIDDEN: 3}
MASK = "***"
ANY = "google.protobuf.Any"
_WORDS = {"h": HIDDEN, "m": MASKED, "r": READ_ONLY}  # in a token, where every byte counts


def descriptor_of(message: Any) -> Descriptor:
    """What describes a message, or a class of messages."""
    found: Descriptor = message.DESCRIPTOR
    return found


@cache
def noun_of(descriptor: Descriptor) -> str:
    """The collection whose record a message is ("customers"), or ""."""
    return str(descriptor.GetOptions().Extensions[resource_pb2.resource].plural)


@cache
def shown_by(field: FieldDescriptor) -> tuple[str, ...]:
    """The fields of other nouns that a field shows again."""
    return tuple(field.GetOptions().Extensions[options_pb2.shows])


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field maps keys to values."""
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


class _Kept(NamedTuple):
    """A rule that holds for a field of a message."""

    rule: str
    key: str  # "customers.tax_id"
    record: str  # the field of the message that names the record it is of; "" for the noun's own message


class _Plan:
    """What to do with messages of one type."""

    def __init__(self) -> None:
        self.noun = ""
        self.kept: list[tuple[FieldDescriptor, str, list[_Kept]]] = []  # the strictest rule, and all
        self.inner: list[tuple[str, bool, _Plan]] = []  # within which field, and whether it repeats
        self.packed: list[str] = []  # fields that hold a message of any type

    def __bool__(self) -> bool:
        return bool(self.kept or self.inner or self.packed)


class FieldRules:
    """The rules for one caller. *rules* are by "collection.field"; of *records* (name → such fields) and of
    *methods* (paths) they were lifted for a while: see AccessRequest."""

    def __init__(
        self,
        rules: Mapping[str, str],
        records: Mapping[str, Collection[str]] | None = None,
        methods: Iterable[str] = (),
    ) -> None:
        self.rules = dict(rules)
        self.records = {name: frozenset(fields) for name, fields in (records or {}).items()}
        self.methods = frozenset(methods)
        self.unseen = {key: rule for key, rule in self.rules.items() if rule != READ_ONLY}
        self._plans: dict[tuple[Descriptor, frozenset[tuple[str, str]]], _Plan] = {}
        self._asked: dict[Descriptor, frozenset[str]] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldRules) and self.claim() == other.claim()

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.rules.items())))

    # -- in a token ------------------------------------------------------------------------------

    def claim(self) -> dict[str, Any]:
        """The rules as a principal token says them: {"m": {"customers": ["tax_id"]}, …}."""
        said: dict[str, Any] = {}
        for letter, rule in _WORDS.items():
            for key in sorted(key for key, its in self.rules.items() if its == rule):
                noun, _, field = key.partition(".")
                said.setdefault(letter, {}).setdefault(noun, []).append(field)
        if self.records:
            said["seen"] = {name: sorted(fields) for name, fields in sorted(self.records.items())}
        if self.methods:
            said["methods"] = sorted(self.methods)
        return said

    @staticmethod
    def of_claim(claim: Any) -> FieldRules | None:
        """The rules of a token's claim, made once for each that is in use; None for no rules.

        Raises ValueError for a claim that is none of ours.
        """
        return _of_claim(json.dumps(claim, sort_keys=True)) if claim else None

    # -- what is told ----------------------------------------------------------------------------

    def shown(self, message: Message) -> Message:
        """The message as this caller may see it: itself, or a copy."""
        plan = self._plan(descriptor_of(message))
        if not plan:
            return message
        made = type(message)()
        made.CopyFrom(message)
        self._apply(plan, made, "")
        return made

    def _plan(self, descriptor: Descriptor, local: frozenset[tuple[str, str]] = frozenset()) -> _Plan:
        """What to do with messages of that type; *local* are (path, rule key) from the noun around it."""
        known = self._plans.get((descriptor, local))
        if known is not None:
            return known
        plan = self._plans[descriptor, local] = _Plan()
        plan.noun = noun_of(descriptor)
        paths = dict(local) if not plan.noun else self._paths(plan.noun)
        for field in descriptor.fields:
            own = [(paths[field.name], "")] if field.name in paths else []
            also = [(key, _reference(descriptor, key)) for shown in shown_by(field)
                    for key in self.unseen if shown == key or shown.startswith(f"{key}.")]  # fmt: skip
            if kept := [_Kept(self.unseen[key], key, record) for key, record in (*own, *also)]:
                plan.kept.append((field, max((k.rule for k in kept), key=STRICTNESS.__getitem__), kept))
            else:
                self._plan_inner(plan, field, paths)
        return plan

    def _paths(self, noun: str) -> dict[str, str]:
        return {key.partition(".")[2]: key for key in self.unseen if key.partition(".")[0] == noun}

    def _plan_inner(self, plan: _Plan, field: FieldDescriptor, paths: Mapping[str, str]) -> None:
        """What is kept within a message's field, by rules for it and for what it shows."""
        kind = field.message_type
        if kind is None or is_map(field):
            return
        if kind.full_name == ANY:
            plan.packed.append(field.name)
        elif kind.full_name.startswith("tradewind."):
            within = {f"{field.name}.": paths}
            within |= {f"{shown}.": {key: key for key in self.unseen} for shown in shown_by(field)}
            local = {
                path[len(start) :]: key for start, known in within.items()
                for path, key in known.items() if path.startswith(start)
            }  # fmt: skip
            if inner := self._plan(kind, frozenset(local.items())):
                plan.inner.append((field.name, bool(field.is_repeated), inner))

    def _apply(self, plan: _Plan, message: Any, record: str) -> None:
        if plan.noun:
            record = message.name
        for field, rule, kept in plan.kept:
            if self.records:
                rule = self._strictest(kept, message, record)
            if rule == HIDDEN:
                message.ClearField(field.name)
            elif rule:
                _mask(message, field)
        for name, repeated, inner in plan.inner:
            if repeated:
                for item in getattr(message, name):
                    self._apply(inner, item, record)
            elif message.HasField(name):
                self._apply(inner, getattr(message, name), record)
        for name in plan.packed:
            if message.HasField(name):
                self._apply_packed(getattr(message, name))

    def _strictest(self, kept: list[_Kept], message: Any, record: str) -> str:
        """The strictest rule of those that were not lifted for the record in question; "" for none."""
        left = ""
        for each in kept:
            about = getattr(message, each.record) if each.record else record
            if each.key not in self.records.get(about, ()):
                left = max(left, each.rule, key=lambda rule: STRICTNESS.get(rule, 0))
        return left

    def _apply_packed(self, packed: Any) -> None:
        try:
            kind = descriptor_pool.Default().FindMessageTypeByName(packed.TypeName())
        except KeyError:
            packed.Clear()  # what cannot be read cannot be looked through
            return
        if plan := self._plan(kind):
            message = GetMessageClass(kind).FromString(packed.value)
            self._apply(plan, message, "")
            packed.value = message.SerializeToString(deterministic=True)

    def status(self, status: status_pb2.Status) -> status_pb2.Status:
        """A refusal as this caller may hear it: facts that show what is kept from them are masked."""
        return without(status, self.unseen.keys()) if self.unseen else status

    # -- what is asked ---------------------------------------------------------------------------

    def unasked(self, descriptor: Descriptor) -> frozenset[str]:
        """The paths in a noun's message by which this caller may neither filter nor order."""
        found = self._asked.get(descriptor)
        if found is None:
            found = self._asked[descriptor] = frozenset(self.kept(descriptor))
        return found

    def kept(self, descriptor: Descriptor) -> dict[str, str]:
        """The paths in a noun's message that are kept from this caller, each with its strictest rule."""
        return dict(_paths_of(self._plan(descriptor)))

    def check_reads(self, reads: Iterable[str], method: str) -> None:
        """Refuse an answer that is counted from what the caller may not see."""
        for key in reads:
            if any(overlap(key, kept) for kept in self.unseen) and method not in self.methods:
                raise Refused("FIELD_RESTRICTED", field=key)

    def check_written(self, request: Message, answer: Descriptor) -> None:
        """Refuse a request that writes what is not the caller's to write, were it the value as it stands."""
        for field, value in request.ListFields():
            for key in (
                f"{noun_of(answer)}.{field.name}",
                *shown_by(field),
            ):  # a verb says it beside the record
                if key in self.rules:
                    raise Refused("FIELD_READ_ONLY", field=field.name, rule=self.rules[key])
            if field.message_type is not None and not is_map(field):
                self._check_part(request, field, value)

    def _check_part(self, request: Any, field: FieldDescriptor, value: Any) -> None:
        for item in value if field.is_repeated else (value,):
            noun = noun_of(item.DESCRIPTOR)
            for path, rule in self._written(noun):
                if "update_mask" in request.DESCRIPTOR.fields_by_name and noun:
                    names = request.update_mask.paths or [f.name for f, _ in item.ListFields()]
                    said = any(overlap(path, name) for name in names)
                else:
                    said = _says(item, path)
                if said:
                    raise Refused("FIELD_READ_ONLY", field=f"{field.name}.{path}", rule=rule)
            if not noun and item.DESCRIPTOR.full_name.startswith("tradewind."):
                self.check_written(item, item.DESCRIPTOR)

    def _written(self, noun: str) -> Iterator[tuple[str, str]]:
        for key, rule in self.rules.items() if noun else ():
            its, _, path = key.partition(".")
            if its == noun:
                yield path, rule


@lru_cache(maxsize=2000)
def _of_claim(text: str) -> FieldRules:
    claim = json.loads(text)
    if not isinstance(claim, dict) or claim.keys() - {*_WORDS, "seen", "methods"}:
        raise ValueError("no field rules")
    rules = {
        f"{noun}.{field}": rule
        for letter, rule in _WORDS.items()
        for noun, fields in claim.get(letter, {}).items()
        for field in fields
    }
    return FieldRules(rules, claim.get("seen", {}), claim.get("methods", ()))


def overlap(one: str, other: str) -> bool:
    """Whether two paths are the same, or one lies within the other."""
    return one == other or one.startswith(other + ".") or other.startswith(one + ".")


def _reference(descriptor: Descriptor, key: str) -> str:
    """The field of a message that names the record which *key* is of: `customer` for "customers.…"."""
    noun = key.partition(".")[0]
    names = (field.name for field in descriptor.fields if field.type == field.TYPE_STRING)
    return next((name for name in names if noun in (f"{name}s", f"{name[:-1]}ies")), "")


def _mask(message: Any, field: FieldDescriptor) -> None:
    """`***` for a text and for any number of texts, nothing for what is no text."""
    value = getattr(message, field.name)
    text = field.type == field.TYPE_STRING and not is_map(field)
    if not text or not value:
        message.ClearField(field.name)
    elif field.is_repeated:
        del value[:]
        value.append(MASK)
    else:
        setattr(message, field.name, MASK)


def _paths_of(plan: _Plan) -> Iterator[tuple[str, str]]:
    for field, rule, _ in plan.kept:
        yield field.name, rule
    for name, _, inner in plan.inner:
        if not inner.noun:
            yield from ((f"{name}.{path}", rule) for path, rule in _paths_of(inner))


def _says(message: Any, path: str) -> bool:
    """Whether anything stands at a path, in any item of the lists on the way."""
    name, _, rest = path.partition(".")
    field = message.DESCRIPTOR.fields_by_name[name]
    present = {f.name: value for f, value in message.ListFields()}
    if name not in present or not rest:
        return name in present
    return any(_says(item, rest) for item in (present[name] if field.is_repeated else (present[name],)))
