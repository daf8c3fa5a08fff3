"""Records as messages and back, matched by field name and compiled when the process starts.

`show = Shape(Opportunity, opportunity_pb2.Opportunity)`; `show(record)` is the message. A message field
that the record has neither as a field nor as a property stops the process, so nothing drifts apart.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from google.api import resource_pb2
from google.protobuf import timestamp_pb2
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.type import date_pb2, decimal_pb2, money_pb2

from chassis.columns import hints_of, unwrap
from chassis.kernel.record import Record
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import SCALE, Money, Percent, Quantity, parse_scaled

# Between these, any period of business may be added or taken away and any time zone looked through.
FIRST_YEAR, LAST_YEAR = 1000, 9000
FIRST_SECOND = int(datetime(FIRST_YEAR, 1, 1, tzinfo=UTC).timestamp())
LAST_SECOND = int(datetime(LAST_YEAR, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
R = TypeVar("R")
M = TypeVar("M", bound=Message)
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


def money_message(value: Money) -> money_pb2.Money:
    """google.type.Money of a kernel Money; units and nanos share their sign."""
    message = money_pb2.Money()
    _put_money(message, value)
    return message


def _put_money(message: money_pb2.Money, value: Money) -> None:
    sign = -1 if value.amount < 0 else 1
    units, rest = divmod(abs(value.amount), SCALE)
    message.currency_code, message.units, message.nanos = value.currency, sign * units, sign * rest * 100_000


def read_money(message: money_pb2.Money, path: str = "amount") -> Money:
    """A kernel Money; refuses more than four decimals, mixed signs and a code that is no ISO 4217 shape."""
    code = message.currency_code
    if not (len(code) == 3 and code.isascii() and code.isalpha() and code.isupper()):
        raise invalid(f"{path}.currency_code", "must be three capital letters such as CNY")
    if abs(message.nanos) > 999_999_999 or message.nanos * message.units < 0:
        raise invalid(f"{path}.nanos", "must be below a whole unit and have the sign of units")
    if message.nanos % 100_000:
        raise invalid(f"{path}.nanos", "must have at most four decimal places")
    if abs(message.units) > 900_000_000_000_000:
        raise invalid(f"{path}.units", "is too large")
    return Money(message.units * SCALE + message.nanos // 100_000 if message.nanos >= 0
                 else message.units * SCALE - (-message.nanos // 100_000), code)  # fmt: skip


def read_decimal(message: decimal_pb2.Decimal, path: str) -> int:
    """Ten-thousandths of a google.type.Decimal."""
    try:
        return parse_scaled(message.value or "0")
    except ValueError as problem:
        raise invalid(path, str(problem)) from None


def date_message(value: date) -> date_pb2.Date:
    """google.type.Date of a calendar date."""
    message = date_pb2.Date()
    _put_date(message, value)
    return message


def _put_date(message: date_pb2.Date, value: date) -> None:
    message.year, message.month, message.day = value.year, value.month, value.day


def _put_decimal(message: decimal_pb2.Decimal, value: Quantity | Percent) -> None:
    message.value = str(value)


def _put_time(message: timestamp_pb2.Timestamp, value: datetime) -> None:
    since = value - _FIRST  # what FromDatetime does, in a quarter of the time
    message.seconds = since.days * 86_400 + since.seconds
    message.nanos = since.microseconds * 1000


def time_message(value: datetime) -> timestamp_pb2.Timestamp:
    """google.protobuf.Timestamp of a point in time."""
    message = timestamp_pb2.Timestamp()
    _put_time(message, value)
    return message


def read_date(message: date_pb2.Date, path: str) -> date:
    """A whole calendar date; a partial one is refused, and one that could not be reckoned with."""
    try:
        found = date(message.year, message.month, message.day)
    except (ValueError, OverflowError):
        raise invalid(path, "must be a whole calendar date with year, month and day") from None
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise invalid(path, f"must lie between the years {FIRST_YEAR} and {LAST_YEAR}")
    return found


def read_time(message: timestamp_pb2.Timestamp, path: str) -> datetime:
    """A point in time that can be reckoned with."""
    if not FIRST_SECOND <= message.seconds <= LAST_SECOND or not 0 <= message.nanos < 1_000_000_000:
        raise invalid(path, f"must lie between the years {FIRST_YEAR} and {LAST_YEAR}")
    return message.ToDatetime(tzinfo=UTC)


To = Callable[[Any], Any]
Put = Callable[[Any, Any], None]  # into the empty message of a field: made beside it, it would be copied
Read = Callable[[Any, str], Any]
SHAPES: list[Shape[Any, Any]] = []  # of records, all that this process has


def _well_known(kind: Any) -> tuple[Put, Read] | None:
    if kind is Money:
        return _put_money, read_money
    if kind in (Quantity, Percent):
        return _put_decimal, (lambda m, path: kind(read_decimal(m, path)))
    if kind is datetime:
        return _put_time, read_time
    if kind is date:
        return _put_date, read_date
    return None


def _enum(kind: type[StrEnum], field: Any) -> tuple[To, Read]:
    numbers = {value.name: value.number for value in field.enum_type.values}
    missing = [member.value for member in kind if member.value not in numbers]
    if missing:
        raise TypeError(f"{field.full_name} lacks {missing}")
    members = {numbers[member.value]: member for member in kind}
    # What the contract calls unspecified is the record's default, or the first member.
    default = next(iter(kind))

    def read(number: int, path: str) -> Any:
        if number == 0:
            return default
        if number not in members:
            raise invalid(path, "must be one of " + ", ".join(m.value for m in kind))
        return members[number]

    return (lambda v: numbers[v._value_]), read


def _class(kind: Any) -> type[Any]:
    return kind


def _part(kind: Any, field: Any) -> tuple[Put | None, To, Read]:
    """(into a message of its own, or to a plain value; back) of one value of this type."""
    if known := _well_known(kind):
        return known[0], _same, known[1]
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return None, *_enum(kind, field)
    if is_dataclass(kind):
        nested: Shape[Any, Any] = Shape(_class(kind), GetMessageClass(field.message_type))
        return nested.put, _same, nested.read
    if kind is str and field.enum_type is not None:
        numbers = {value.name: value.number for value in field.enum_type.values}
        names = {number: name for name, number in numbers.items()}
        return None, (lambda v: numbers.get(v, 0)), (lambda n, _: names.get(n, "") if n else "")
    return None, _same, _as_it_is


def _same(value: Any) -> Any:
    return value


def _as_it_is(value: Any, _path: str) -> Any:
    return value


def _putting(name: str, inside: Put | None, to: To, *, repeated: bool, mapped: bool) -> Put:
    """Sets a message's field of that name to a value."""
    if mapped:
        return lambda message, value: getattr(message, name).update(value)
    if repeated and inside:

        def put_each(message: Any, values: Any) -> None:
            items = getattr(message, name)
            for value in values:
                inside(items.add(), value)

        return put_each
    if repeated:
        return lambda message, values: getattr(message, name).extend(map(to, values))
    if inside:
        return lambda message, value: inside(getattr(message, name), value)
    return lambda message, value: setattr(message, name, to(value))


