"""The little language of mappings: `{sales_price|default:0|money:USD}`, conditions, and bodies of them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

Row = Mapping[str, str | None]
_EXPRESSION = re.compile(r"\{([^{}]*)\}")


class MappingWrong(Exception):
    """The mapping itself makes no sense; the message says where and what would be right."""


class RowWrong(Exception):
    """This row cannot become what the mapping says; the message says which value and why."""


@dataclass
class Surroundings:
    """What expressions may look at beside their row."""

    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Row]] = field(default_factory=dict)
    names: dict[str, dict[str, str]] = field(default_factory=dict)  # step → key → resource name
    asked: dict[str, set[str]] = field(default_factory=dict)  # step → keys that rows referred to
    taken: Counter[str] = field(default_factory=Counter)  # sentences on values replaced by an alias


def _decimal(value: str) -> Decimal:
    try:
        number = Decimal(value.strip())
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise RowWrong(f"{value!r} is no number")
    return number


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _money(value: str, currency: str) -> dict[str, Any]:
    number = _decimal(value)
    whole = int(number)
    nanos = int((number - whole) * 10**9)
    money: dict[str, Any] = {"currencyCode": currency, "units": str(whole)}
    return money | {"nanos": nanos} if nanos else money


def _date(value: str) -> dict[str, int]:
    try:
        day = date.fromisoformat(value.strip()[:10])
    except ValueError:
        raise RowWrong(f"{value!r} is no date such as 2017-03-01") from None
    return {"year": day.year, "month": day.month, "day": day.day}


def _whole(value: str) -> int:
    number = _decimal(value)
    if number != int(number):
        raise RowWrong(f"{value!r} is no whole number")
    return int(number)


def _slug(value: str) -> str:
    plain = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", ".", plain).strip(".")


# What a value may go through: the function, and how many words it takes after the colon.
FILTERS: dict[str, tuple[Callable[..., Any], int]] = {
    "date": (_date, 0),
    "money": (_money, 1),
    "decimal": (lambda value: {"value": _plain(_decimal(value))}, 0),
    "times": (lambda value, factor: _plain(_decimal(value) * Decimal(factor)), 1),
    "whole": (_whole, 0),
    "yes": (lambda value, *words: value in words, -1),
    "unless": (lambda value, *words: None if value in words else value, -1),
    "slug": (_slug, 0),
    "upper": (str.upper, 0),
    "lower": (str.lower, 0),
}
# These look around, or act on values that are not there.
_SPECIAL = {"default": 1, "or": 1, "required": 0, "alias": 1, "map": 1, "name": 1, "of": 2}


@dataclass(frozen=True)
class Expression:
    """One `{column|filter:word,…|…}`; a source in 'quotes' is that text itself."""

    source: str
    filters: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Read it; an unknown filter is refused with the filters there are."""
        source, *rest = (part.strip() for part in text.split("|"))
        filters = []
        for part in rest:
            name, _, words = part.partition(":")
            arguments = tuple(word.strip() for word in words.split(",")) if words else ()
            known = FILTERS[name][1] if name in FILTERS else _SPECIAL.get(name)
            if known is None:
                raise MappingWrong(f"{{{text}}}: there is no {name}; there are {', '.join(_all_filters())}")
            if known not in (-1, len(arguments)):
                raise MappingWrong(f"{{{text}}}: {name} takes {known} words, not {len(arguments)}")
            filters.append((name, arguments))
        return cls(source, tuple(filters))

    def value(self, row: Row, around: Surroundings) -> Any:
        """What it comes to for one row; None where there is nothing."""
        value: Any = self.source[1:-1] if self.source.startswith("'") else _column(self.source, row)
        for name, words in self.filters:
            if name == "default":
                value = words[0] if value is None else value
            elif name == "or":
                value = _column(words[0], row) if value is None else value
            elif name == "required":
                if value is None:
                    raise RowWrong(f"{self.source} is missing")
            elif value is not None:
                value = self._filtered(name, words, value, around)
        return value

    def _filtered(self, name: str, words: tuple[str, ...], value: Any, around: Surroundings) -> Any:
        if name == "alias":
            other = around.aliases[words[0]].get(value, value)
            if other != value:
                around.taken[f"{self.source} {value!r} is taken as {other!r}"] += 1
            return other
        if name == "map":
            if value not in around.aliases[words[0]]:
                raise RowWrong(f"{self.source} {value!r} is not in the mapping's {words[0]}")
            return around.aliases[words[0]][value]
        if name == "name":
            around.asked.setdefault(words[0], set()).add(value)
            if value not in around.names.get(words[0], {}):
                raise RowWrong(f"{self.source} {value!r} is none of the {words[0]} that were imported")
            return around.names[words[0]][value]
        if name == "of":
            table, column = words
            if value not in around.tables[table]:
                raise RowWrong(f"{self.source} {value!r} is not in {table}")
            return around.tables[table][value][column]
        try:
            return FILTERS[name][0](value, *words)
        except RowWrong as wrong:
            raise RowWrong(f"{self.source}: {wrong}") from None


