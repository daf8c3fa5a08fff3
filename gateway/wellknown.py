"""The protobuf types that have a JSON shape of their own: times, masks, wrappers, free-form values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from google.protobuf.message import Message

from gateway.scalars import Write, Wrong, camel, decimal, quoted, real, text, truth

Fill = Callable[[Any, Any], None]

EPOCH = datetime(1970, 1, 1)
MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
SPAN = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s", re.ASCII)
LONGEST = 315_576_000_000


_THREE = [f"{number:03d}" for number in range(1000)]


def _fraction(nanos: int) -> str:
    """0, 3, 6 or 9 digits, as few as tell all."""
    if not nanos:
        return ""
    if not 0 < nanos < 10**9:  # no part of a second: it stands as it came
        return f".{nanos:09d}"
    micros, last = divmod(nanos, 1000)
    first, middle = divmod(micros, 1000)
    if last:
        return f".{_THREE[first]}{_THREE[middle]}{_THREE[last]}"
    return f".{_THREE[first]}{_THREE[middle]}" if middle else f".{_THREE[first]}"


@lru_cache(maxsize=4096)
def _day(number: int) -> str:
    """2026-01-31T, by days since 1970."""
    return (EPOCH + timedelta(days=number)).isoformat()[:11]


# A page shows a hundred moments: the parts of a time of day stand ready.
_MINUTES = [f"{minute // 60:02d}:{minute % 60:02d}:" for minute in range(24 * 60)]
_SECONDS = [f"{second:02d}" for second in range(60)]


def write_timestamp(value: Any) -> str:
    """ "2026-01-31T08:00:00.250Z"."""
    day, rest = divmod(value.seconds, 86_400)
    return f'"{_day(day)}{_MINUTES[rest // 60]}{_SECONDS[rest % 60]}{_fraction(value.nanos)}Z"'


def fill_timestamp(message: Any, value: Any) -> None:
    """RFC 3339 with a zone."""
    found = MOMENT.fullmatch(value) if type(value) is str else None
    if not found:
        raise Wrong("must be a time like 2026-01-31T08:00:00Z")
    try:
        year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
        moment = datetime(year, month, day, hour, minute, second)
    except ValueError:
        raise Wrong("must be a time that exists, like 2026-01-31T08:00:00Z") from None
    since = moment - EPOCH
    seconds = since.days * 86_400 + since.seconds
    if found[8] != "Z":
        hours, minutes = int(found[8][1:3]), int(found[8][4:])
        if hours > 23 or minutes > 59:
            raise Wrong("must have an offset within a day, like +08:00")
        seconds -= (hours * 3600 + minutes * 60) * (-1 if found[8][0] == "-" else 1)
    if not -62_135_596_800 <= seconds <= 253_402_300_799:
        raise Wrong("must lie between the years 1 and 9999")
    message.seconds, message.nanos = seconds, int((found[7] or "0").ljust(9, "0"))


def write_duration(value: Any) -> str:
    """ "3.500s"."""
    sign = "-" if value.seconds < 0 or value.nanos < 0 else ""
    return f'"{sign}{abs(value.seconds)}{_fraction(abs(value.nanos))}s"'


def fill_duration(message: Any, value: Any) -> None:
    """Seconds, with an s behind."""
    found = SPAN.fullmatch(value) if type(value) is str else None
    if not found or int(found[2]) > LONGEST:
        raise Wrong("must be a number of seconds like 3.5s")
    sign = -1 if found[1] else 1
    message.seconds, message.nanos = sign * int(found[2]), sign * int((found[3] or "0").ljust(9, "0"))


def snake(path: str) -> str:
    """unitPrice → unit_price."""
    return re.sub(r"[A-Z]", lambda found: "_" + found[0].lower(), path)


def write_mask(value: Any) -> str:
    """ "title,unitPrice"."""
    return quoted(",".join(map(camel, value.paths)))


def fill_mask(message: Any, value: Any) -> None:
    """Field paths parted by commas, in either spelling."""
    said = text(value)
    paths = said.split(",") if said else []
    for path in paths:
        if not re.fullmatch(r"\*|[A-Za-z][\w.]{0,199}", path, re.ASCII):
            raise Wrong("must be field paths parted by commas, like title,unitPrice")
    message.paths.extend(map(snake, paths))


def write_struct(value: Any) -> str:
    """An object of anything."""
    items = sorted(value.fields.items())
    return "{" + ",".join([f"{quoted(name)}:{write_value(item)}" for name, item in items]) + "}"


def write_list(value: Any) -> str:
    """A list of anything."""
    return "[" + ",".join(map(write_value, value.values)) + "]"


def write_value(value: Any) -> str:
    """Anything JSON can say."""
    match value.WhichOneof("kind"):
        case "string_value":
            return quoted(value.string_value)
        case "number_value":
            number = value.number_value
            return str(int(number)) if math.isfinite(number) and number.is_integer() else real(number)
        case "bool_value":
            return truth(value.bool_value)
        case "struct_value":
            return write_struct(value.struct_value)
        case "list_value":
            return write_list(value.list_value)
    return "null"


def fill_struct(message: Any, value: Any) -> None:
    """An object of anything."""
    if type(value) is not dict:
        raise Wrong("must be an object")
    message.SetInParent()
    for name, item in value.items():
        try:
            fill_value(message.fields[text(name)], item)
        except Wrong as wrong:
            raise wrong.under(name) from None


def fill_list(message: Any, value: Any) -> None:
    """A list of anything."""
    if type(value) is not list:
        raise Wrong("must be a list")
    message.SetInParent()
    for place, item in enumerate(value):
        try:
            fill_value(message.values.add(), item)
        except Wrong as wrong:
            raise wrong.under(f"[{place}]") from None


_number = decimal()


def fill_value(message: Any, value: Any) -> None:
    """Anything JSON can say."""
    if value is None:
        message.null_value = 0
    elif type(value) is bool:
        message.bool_value = value
    elif type(value) is str:
        message.string_value = text(value)
    elif type(value) is dict:
        fill_struct(message.struct_value, value)
    elif type(value) is list:
        fill_list(message.list_value, value)
    else:
        message.number_value = _number(value)


def write_empty(_value: Message) -> str:
    """Nothing but that it is there."""
    return "{}"


SHAPES: dict[str, tuple[Write, Fill]] = {
    "google.protobuf.Timestamp": (write_timestamp, fill_timestamp),
    "google.protobuf.Duration": (write_duration, fill_duration),
    "google.protobuf.FieldMask": (write_mask, fill_mask),
    "google.protobuf.Struct": (write_struct, fill_struct),
    "google.protobuf.ListValue": (write_list, fill_list),
    "google.protobuf.Value": (write_value, fill_value),
}
WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