class _Member:
    """One field on both sides."""

    def __init__(self, name: str, hint: Any, field: Any) -> None:
        inner, self.optional = unwrap(hint)
        self.name, self.field = name, field
        origin = typing.get_origin(inner)
        self.repeated = origin is tuple
        self.map = isinstance(origin, type) and issubclass(origin, Mapping)
        kind = typing.get_args(inner)[0] if self.repeated else inner
        self.is_message = field.message_type is not None
        inside, to, self.read_one = (None, _same, _as_it_is) if self.map else _part(kind, field)
        self.put = _putting(name, inside, to, repeated=self.repeated, mapped=self.map)
        # Left out where it says nothing, as on the wire.
        single = not (self.repeated or self.map or inside or field.has_presence)
        self.plain = single and to is _same

    @property
    def unsaid(self) -> Any:
        """What a message that does not have the field says; MISSING for what keeps the record's default."""
        if self.map or self.repeated:
            return {} if self.map else ()
        if self.is_message:
            return None if self.optional else MISSING
        return None if self.optional else self.read_one(self.field.default_value, "")

    def read(self, value: Any, path: str) -> Any:
        """The record's value of what a message has in the field."""
        if self.map:
            return dict(value)
        at = f"{path}{self.name}"
        if self.repeated:
            return tuple([self.read_one(item, f"{at}[{i}]") for i, item in enumerate(value)])
        if self.optional and not self.is_message and not value:
            return None
        return self.read_one(value, at)


