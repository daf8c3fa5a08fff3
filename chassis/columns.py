"""How a record's fields become columns, and what is nested in them JSON: read once from the type hints.

A scalar takes one column, Money two (`amount`, `amount_currency`), everything nested one JSONB.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import cache
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from chassis.kernel.values import Money, Percent, Quantity

Getter = Callable[[Any], Any]


def unwrap(hint: Any) -> tuple[Any, bool]:
    """The type inside `X | None`, and whether None is allowed."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [arm for arm in typing.get_args(hint) if arm is not type(None)]
        return inner[0], len(inner) < len(typing.get_args(hint))
    return hint, False


@cache
def _hints_of(record: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(record)
    return {field.name: hints[field.name] for field in fields(record)}


def hints_of(record: Any) -> dict[str, Any]:
    """The resolved type hints of a record's fields, in their order."""
    return _hints_of(record)


@cache
def json_codec(hint: Any) -> tuple[Getter, Getter]:
    """(dump, load) between a value of this type and what JSON can hold."""
    inner, optional = unwrap(hint)
    dump, load = _json_codec(inner)
    if not optional:
        return dump, load
    return (lambda v: None if v is None else dump(v)), (lambda v: None if v is None else load(v))


def _json_codec(kind: Any) -> tuple[Getter, Getter]:
    origin = typing.get_origin(kind)
    if origin is tuple:
        dump, load = json_codec(typing.get_args(kind)[0])
        return (lambda v: [dump(x) for x in v]), tuple if load is _same else lambda v: tuple(map(load, v))
    if origin in (dict, Mapping) or (origin and isinstance(origin, type) and issubclass(origin, Mapping)):
        return dict, dict
    if kind is Money:
        return (lambda v: [v.amount, v.currency]), (lambda v: Money(v[0], v[1]))
    if kind in (Quantity, Percent):
        return (lambda v: v.amount), kind
    if kind is datetime:
        return (lambda v: v.isoformat()), datetime.fromisoformat
    if kind is date:
        return (lambda v: v.isoformat()), date.fromisoformat
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return str, _member_of(kind)
    if is_dataclass(kind):
        return _nested_codec(kind)
    if kind in (str, int, bool):
        return _same, _same
    raise TypeError(f"a record cannot hold {kind!r}")


def _same(value: Any) -> Any:
    return value


def _member_of(kind: type[StrEnum]) -> Getter:
    """The member of a value; to ask the class takes three times as long."""
    return {str(member): member for member in kind}.__getitem__


def _nested_codec(kind: Any) -> tuple[Getter, Getter]:
    parts = [(name, *json_codec(hint)) for name, hint in hints_of(kind).items()]
    names, made = [name for name, _, _ in parts], [(name, to) for name, to, _ in parts if to is not _same]

    def dump(value: Any) -> dict[str, Any]:
        found = {name: getattr(value, name) for name in names}
        for name, to in made:
            found[name] = to(found[name])
        return found

    def load(stored: dict[str, Any]) -> Any:
        # A field added later is absent in what was stored before: its default stands in.
        return kind(**{name: back(stored[name]) for name, _, back in parts if name in stored})

    return dump, load


@dataclass(frozen=True)
class Field:
    """One field of a record as columns."""

    name: str
    kind: Any  # the type inside an Optional
    optional: bool
    columns: tuple[sa.Column[Any], ...]
    to: Getter  # from a value to its cell, or to its cells where it has two; None is NULL in each
    back: Getter

    @property
    def as_it_is(self) -> bool:
        """Whether the cell is the value."""
        return self.back is _same

    @property
    def two(self) -> bool:
        """Whether it takes two cells."""
        return len(self.columns) == 2

    def to_row(self, value: Any) -> tuple[Any, ...]:
        """The cells of a value."""
        if value is None:
            return (None,) * len(self.columns)
        return tuple(self.to(value)) if self.two else (self.to(value),)

    def from_row(self, cells: tuple[Any, ...]) -> Any:
        """The value of its cells."""
        if cells[0] is None:
            return None
        return self.back(cells if self.two else cells[0])


def _scalar(name: str, kind: Any, optional: bool) -> tuple[Any, Getter, Getter] | None:
    """(column type, to, back) of what fits one column, or None."""
    simple: dict[Any, tuple[Any, Getter, Getter]] = {
        str: (sa.Text(), _same, _same),
        int: (sa.BigInteger(), _same, _same),
        bool: (sa.Boolean(), _same, _same),
        datetime: (sa.DateTime(timezone=True), _same, _same),
        date: (sa.Date(), _same, _same),
        Quantity: (sa.BigInteger(), lambda v: v.amount, Quantity),
        Percent: (sa.BigInteger(), lambda v: v.amount, Percent),
    }
    if kind in simple:
        return simple[kind]
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return sa.Text(), str, _member_of(kind)
    return None


def field_of(name: str, hint: Any) -> Field:
    """The columns and codecs of one field."""
    kind, optional = unwrap(hint)
    if kind is Money:
        columns: tuple[sa.Column[Any], ...] = (
            sa.Column(name, sa.BigInteger(), nullable=optional),
            sa.Column(f"{name}_currency", sa.Text(), nullable=optional),
        )
        return Field(
            name, kind, optional, columns, lambda v: (v.amount, v.currency), lambda cells: Money(*cells)
        )
    if scalar := _scalar(name, kind, optional):
        column_type, to, back = scalar
        return Field(name, kind, optional, (sa.Column(name, column_type, nullable=optional),), to, back)
    dump, load = json_codec(kind)
    return Field(
        name, kind, optional, (sa.Column(name, JSONB(), nullable=optional),),
        lambda v: "[]" if v == () else orjson.dumps(dump(v)).decode(), load,
    )  # fmt: skip


def defaults_of(record: type) -> dict[str, Any]:
    """The default of every field that has one."""
    found: dict[str, Any] = {}
    for field in fields(record):
        if field.default is not MISSING:
            found[field.name] = field.default
        elif field.default_factory is not MISSING:
            found[field.name] = field.default_factory()
    return found
