"""Requests made from a method's descriptor: sound ones, extreme ones, wrong ones, and bytes that are none."""

from __future__ import annotations

import random
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from buf.validate import validate_pb2
from google.api import field_behavior_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.contract import Method
from tests.fuzz import corpus

KINDS = ("sound", "edge", "edge", "wild", "raw", "raw", "bulk")
DEEPEST = 4
_WELL_KNOWN = {"google.protobuf.Timestamp", "google.protobuf.FieldMask", "google.type.Date",
               "google.type.Money", "google.type.Decimal"}  # fmt: skip


class Maker:
    """Makes one request of one method; everything is chosen by *rng*, names come from *names*."""

    def __init__(self, rng: random.Random, names: Mapping[str, Sequence[str]]) -> None:
        self.rng, self.names = rng, names

    def request(self, method: Method, kind: str) -> bytes:
        """The bytes of a request of that kind, one of KINDS."""
        descriptor = descriptor_pool.Default().FindMessageTypeByName(method.input.full_name)
        message = GetMessageClass(descriptor)()
        collection = method.routes[0].template.partition("=")[2].partition("/")[0] if method.routes else ""
        if kind == "wild":
            self._wild(message, 0)
        else:
            self._sound(message, collection, 0)
        if kind == "edge":
            for _ in range(self.rng.choice((1, 1, 2, 5))):
                self._spoil(message)
        if kind == "bulk":
            self._swell(message)
        data = message.SerializePartialToString()
        return self._raw(data) if kind == "raw" else data

    # What a good client would send.

    def _sound(self, message: Message, collection: str, depth: int) -> None:
        for field in message.DESCRIPTOR.fields:
            said = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
            needed = field_behavior_pb2.REQUIRED in said or field.name == "name"
            if field_behavior_pb2.OUTPUT_ONLY in said or (not needed and self.rng.random() < 0.5):
                continue
            if depth > DEEPEST or _is_map(field) or field.name in ("etag", "page_token", "request_id"):
                continue
            if field.is_repeated:
                for _ in range(self.rng.choice((1, 1, 2))):
                    self._append(message, field, collection, depth)
            elif field.message_type:
                held = getattr(message, field.name)
                held.SetInParent()
                self._sound_message(held, collection, depth)
            else:
                _set(message, field, self._sound_scalar(field, collection))

    def _append(self, message: Message, field: FieldDescriptor, collection: str, depth: int) -> None:
        if field.message_type:
            self._sound_message(getattr(message, field.name).add(), collection, depth)
        else:
            getattr(message, field.name).append(self._sound_scalar(field, collection))

    def _sound_message(self, message: Any, collection: str, depth: int) -> None:
        match message.DESCRIPTOR.full_name:
            case "google.protobuf.Timestamp":
                message.seconds = self.rng.randrange(1_700_000_000, 1_900_000_000)
            case "google.protobuf.FieldMask":
                message.paths.append(self.rng.choice(("display_name", "title", "notes", "team", "owner")))
            case "google.type.Date":
                message.year, message.month, message.day = (
                    2026,
                    self.rng.randint(1, 12),
                    self.rng.randint(1, 28),
                )
            case "google.type.Money":
                message.currency_code, message.units = "CNY", self.rng.randint(1, 500)
            case "google.type.Decimal":
                message.value = str(self.rng.randint(1, 9))
            case _:
                self._sound(message, collection, depth + 1)

    def _sound_scalar(self, field: FieldDescriptor, collection: str) -> Any:
        if field.enum_type:
            return self.rng.choice(field.enum_type.values).number
        if field.type == field.TYPE_STRING:
            return self._sound_text(field, collection)
        if field.cpp_type == field.CPPTYPE_BOOL:
            return self.rng.random() < 0.3
        return self.rng.choice((0, 1, 2, 5, 50))

    def _sound_text(self, field: FieldDescriptor, collection: str) -> str:
        rules = field.GetOptions().Extensions[validate_pb2.field].string
        if field.name == "name" and collection:
            return self._name(collection)
        if found := re.search(r"([a-z][A-Za-z]+)/\[", rules.pattern):
            return self._name(found[1])
        if field.name in self.names or f"{field.name}s" in self.names:
            return self._name(f"{field.name}s")
        if rules.email or "email" in field.name:
            return f"{uuid.UUID(int=self.rng.getrandbits(128))}@fuzz.example"
        if "[A-Z]{3}" in rules.pattern or field.name.startswith("currency"):
            return "CNY"
        if field.name in ("filter", "order_by"):
            return self.rng.choice(("", "", *(corpus.FILTERS if field.name == "filter" else corpus.ORDERS)))
        if field.name == "password":
            return "short"  # hashing a good one takes a third of a second, and says nothing new
        text = self.rng.choice(("A sound text", "客户", *corpus.STORED))
        return text[: rules.max_len or 80]

    def _name(self, collection: str) -> str:
        known = self.names.get(collection) or [f"{collection}/{uuid.UUID(int=self.rng.getrandbits(128))}"]
        return self.rng.choice(known)

    # What nobody should send.

    def _spoil(self, message: Message) -> None:
        """One field somewhere inside gets a value from the edge."""
        fields = [f for f in message.DESCRIPTOR.fields if not _is_map(f)]
        if not fields:
            return
        field = self.rng.choice(fields)
        inner = _inner(message, field)
        if inner and self.rng.random() < 0.8 and field.message_type.full_name not in _WELL_KNOWN:
            self._spoil(self.rng.choice(inner))
        else:
            self._extreme(message, field, 0)

    def _wild(self, message: Message, depth: int) -> None:
        for field in message.DESCRIPTOR.fields:
            if self.rng.random() < 0.6 and not _is_map(field):
                self._extreme(message, field, depth)

    def _extreme(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        count = self.rng.choice((0, 1, 2, 60)) if field.is_repeated else 1
        held = getattr(message, field.name)
        for _ in range(count):
            if field.message_type is None:
                value = self._extreme_scalar(field)
                held.append(value) if field.is_repeated else _set(message, field, value)
            elif depth <= DEEPEST:
                part = held.add() if field.is_repeated else held
                part.SetInParent()
                self._extreme_message(part, depth)

    def _extreme_message(self, message: Any, depth: int) -> None:
        pick = self.rng.choice
        match message.DESCRIPTOR.full_name:
            case "google.protobuf.Timestamp":
                message.seconds, message.nanos = pick(corpus.SECONDS), pick(corpus.NANOS)
            case "google.protobuf.FieldMask":
                message.paths.extend(pick(corpus.MASKS) for _ in range(pick((0, 1, 2, 30))))
            case "google.type.Date":
                message.year, message.month, message.day = pick(corpus.DATES)
            case "google.type.Money":
                message.currency_code = pick(corpus.CURRENCIES)
                message.units, message.nanos = pick(corpus.LARGE), pick(corpus.NANOS)
            case "google.type.Decimal":
                message.value = pick(corpus.DECIMALS)
            case _:
                self._wild(message, depth + 1)

    def _extreme_scalar(self, field: FieldDescriptor) -> Any:
        pick = self.rng.choice
        if field.enum_type or field.cpp_type == field.CPPTYPE_INT32:
            return pick(corpus.WHOLE)
        if field.cpp_type == field.CPPTYPE_INT64:
            return pick(corpus.LARGE)
        if field.cpp_type == field.CPPTYPE_BOOL:
            return pick((True, False))
        if field.name == "password":
            return pick(("", "short", "\0", "x" * 5000))
        lists = {"filter": corpus.FILTERS, "order_by": corpus.ORDERS, "page_token": corpus.TOKENS}
        return pick(lists.get(field.name, corpus.TEXTS))

    def _swell(self, message: Message) -> None:
        """One part of the request becomes very large."""
        lists = [f for f in message.DESCRIPTOR.fields if f.is_repeated and not _is_map(f)]
        texts = [f for f in message.DESCRIPTOR.fields if f.type == f.TYPE_STRING and not f.is_repeated]
        holders = [f for f in message.DESCRIPTOR.fields if f.message_type and not f.is_repeated
                   and f.message_type.full_name.startswith("tradewind.")]  # fmt: skip
        if holders and (not lists or self.rng.random() < 0.7):
            return self._swell(getattr(message, self.rng.choice(holders).name))
        if lists:
            field, held = lists[0], getattr(message, lists[0].name)
            for _ in range(self.rng.choice((500, 3000))):
                held.add() if field.message_type else held.append(
                    0 if field.type != field.TYPE_STRING else "x"
                )
        elif texts:
            setattr(message, self.rng.choice(texts).name, "x" * self.rng.choice((10_000, 500_000)))
        return None

    def _raw(self, data: bytes) -> bytes:
        """Bytes that are not, or not quite, a message."""
        noise = self.rng.randbytes(self.rng.choice((1, 8, 200)))
        at = self.rng.randrange(len(data) + 1)
        match self.rng.randrange(9):
            case 0:
                return noise
            case 1:
                return data[:at]
            case 2:
                flipped = bytearray(data or b"\0")
                for _ in range(self.rng.choice((1, 3, 20))):
                    flipped[self.rng.randrange(len(flipped))] ^= 1 << self.rng.randrange(8)
                return bytes(flipped)
            case 3:
                return data[:at] + noise + data[at:]
            case 4:
                return data * self.rng.choice((2, 50))
            case 5:  # fields that nobody knows, of every wire type
                return (
                    data
                    + b"\xf8\x7f\x01"
                    + b"\xfa\x7f\x05hello"
                    + b"\xfd\x7f"
                    + bytes(4)
                    + b"\xf9\x7f"
                    + bytes(8)
                )
            case 6:
                return b"\x0b" * self.rng.choice((50, 20_000))  # groups in groups
            case 7:
                return data + b"\x0a" + b"\xff" * 9 + b"\x01"  # a length beyond every end
            case _:
                return data + b"\x0a\x04\xff\xfe\xc0\x80" + b"\x08" + b"\x80" * 12  # no UTF-8, no end


def _is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


def _inner(message: Message, field: FieldDescriptor) -> list[Any]:
    if not field.message_type:
        return []
    if field.is_repeated:
        return list(getattr(message, field.name))
    return [getattr(message, field.name)] if message.HasField(field.name) else []


def _set(message: Message, field: FieldDescriptor, value: Any) -> None:
    setattr(message, field.name, value)


def described(name: str) -> Descriptor:
    """A message's descriptor as the generated modules have it."""
    return descriptor_pool.Default().FindMessageTypeByName(name)