class Shape(Generic[R, M]):
    """How one record type and one message type show each other."""

    def __init__(self, record: type[R], message: type[M]) -> None:
        self.record, self.message = record, message
        descriptor: Any = message.DESCRIPTOR
        hints = hints_of(record)
        is_record = issubclass(record, Record)
        self.prefix = self._prefix(descriptor) if is_record else ""
        self.members: dict[str, _Member] = {}
        self.computed: list[_Member] = []
        for field in descriptor.fields:
            if is_record and field.name in ("name", "etag"):
                continue
            if field.name in hints:
                self.members[field.name] = _Member(field.name, hints[field.name], field)
            elif isinstance(attribute := getattr(record, field.name, None), property):
                hint = typing.get_type_hints(attribute.fget)["return"]
                self.computed.append(_Member(field.name, hint, field))
            else:
                raise TypeError(f"{field.full_name} has no field or property on {record.__qualname__}")
        if is_record:
            SHAPES.append(self)
        members = [*self.members.values(), *self.computed]
        self._plain = [member.name for member in members if member.plain]
        self._made = [(member.name, member.put, member.repeated) for member in members if not member.plain]
        self._last: tuple[Any, Any] = (None, None)
        self._unsaid = {name: member.unsaid for name, member in self.members.items()}
        self._required = {
            f.name for f in fields(_class(record))
            if f.default is MISSING and f.default_factory is MISSING
        }  # fmt: skip

    @staticmethod
    def _prefix(descriptor: Any) -> str:
        resource = descriptor.GetOptions().Extensions[resource_pb2.resource]
        if not resource.pattern:
            raise TypeError(f"{descriptor.full_name} lacks its google.api.resource pattern")
        return resource.pattern[0].rpartition("/")[0] + "/"

    def name(self, record: Any) -> str:
        """The resource name of a record: "opportunities/0189…"."""
        return self.prefix + record.id

    def __call__(self, record: R) -> M:
        """The record as its message. The last one is remembered: a fact and an answer show the same."""
        last, shown = self._last
        if last is not record:
            shown = self.shown(record)
            self._last = (record, shown)
        message = self.message()
        message.CopyFrom(shown)
        return message

    def shown(self, record: R) -> M:
        """The record as its message, made anew."""
        message = self.message()
        self.put(message, record)
        return message

    def put(self, message: Any, record: R) -> None:
        """Fill an empty message with the record."""
        message.SetInParent()  # it is there, even if nothing is to be said of it
        for name in self._plain:
            if value := getattr(record, name):
                setattr(message, name, value)
        for name, put, repeated in self._made:
            value = getattr(record, name)
            if value is not None and (value or not repeated):
                put(message, value)
        if self.prefix:
            message.name = self.prefix + record.id  # type: ignore[attr-defined]
            message.etag = str(record.version)  # type: ignore[attr-defined]

    def values(self, message: M, only: Iterable[str] | None = None, path: str = "") -> dict[str, Any]:
        """The message's fields as record values; absent messages keep the record's default."""
        unsaid = self._unsaid
        found = dict(unsaid) if only is None else {name: unsaid[name] for name in only}
        for field, value in message.ListFields():  # most of a message is mostly empty
            if field.name in found:
                found[field.name] = self.members[field.name].read(value, path)
        return {name: value for name, value in found.items() if value is not MISSING}

    def read(self, message: M, path: str = "") -> R:
        """A whole (nested) record from a message; a required value that is absent is refused."""
        values = self.values(message, path=f"{path}." if path else "")
        for name in self._required - values.keys():
            raise invalid(f"{path}.{name}" if path else name, "is required")
        return self.record(**values)

    def known(self, name: str) -> _Member:
        """The member of that name, or FIELD_UNKNOWN."""
        if name not in self.members:
            raise Refused("FIELD_UNKNOWN", field=name)
        return self.members[name]
