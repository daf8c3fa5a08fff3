"""How single values cross between JSON and protobuf; a wrong one is answered with what would be right."""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

Convert = Callable[[Any], Any]
Write = Callable[[Any], str]

quoted: Write = encode_basestring  # a string as JSON has it

WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,19})", re.ASCII)
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?", re.ASCII)
FLOAT_MAX = float.fromhex("0x1.fffffep+127")


NAMELESS = '""'  # the name of {"": 1} and of ?=1


def camel(path: str) -> str:
    """unit_price → unitPrice."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), path)


class Wrong(Exception):
    """A value that cannot be taken; the parts of its path are put in front while the walk unwinds."""

    def __init__(self, problem: str, reason: str = "FIELD_INVALID") -> None:
        super().__init__(problem)
        self.problem, self.reason = problem, reason
        self.parts: list[str] = []

    def under(self, part: str) -> Wrong:
        """The same, one step further out."""
        self.parts.append(part)
        return self

    @property
    def path(self) -> str:
        """Where it stands, as JSON names it: `lines[2].unitPrice`; a name nobody knows stands as it came."""
        known = self.parts[1:] if self.reason == "FIELD_UNKNOWN" else self.parts
        named = self.parts[: len(self.parts) - len(known)] + [p if p[:1] == "[" else camel(p) for p in known]
        if self.reason == "FIELD_UNKNOWN":
            named = [named[0] or NAMELESS, *named[1:]]
        return "".join(p if p.startswith("[") else f".{p}" for p in reversed(named)).lstrip(".")


def text(value: Any) -> str:
    """A string of characters that can be stored: no NUL, no half of a surrogate pair."""
    if type(value) is not str:
        raise Wrong("must be a string")
    if "\0" in value:
        raise Wrong("must not contain the NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Wrong("must be Unicode text without lone surrogates") from None
    return value


def boolean(value: Any) -> bool:
    """True or false, unquoted."""
    if type(value) is not bool:
        raise Wrong("must be true or false")
    return value


def octets(value: Any) -> bytes:
    """Bytes from base64, either alphabet, padded or not."""
    if type(value) is str:
        try:
            plain = value.translate(_URL_SAFE).rstrip("=")
            return binascii.a2b_base64(plain + "=" * (-len(plain) % 4), strict_mode=True)
        except (binascii.Error, ValueError):
            pass
    raise Wrong("must be a string of base64")


_URL_SAFE = str.maketrans("-_", "+/")


def whole(low: int, high: int) -> Convert:
    """A whole number from *low* to *high*; a string of digits and 5.0 are whole numbers too."""

    def convert(value: Any) -> int:
        kind = type(value)
        if kind is int:
            number = value
        elif kind is str and len(value) <= 400 and (found := NUMBER.fullmatch(value)):
            number = (
                int(value)
                if found[2] is None and found[3] is None and WHOLE.fullmatch(value)
                else _integral(value)
            )
        elif kind is float and value.is_integer():
            number = int(value)
        else:
            raise Wrong("must be a whole number")
        if not low <= number <= high:
            raise Wrong(f"must be from {low} to {high}")
        return number

    return convert


def _integral(value: str) -> int:
    number = float(value)
    if not number.is_integer():
        raise Wrong("must be a whole number")
    return int(number)


def decimal(limit: float = math.inf) -> Convert:
    """A finite number whose size stays within *limit*."""

    def convert(value: Any) -> float:
        kind = type(value)
        try:
            if kind is float or kind is int or (kind is str and NUMBER.fullmatch(value)):
                number = float(value)
                if abs(number) <= limit and math.isfinite(number):
                    return number
        except OverflowError:
            pass
        raise Wrong("must be a finite number")

    return convert


def one_of(enum: EnumDescriptor) -> Convert:
    """A value of *enum*, by its name or its number."""
    names = {value.name: value.number for value in enum.values}
    numbers = {value.number for value in enum.values}
    listed = ", ".join(list(names)[:40]) + (", …" if len(names) > 40 else "")

    def convert(value: Any) -> int:
        if type(value) is str and value in names:
            return names[value]
        if type(value) is int and value in numbers:
            return value
        raise Wrong(f"must be one of {listed}")

    return convert


def converter(field: FieldDescriptor) -> Convert:
    """How one JSON value becomes a value of *field*, which is no message."""
    if field.type == FieldDescriptor.TYPE_BYTES:
        return octets
    if field.enum_type:
        return one_of(field.enum_type)
    return _CONVERTERS[field.cpp_type]


_CONVERTERS: dict[int, Convert] = {
    FieldDescriptor.CPPTYPE_STRING: text,
    FieldDescriptor.CPPTYPE_BOOL: boolean,
    FieldDescriptor.CPPTYPE_INT32: whole(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: whole(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: whole(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: whole(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_DOUBLE: decimal(),
    FieldDescriptor.CPPTYPE_FLOAT: decimal(FLOAT_MAX),
}


def key_converter(field: FieldDescriptor) -> Convert:
    """How the key of a JSON object becomes a map's key."""
    if field.cpp_type != FieldDescriptor.CPPTYPE_BOOL:
        return converter(field)

    def convert(value: Any) -> bool:
        if value not in ("true", "false"):
            raise Wrong("has a key that is neither true nor false")
        return bool(value == "true")

    return convert


class _Names(dict[int, str]):
    """The names of an enum; a value of tomorrow stands as its number."""

    def __missing__(self, value: int) -> str:
        return str(value)


def writer(field: FieldDescriptor) -> Write:
    """How a value of *field*, which is no message, is written in JSON."""
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: f'"{base64.b64encode(value).decode()}"'
    if field.enum_type:
        if field.enum_type.full_name == "google.protobuf.NullValue":
            return lambda value: "null"
        return _Names(
            {value.number: f'"{value.name}"' for value in reversed(field.enum_type.values)}
        ).__getitem__
    return _WRITERS.get(field.cpp_type, str)


def key_writer(field: FieldDescriptor) -> Write:
    """How a map's key becomes the key of a JSON object."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return quoted
    return lambda value: f'"{str(value).lower()}"'


def truth(value: bool) -> str:
    """Unquoted."""
    return "true" if value else "false"


def real(value: float) -> str:
    """A number, or the word proto3 JSON has for what is none."""
    if math.isfinite(value):
        return repr(value)
    return '"NaN"' if math.isnan(value) else ('"Infinity"' if value > 0 else '"-Infinity"')


def short_real(value: float) -> str:
    """The shortest decimal that is still the same 32-bit float."""
    if math.isfinite(value):
        for digits in range(6, 9):
            short = float(f"{value:.{digits}g}")
            if abs(short) <= FLOAT_MAX and struct.unpack("f", struct.pack("f", short))[0] == value:
                return repr(short)
    return real(value)


_WRITERS: dict[int, Write] = {
    FieldDescriptor.CPPTYPE_STRING: quoted,
    FieldDescriptor.CPPTYPE_BOOL: truth,
    FieldDescriptor.CPPTYPE_INT64: lambda value: f'"{value}"',
    FieldDescriptor.CPPTYPE_UINT64: lambda value: f'"{value}"',
    FieldDescriptor.CPPTYPE_DOUBLE: real,
    FieldDescriptor.CPPTYPE_FLOAT: short_real,
}
