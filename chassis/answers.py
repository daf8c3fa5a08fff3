"""Answers kept for repeated requests: what is personal in them is sealed under the keys of those it is about.

The personal part of a message is a message of its own: bytes of both, one after the other, read as the whole.
It is kept in front of the rest, as a field that no message has.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message

from chassis.outbox import also_personal, holds_personal, personal_fields
from chassis.personal.sealing import Lock

TAG = b"\xfa\xff\xff\xff\x0f"  # of field 536870911, length-delimited
MOST_LENGTH = 5  # bytes that say how long it is


def apart(message: Message) -> tuple[Message, Message]:
    """(the message without what is personal, the personal part)."""
    rest = type(message)()
    rest.CopyFrom(message)
    part = type(message)()
    _move(rest, part)
    return rest, part


def _move(rest: Any, part: Any) -> None:
    own, inner = personal_fields(rest.DESCRIPTOR)
    moved = [*own, *also_personal(rest)]
    for name, repeated in inner:
        if repeated:  # a list read after another is longer, not more complete: it goes whole
            if any(is_personal(item) for item in getattr(rest, name)):
                moved.append(name)
        elif rest.HasField(name) and is_personal(getattr(rest, name)):
            _move(getattr(rest, name), getattr(part, name))
    for name in moved:
        field = rest.DESCRIPTOR.fields_by_name[name]
        if field.is_repeated:
            getattr(part, name).MergeFrom(getattr(rest, name))
        elif field.message_type is not None:
            if rest.HasField(name):
                getattr(part, name).CopyFrom(getattr(rest, name))
        elif value := getattr(rest, name):
            setattr(part, name, value)
        rest.ClearField(name)


def is_personal(message: Any) -> bool:
    """Whether a message says anything personal."""
    if not holds_personal(message.DESCRIPTOR):
        return False
    own, inner = personal_fields(message.DESCRIPTOR)
    said = {field.name for field, _ in message.ListFields()}
    if not said.isdisjoint(own) or not said.isdisjoint(also_personal(message)):
        return True
    return any(
        any(map(is_personal, getattr(message, name))) if repeated else is_personal(getattr(message, name))
        for name, repeated in inner
        if name in said
    )


def names_in(message: Any) -> list[str]:
    """The resource names of the records in an answer, itself or one level down."""
    found = [message.name] if "name" in message.DESCRIPTOR.fields_by_name else []
    for field, value in message.ListFields():
        if field.message_type is not None and not field.is_repeated:
            found += [value.name] if "name" in field.message_type.fields_by_name else []
    return found


def sealed(rest: Message, part: Message, names: Sequence[str], lock: Lock) -> bytes:
    """What is kept of an answer."""
    return sealed_bytes(rest.SerializeToString(), part.SerializeToString(), names, lock)


def sealed_bytes(rest: bytes, part: bytes, names: Sequence[str], lock: Lock) -> bytes:
    """What is kept of an answer whose parts are these bytes."""
    inside = "\n".join([lock.seal(part, "response"), *names]).encode()
    return TAG + _varint(len(inside)) + inside + rest


def read(kept: bytes) -> tuple[str, list[str], bytes] | None:
    """(the sealed part, whom it is about, the rest) of what is kept; None where nothing is sealed in it."""
    if not kept.startswith(TAG):
        return None
    at, length, shift = len(TAG), 0, 0
    while True:
        byte = kept[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80 or shift > 7 * MOST_LENGTH:
            break
    part, *names = kept[at : at + length].decode().split("\n")
    return part, names, kept[at + length :]


def generation_of(part: str) -> int:
    """The generation of the key that a sealed part is under."""
    return int.from_bytes(base64.b64decode(part[1:9])[1:5])


def _varint(number: int) -> bytes:
    made = bytearray()
    while number >= 0x80:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])
