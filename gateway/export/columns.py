"""The columns of a list, read from the message of its noun: one for each plain value, by its path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from tradewind.type.v1 import options_pb2

from chassis.field_rules import HIDDEN
from chassis.kernel.refusals import Refused
from gateway.contract import RESOURCE, Contract, Method

# What stands in a cell; nothing where nothing was said.
Value = str | int | Decimal | bool | date | datetime | None
DEEPEST = 4
MOST = 200
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_NANOS = Decimal("1e-9")


class Kind(Enum):
    """What the values of a column are."""

    TEXT = "text"  # people's words: what a spreadsheet might run
    WORD = "word"  # the platform's own
    INTEGER = "integer"
    DECIMAL = "decimal"
    FLAG = "flag"
    DATE = "date"
    TIME = "time"


@dataclass(frozen=True)
class Column:
    """One column of a list."""

    name: str  # "address.city"
    kind: Kind
    read: Callable[[Any], Value]  # of the noun's message
    sensitive: bool = False

    @property
    def top(self) -> str:
        """The field of the noun that it stands in."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Listed:
    """A list that can be exported."""

    collection: str  # "customers", as its path says
    method: Method
    field: str  # of the answer, which holds the records
    noun: Descriptor

    @property
    def plural(self) -> str:
        """The noun's own word, by which field rules name it."""
        return str(Contract.load().message_options(self.noun).Extensions[RESOURCE].plural)


@cache
def lists() -> Mapping[str, Listed]:
    """Every list of a noun that takes a filter, by its collection."""
    found = {}
    for method in Contract.load().public.values():
        held = [field for field in method.output.fields if field.message_type and field.is_repeated]
        if method.name.startswith("List") and "filter" in method.input.fields_by_name and len(held) == 1:
            collection = method.routes[0].template.removeprefix("/v1/")
            noun = held[0].message_type
            assert noun is not None
            found[collection] = Listed(collection, method, held[0].name, noun)
    return found


@cache
def columns_of(noun: Descriptor) -> tuple[Column, ...]:
    """Every column there is, in the order of the contract."""
    return tuple(_columns(noun, "", (), False, 0))


def chosen(noun: Descriptor, fields: Iterable[str], kept: Mapping[str, str]) -> tuple[Column, ...]:
    """The columns that *fields* name, or all, less what is hidden by the rules *kept* (path → rule).

    A name stands for its column and for those that lie in it. FIELD_UNKNOWN, FIELD_RESTRICTED.
    """
    there = columns_of(noun)
    names = list(dict.fromkeys(name.strip() for each in fields for name in each.split(",")))
    if len(names) > MOST:
        raise Refused("FIELD_INVALID", field="fields", problem=f"must be {MOST} at the most")
    picked: dict[str, Column] = {} if names else {each.name: each for each in there}
    for name in names:
        known = [each for each in there if name in (each.name, _camel(each.name)) or _within(each.name, name)]
        if not known:
            raise Refused("FIELD_UNKNOWN", field=f"fields: {name[:100]}")
        if all(_rule(each.name, kept) == HIDDEN for each in known):
            raise Refused("FIELD_RESTRICTED", field=name)
        picked |= {each.name: each for each in known}
    return tuple(_as_kept(each, kept) for each in picked.values() if _rule(each.name, kept) != HIDDEN)


def _within(column: str, name: str) -> bool:
    return column.startswith(f"{name}.") or _camel(column).startswith(f"{name}.")


def _camel(name: str) -> str:
    """As JSON spells it: display_name → displayName."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def _rule(column: str, kept: Mapping[str, str]) -> str:
    """The rule for a column, or for what it lies in."""
    return next((rule for path, rule in kept.items() if column == path or column.startswith(f"{path}.")), "")


def _as_kept(column: Column, kept: Mapping[str, str]) -> Column:
    """A number that was masked reads as 0, which is nobody's business to believe: the cell stays empty."""
    if not _rule(column.name, kept):
        return column
    return Column(column.name, column.kind, lambda message: column.read(message) or None)


