"""JSON to protobuf and back by the rules of proto3 JSON, compiled once for each message type."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from gateway.scalars import Convert, Write, Wrong, converter, key_converter, key_writer, quoted, writer
from gateway.wellknown import SHAPES, WRAPPERS, Fill, write_empty

ANY = "google.protobuf.Any"
NULLABLE = ("google.protobuf.Value", "google.protobuf.NullValue")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One name that an object may use for a field."""

    name: str
    fill: Fill
    # The other spelling, so that both at once are noticed.
    twin: str
    oneof: str
    nullable: bool


class Transcoder:
    """Writes messages as JSON and fills messages from JSON values, with a walk compiled per type."""

    def __init__(self, pool: DescriptorPool) -> None:
        self.pool = pool
        self._writes: dict[str, Write] = {}
        self._fills: dict[str, Fill] = {}

    def message_class(self, descriptor: Descriptor) -> Callable[[], Any]:
        """The class whose instances this transcoder fills and writes."""
        return GetMessageClass(descriptor)

    def write(self, descriptor: Descriptor) -> Write:
        """Message → the text of its JSON value."""
        name = descriptor.full_name
        if name not in self._writes:
            if name in SHAPES:
                self._writes[name] = SHAPES[name][0]
            elif name in WRAPPERS:
                self._writes[name] = self._write_wrapper(descriptor)
            elif name == ANY:
                self._writes[name] = self._write_any
            else:
                self._writes[name] = write_empty if not descriptor.fields else self._write_fields(descriptor)
        return self._writes[name]

    def fill(self, descriptor: Descriptor) -> Fill:
        """(empty message, JSON value) → the message filled, or Wrong."""
        name = descriptor.full_name
        if name not in self._fills:
            if name in SHAPES:
                self._fills[name] = SHAPES[name][1]
            elif name in WRAPPERS:
                self._fills[name] = self._fill_wrapper(descriptor)
            elif name == ANY:
                self._fills[name] = self._fill_any
            else:
                self._fills[name] = self._fill_fields(descriptor)
        return self._fills[name]

    def _write_fields(self, descriptor: Descriptor) -> Write:
        table: dict[FieldDescriptor, tuple[str, Write]] = {}

        def write(message: Any) -> str:
            parts = []
            for field, value in message.ListFields():
                name, text_of = table[field]
                parts.append(name + text_of(value))
            return "{" + ",".join(parts) + "}"

        # Known before its fields are walked, because a message may hold itself.
        self._writes[descriptor.full_name] = write
        for field in descriptor.fields:
            table[field] = (f"{quoted(field.json_name)}:", self._write_field(field))
        return write

    def _write_field(self, field: FieldDescriptor) -> Write:
        if entry := map_entry(field):
            return self._write_map(entry)
        one = self._write_one(field)
        return (lambda values: "[" + ",".join(map(one, values)) + "]") if field.is_repeated else one

    def _write_one(self, field: FieldDescriptor) -> Write:
        return self.write(field.message_type) if field.message_type else writer(field)

    def _write_map(self, entry: Descriptor) -> Write:
        name = key_writer(entry.fields_by_name["key"])
        one = self._write_one(entry.fields_by_name["value"])

        def write(values: Any) -> str:
            return "{" + ",".join([f"{name(key)}:{one(values[key])}" for key in sorted(values)]) + "}"

        return write

    def _write_wrapper(self, descriptor: Descriptor) -> Write:
        one = writer(descriptor.fields_by_name["value"])
        return lambda message: one(message.value)

    def _write_any(self, message: Any) -> str:
        if not message.type_url:
            return "{}"
        kind = f'{{"@type":{quoted(message.type_url)}'
        try:
            descriptor = self.pool.FindMessageTypeByName(message.type_url.rpartition("/")[2])
            held = GetMessageClass(descriptor).FromString(message.value)
        except (KeyError, DecodeError):
            # A type of somewhere else: its bytes are all that can be said.
            return f'{kind},"value":"{base64.b64encode(message.value).decode()}"}}'
        written = self.write(descriptor)(held)
        if _has_own_shape(descriptor):
            return f'{kind},"value":{written}}}'
        return kind + ("}" if written == "{}" else f",{written[1:]}")

    def _fill_fields(self, descriptor: Descriptor) -> Fill:
        entries: dict[str, _Entry] = {}

        def fill(message: Any, value: Any) -> None:
            if type(value) is not dict:
                raise Wrong("must be an object")
            chosen: set[str] = set()
            for key, item in value.items():
                entry = entries.get(key)
                if entry is None:
                    raise Wrong("is not a field", "FIELD_UNKNOWN").under(key)
                try:
                    if entry.twin and entry.twin in value:
                        raise Wrong(f"is given twice, as {key} and {entry.twin}")
                    if item is None and not entry.nullable:
                        continue
                    if entry.oneof:
                        if entry.oneof in chosen:
                            raise Wrong(
                                f"is given beside another choice of {entry.oneof}; only one is allowed"
                            )
                        chosen.add(entry.oneof)
                    entry.fill(message, item)
                except Wrong as wrong:
                    raise wrong.under(entry.name) from None

        self._fills[descriptor.full_name] = fill
        for field in descriptor.fields:
            for key in {field.json_name, field.name}:
                entries[key] = self._entry(field, key)
        return fill

    def _entry(self, field: FieldDescriptor, key: str) -> _Entry:
        spellings = {field.json_name, field.name} - {key}
        return _Entry(
            name=field.name,
            fill=self._fill_field(field),
            twin=spellings.pop() if spellings else "",
            oneof=_choice(field),
            nullable=not field.is_repeated and _nullable(field),
        )

    def _fill_field(self, field: FieldDescriptor) -> Fill:
        if entry := map_entry(field):
            return self._fill_map(field.name, entry)
        if field.message_type:
            return self._fill_message(field, self.fill(field.message_type))
        convert = _null_or(converter(field), field)
        name = field.name
        if not field.is_repeated:
            return lambda message, value: setattr(message, name, convert(value))

        def fill(message: Any, value: Any) -> None:
            getattr(message, name).extend(_each(value, convert))

        return fill

    def _fill_message(self, field: FieldDescriptor, inner: Fill) -> Fill:
        name, nulls = field.name, _nullable(field)

        def fill_one(message: Any, value: Any) -> None:
            held = getattr(message, name)
            held.SetInParent()
            inner(held, value)

        def fill_many(message: Any, value: Any) -> None:
            held = getattr(message, name)
            _each(value, lambda item: inner(held.add(), item), nulls)

        return fill_many if field.is_repeated else fill_one

    def _fill_map(self, name: str, entry: Descriptor) -> Fill:
        value_field = entry.fields_by_name["value"]
        key_of, nulls = key_converter(entry.fields_by_name["key"]), _nullable(value_field)
        put: Callable[[Any, Any, Any], None]
        if value_field.message_type:
            inner = self.fill(value_field.message_type)

            def put(held: Any, key: Any, item: Any) -> None:
                held[key].SetInParent()
                inner(held[key], item)
        else:
            convert = _null_or(converter(value_field), value_field)

            def put(held: Any, key: Any, item: Any) -> None:
                held[key] = convert(item)

        def fill(message: Any, value: Any) -> None:
            if type(value) is not dict:
                raise Wrong("must be an object")
            held = getattr(message, name)
            for key, item in value.items():
                try:
                    if item is None and not nulls:
                        raise Wrong("must not be null")
                    put(held, key_of(key), item)
                except Wrong as wrong:
                    raise wrong.under(f'["{key}"]') from None

        return fill

    def _fill_wrapper(self, descriptor: Descriptor) -> Fill:
        convert = converter(descriptor.fields_by_name["value"])

        def fill(message: Any, value: Any) -> None:
            message.value = convert(value)

        return fill

    def _fill_any(self, message: Any, value: Any) -> None:
        if type(value) is not dict:
            raise Wrong("must be an object")
        if not value:
            return
        url = value.get("@type")
        if type(url) is not str or "/" not in url:
            raise Wrong("must name its message, like type.googleapis.com/google.type.Money").under("@type")
        try:
            descriptor = self.pool.FindMessageTypeByName(url.rpartition("/")[2])
        except KeyError:
            raise Wrong("must name a message of this platform").under("@type") from None
        rest = {key: item for key, item in value.items() if key != "@type"}
        if _has_own_shape(descriptor):
            if rest.keys() != {"value"}:
                raise Wrong("must hold its content as value, and nothing else")
            rest = rest["value"]
        held = GetMessageClass(descriptor)()
        self.fill(descriptor)(held, rest)
        message.type_url, message.value = url, held.SerializeToString()