def _column(name: str, row: Row) -> str | None:
    if name not in row:
        raise MappingWrong(f"there is no column {name}; there are {', '.join(row)}")
    return row[name]


def _all_filters() -> list[str]:
    return sorted([*FILTERS, *_SPECIAL])


class Template:
    """A text with expressions. One expression alone keeps its type; among other text it becomes text."""

    def __init__(self, text: str) -> None:
        pieces = _EXPRESSION.split(text)
        self.parts = [Expression.parse(p) if n % 2 else p for n, p in enumerate(pieces)]
        self.alone = len(pieces) == 3 and not pieces[0] and not pieces[2]

    def value(self, row: Row, around: Surroundings) -> Any:
        """What it comes to; None when all its expressions are nothing."""
        if self.alone:
            assert isinstance(self.parts[1], Expression)
            return self.parts[1].value(row, around)
        values = [part.value(row, around) if isinstance(part, Expression) else part for part in self.parts]
        found = [
            value for part, value in zip(self.parts, values, strict=True) if isinstance(part, Expression)
        ]
        if found and all(value is None for value in found):
            return None
        return "".join("" if value is None else str(value) for value in values).strip()


class Each:
    """`$each: file`: a list with one value for each row of another file whose `$on` column holds `$is`."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        if set(spec) != {"$each", "$on", "$is", "$value"}:
            raise MappingWrong(
                "a list from another file says $each (the file), $on (its column), $is and $value"
            )
        self.file, self.on = str(spec["$each"]), str(spec["$on"])
        self.key, self.value = Template(str(spec["$is"])), compiled(spec["$value"])


Value = Template | Each | dict[str, Any] | list[Any] | int | float | bool | None


def compiled(spec: Any) -> Value:
    """A body of the mapping, with every text read as a template."""
    if isinstance(spec, str):
        return Template(spec)
    if isinstance(spec, Mapping):
        return Each(spec) if "$each" in spec else {str(k): compiled(v) for k, v in spec.items()}
    if isinstance(spec, list):
        return [compiled(item) for item in spec]
    return spec  # type: ignore[no-any-return]


def filled(
    value: Value, row: Row, around: Surroundings, children: Callable[[str, str, str], list[Row]]
) -> Any:
    """The body for one row; fields that come to nothing are left out."""
    if isinstance(value, Template):
        return value.value(row, around)
    if isinstance(value, Each):
        key = value.key.value(row, around)
        return [filled(value.value, child, around, children) for child in children(value.file, value.on, key)]
    if isinstance(value, dict):
        said = {name: filled(part, row, around, children) for name, part in value.items()}
        kept = {name: part for name, part in said.items() if part is not None}
        return kept or (None if value else {})
    if isinstance(value, list):
        parts = [filled(part, row, around, children) for part in value]
        return [part for part in parts if part is not None]
    return value


class Condition:
    """`{deal_stage: [Won, Lost], account: present}`: all of it has to hold."""

    def __init__(self, spec: Mapping[str, Any] | None) -> None:
        self.wishes = [
            (Expression.parse(name), [str(v) for v in wish] if isinstance(wish, list) else str(wish))
            for name, wish in (spec or {}).items()
        ]

    def holds(self, row: Row, around: Surroundings) -> bool:
        """Whether this row is as the condition wants it."""
        for expression, wish in self.wishes:
            value = expression.value(row, around)
            if isinstance(wish, list):
                if value not in wish:
                    return False
            elif wish in ("present", "absent"):
                if (value is None) != (wish == "absent"):
                    return False
            elif value != wish:
                return False
        return True