def _columns(
    noun: Descriptor, before: str, path: tuple[str, ...], sensitive: bool, depth: int
) -> Iterator[Column]:
    contract = Contract.load()
    for field in noun.fields:
        name, inner = before + field.name, field.message_type
        its = sensitive or bool(contract.field_options(field).Extensions[options_pb2.sensitive])
        if field.is_repeated:
            kind = Kind.INTEGER if inner else Kind.TEXT
            read: Callable[[Any], Value] = _count if inner else _list
            yield Column(f"{name}.count" if inner else name, kind, _at(path, field.name, False, read), its)
        elif inner is None:
            kind, plain = _PLAIN.get(field.cpp_type, (Kind.TEXT, _text))
            read = _enum(field) if field.enum_type else plain
            yield Column(name, kind, _at(path, field.name, bool(field.has_presence), read), its)
        elif inner.full_name in _KNOWN:
            for suffix, kind, read in _KNOWN[inner.full_name]:
                yield Column(name + suffix, kind, _at(path, field.name, True, read), its)
        elif depth < DEEPEST:
            yield from _columns(inner, f"{name}.", (*path, field.name), its, depth + 1)


def _at(path: Sequence[str], name: str, whole: bool, read: Callable[[Any], Value]) -> Callable[[Any], Value]:
    """Reads the field *name* of the message at *path*; *whole* when it may be missing instead of empty."""

    def value(message: Any) -> Value:
        for step in path:
            if not message.HasField(step):
                return None
            message = getattr(message, step)
        if whole and not message.HasField(name):
            return None
        return read(getattr(message, name))

    return value


def _text(value: str) -> str | None:
    return value or None


def _same(value: Any) -> Value:
    plain: Value = value
    return plain


def _count(values: Sequence[Any]) -> int:
    return len(values)


def _list(values: Sequence[str]) -> str | None:
    """Texts as a JSON array: exact, whatever stands in them."""
    return orjson.dumps(list(values)).decode() if values else None


def _enum(field: FieldDescriptor) -> Callable[[Any], Value]:
    assert field.enum_type
    names = {value.number: value.name for value in field.enum_type.values}
    return lambda number: names.get(number, str(number)) if number else None


def _amount(money: Any) -> Decimal:
    """Exact, with two digits behind the point or as many as there are."""
    exact = Decimal(money.units) + money.nanos * _NANOS
    return exact.quantize(Decimal("0.01")) if exact == exact.quantize(Decimal("0.01")) else exact.normalize()


def _decimal(value: Any) -> Decimal | None:
    return Decimal(value.value) if value.value else None


def _date(day: Any) -> Value:
    if day.year and day.month and day.day:
        return date(day.year, day.month, day.day)
    return f"{day.year:04d}-{day.month:02d}-{day.day:02d}"


def _time(stamp: Any) -> datetime:
    return _FIRST + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)


_PLAIN: dict[int, tuple[Kind, Callable[[Any], Value]]] = {
    FieldDescriptor.CPPTYPE_INT32: (Kind.INTEGER, _same),
    FieldDescriptor.CPPTYPE_INT64: (Kind.INTEGER, _same),
    FieldDescriptor.CPPTYPE_UINT32: (Kind.INTEGER, _same),
    FieldDescriptor.CPPTYPE_UINT64: (Kind.INTEGER, _same),
    FieldDescriptor.CPPTYPE_BOOL: (Kind.FLAG, _same),
    FieldDescriptor.CPPTYPE_ENUM: (Kind.WORD, _same),
}
# Messages that are one value, or an amount with its currency: what stands behind the name, how it is read.
_KNOWN: dict[str, tuple[tuple[str, Kind, Callable[[Any], Value]], ...]] = {
    "google.type.Money": (
        ("", Kind.DECIMAL, _amount),
        (".currency", Kind.WORD, lambda money: money.currency_code or None),
    ),
    "google.type.Decimal": (("", Kind.DECIMAL, _decimal),),
    "google.type.Date": (("", Kind.DATE, _date),),
    "google.protobuf.Timestamp": (("", Kind.TIME, _time),),
}