def _has_own_shape(descriptor: Descriptor) -> bool:
    return descriptor.full_name in SHAPES or descriptor.full_name in WRAPPERS or descriptor.full_name == ANY


def map_entry(field: FieldDescriptor) -> Descriptor | None:
    """The key and value of *field*, when it is a map."""
    kind = field.message_type
    return kind if kind and kind.GetOptions().map_entry else None


def _choice(field: FieldDescriptor) -> str:
    """The oneof that *field* belongs to; one that only says `optional` is none."""
    oneof = field.containing_oneof
    return "" if oneof is None or oneof.name == f"_{field.name}" else oneof.name


def _nullable(field: FieldDescriptor) -> bool:
    kind = field.message_type or field.enum_type
    return kind is not None and kind.full_name in NULLABLE


def _null_or(convert: Convert, field: FieldDescriptor) -> Convert:
    return (lambda value: 0 if value is None else convert(value)) if _nullable(field) else convert


def _each(value: Any, take: Convert, nulls: bool = False) -> list[Any]:
    if type(value) is not list:
        raise Wrong("must be a list")
    taken = []
    for place, item in enumerate(value):
        try:
            if item is None and not nulls:
                raise Wrong("must not be null")
            taken.append(take(item))
        except Wrong as wrong:
            raise wrong.under(f"[{place}]") from None
    return taken
