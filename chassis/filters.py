"""The AIP-160 filter language, from text to one SQL condition over allowed columns.

`state = OPEN AND (amount > 1000 OR tags : "vip") AND NOT owner = "users/…"`. Depth ≤ 8, ≤ 50 terms.
`:` asks whether a text contains, a list has; `needs.text : "pump"` whether a part of any of a list's values
contains. Amounts compare in units of their currency.
"""

from __future__ import annotations

import json
import re
import typing
from dataclasses import is_dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

from chassis.columns import Field, hints_of
from chassis.field_rules import overlap
from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money, Percent, Quantity, parse_scaled
from chassis.personal.keys import Ring
from chassis.personal.sealing import Find, normal_words
from chassis.personal.veil import VEIL
from chassis.tables import NOTHING, Collection, quoted

DEPTH, TERMS, LONGEST = 8, 50, 4000
WORDS = 8  # of a name
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<op><=|>=|!=|=|<|>|:|\(|\)|-(?![\d.]))
    |(?P<word>[^\s()"'=<>!:,]+))""",
    re.VERBOSE,
)
_OPERATORS = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def _no(problem: str) -> Refused:
    return Refused("FILTER_INVALID", field="filter", problem=problem)


class _Parser:
    def __init__(
        self, text: str, collection: Collection[Any], unasked: frozenset[str], ring: Ring | None
    ) -> None:
        if len(text) > LONGEST:
            raise _no(f"it is longer than {LONGEST} characters")
        if "\x00" in text:
            raise _no("it holds a NUL character")
        self.collection, self.unasked, self.ring = collection, unasked, ring
        self.tokens = self._tokens(text)
        self.at, self.terms, self.params = 0, 0, list[Any]()

    @staticmethod
    def _tokens(text: str) -> list[tuple[str, str]]:
        tokens, at = [], 0
        while at < len(text) and text[at:].strip():
            match = _TOKEN.match(text, at)
            if not match:
                raise _no(f"cannot read {text[at : at + 12]!r}")
            kind = match.lastgroup or ""
            tokens.append((kind, match[kind]))
            at = match.end()
        return tokens

    def _peek(self, *values: str) -> bool:
        return (
            self.at < len(self.tokens)
            and self.tokens[self.at][0] != "text"
            and self.tokens[self.at][1] in values
        )

    def _next(self) -> tuple[str, str]:
        if self.at >= len(self.tokens):
            raise _no("it ends too early")
        self.at += 1
        return self.tokens[self.at - 1]

    def parse(self) -> str:
        sql = self._any(0)
        if self.at < len(self.tokens):
            raise _no(f"{self.tokens[self.at][1]!r} is out of place")
        return sql

    # AIP-160: OR binds tighter than AND.
    def _any(self, depth: int) -> str:
        if depth > DEPTH:
            raise _no(f"it is nested deeper than {DEPTH}")
        parts = [self._either(depth)]
        while self.at < len(self.tokens) and not self._peek(")"):
            if self._peek("AND"):
                self.at += 1
            parts.append(self._either(depth))
        return " AND ".join(parts)

    def _either(self, depth: int) -> str:
        parts = [self._term(depth)]
        while self._peek("OR"):
            self.at += 1
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else "(" + " OR ".join(parts) + ")"

    def _term(self, depth: int) -> str:
        if self._peek("NOT", "-"):
            self.at += 1
            return f"NOT ({self._simple(depth)})"
        return self._simple(depth)

    def _simple(self, depth: int) -> str:
        if self._peek("("):
            self.at += 1
            inner = self._any(depth + 1)
            if self._next()[1] != ")":
                raise _no("a bracket is not closed")
            return f"({inner})"
        return self._comparison()

    def _comparison(self) -> str:
        self.terms += 1
        if self.terms > TERMS:
            raise _no(f"it has more than {TERMS} terms")
        kind, name = self._next()
        if kind != "word":
            raise _no(f"{name!r} stands where a field's name belongs")
        kind, operator = self._next() if self.at < len(self.tokens) else ("", "")
        if kind != "op" or operator not in (*_OPERATORS, ":"):
            raise _no(f"{name!r} needs an operator and a value after it")
        kind, raw = self._next()
        if kind == "op" and raw == "-":
            raw = "-" + self._next()[1]
        elif kind == "op":
            raise _no(f"{raw!r} stands where a value belongs")
        value = re.sub(r"\\(.)", r"\1", raw[1:-1]) if kind == "text" else raw
        return self._condition(name, operator, value)

    def _condition(self, name: str, operator: str, value: str) -> str:
        name = field_name(name)
        if name == "name":
            name, value = "id", value.removeprefix(self.collection.prefix)
        refuse_unseen(name, self.unasked, self.collection)
        if name in self.collection.questions:
            return self._question(name, operator, value)
        base = name.partition(".")[0]
        field = self.collection.field(base)
        hidden = {"id", "version"} | self.collection.private
        if field is None or base == "version" or base in self.collection.private:
            known = ", ".join(sorted(n for n in self.collection.by_name if n not in hidden))
            raise _no(f"there is no field {name!r}; there are name, {known}")
        if base in self.collection.sealed or name in self.collection.sealed:
            return self._sealed(field, name, operator, value)
        if self.collection.veil and base in self.collection.veil.sealed:
            return self._veiled(field, name, operator, value)
        return self._open(field, name, operator, value)

    def _open(self, field: Field, name: str, operator: str, value: str) -> str:
        """A condition on what is kept as it is."""
        base, _, part = name.partition(".")
        if field.kind is Money and part == "currency":
            return self._compare(f"{base}_currency", operator, value, name)
        if part:
            return self._part_has(field, part, operator, value)
        if isinstance(field.columns[0].type, type(None)) or _is_nested(field):
            return self._has(field, operator, value)
        if operator == ":":
            if field.kind is not str:
                raise _no(f"{name!r} is no text or list; use =")
            self.params.append(_containing(value))
            return f"{quoted(base)} ILIKE %s"
        if field.optional and value == "null":
            return f"{quoted(base)} IS {'NOT ' if operator == '!=' else ''}NULL"
        return self._compare(base, operator, literal(field, value), name)

    def _question(self, name: str, operator: str, value: str) -> str:
        """A condition of the noun's own, for whoever may see all that it is answered from."""
        question = self.collection.questions[name]
        for read in question.reads:
            refuse_unseen(read, self.unasked, self.collection)
        if operator not in ("=", ":"):
            raise _no(f"use = with {name!r}")
        try:
            sql, params = question.condition(value)
        except ValueError as problem:
            raise _no(f"{name} {problem}") from None
        self.params += params
        return f"({sql})"

    def _sealed(self, field: Field, name: str, operator: str, value: str) -> str:
        """A condition on what is kept encrypted: whole values and words are found, pieces of them are not."""
        find = self.collection.found_by.get(name)
        if name == field.name and operator in ("=", "!=") and not value and field.kind is str:
            return f"{quoted(name)} {_OPERATORS[operator]} ''"
        if find is None or self.ring is None:
            raise _no(f"{name} is kept encrypted and cannot be searched")
        listed = field.kind is not str
        if operator == "=" or (operator == ":" and listed):
            tokens = [f"={find.whole(value)}"]
        elif operator == ":" and find.parts:
            tokens = list(dict.fromkeys(normal_words(value)))
        else:
            raise _no(f'{name} is kept encrypted: {name} {":" if listed else "="} "…" finds the whole value')
        if tokens == [NOTHING]:
            tokens = []
        found = self._indexed(find, name, tokens)
        if self.ring.strict:
            return f"({found})"
        self.params.append(
            json.dumps([value]) if listed else _containing(value) if operator == ":" else value
        )
        plain = "@> %s::jsonb" if listed else "ILIKE %s" if operator == ":" else "= %s"
        return f"(({found}) OR {quoted(name)} {plain})"

    def _veiled(self, field: Field, name: str, operator: str, value: str) -> str:
        """A condition on what is open in some records and sealed in others, which are found by whole values
        and words, or not at all."""
        open_ = self._open(field, name, operator, value)
        find = self.collection.found_by.get(name)
        if operator == ":" and not value and field.kind is str:
            return open_  # every text holds the empty one
        # Not known of the others: neither this nor its opposite finds them.
        unknown = f"CASE WHEN {VEIL} IS NULL THEN {open_} END"
        if find is None or self.ring is None or operator not in ("=", "!=", ":"):
            return unknown
        by_words = operator == ":" and find.parts
        tokens = list(dict.fromkeys(normal_words(value))) if by_words else [f"={find.whole(value)}"]
        if not tokens:  # nothing but signs: no name is found by them
            return unknown
        if operator == "!=":
            return f"(({VEIL} IS NOT NULL OR {open_}) AND NOT {self._indexed(find, name, tokens)})"
        if operator == ":":
            return f"(({VEIL} IS NULL AND {open_}) OR ({self._indexed(find, name, tokens)}))"
        # Two ways to a few rows: joined by OR, all the organization's would be read.
        table, mine = self.collection.name, self.params.pop()
        self.params += [self.ring.tenant, mine]
        openly = f"SELECT id FROM {table} WHERE tenant_id = %s AND {VEIL} IS NULL AND {open_}"
        return f"id = ANY(ARRAY({openly} UNION ALL {self._index_rows(find, name, tokens[0])}))"

    def _indexed(self, find: Find, name: str, tokens: list[str]) -> str:
        if not 0 < len(tokens) <= WORDS:
            raise _no(f"{name} is looked for by 1 to {WORDS} words")
        return " AND ".join(f"id IN ({self._index_rows(find, name, token)})" for token in tokens)

    def _index_rows(self, find: Find, name: str, token: str) -> str:
        """The rows that the blind index has for a token."""
        assert self.ring
        field = f"{self.collection.name}.{name}"
        self.params += [self.ring.tenant, field, self.ring.digests(field, token, shared=find.shared)]
        return "SELECT record FROM blind_index WHERE tenant_id = %s AND field = %s AND digest = ANY(%s)"

    def _compare(self, column: str, operator: str, value: Any, name: str) -> str:
        if operator == ":":
            operator = "="
        self.params.append(value)
        return f"{quoted(column)} {_OPERATORS[operator]} %s"

    def _part_has(self, field: Field, part: str, operator: str, value: str) -> str:
        """Whether the text *part* of any value in a list of nested values contains this."""
        items = typing.get_args(field.kind) if typing.get_origin(field.kind) is tuple else ()
        if (
            operator != ":"
            or not items
            or not is_dataclass(items[0])
            or hints_of(items[0]).get(part) is not str
        ):
            raise _no(f'{field.name}.{part} cannot be filtered so; `list.text : "…"` can')
        self.params += [part, _containing(value)]
        elements = f"jsonb_array_elements({quoted(field.name)})"
        return f"EXISTS (SELECT 1 FROM {elements} AS item WHERE item ->> %s ILIKE %s)"

    def _has(self, field: Field, operator: str, value: str) -> str:
        items = typing.get_args(field.kind)
        if operator not in (":", "=") or typing.get_origin(field.kind) is not tuple or items[0] is not str:
            raise _no(
                f"{field.name!r} cannot be filtered" if operator == ":" else f"use : with {field.name!r}"
            )
        self.params.append(json.dumps([value]))
        return f"{quoted(field.name)} @> %s::jsonb"


def _containing(value: str) -> str:
    """The ILIKE pattern of texts that contain *value*, taken literally."""
    return "%" + re.sub(r"([\\%_])", r"\\\1", value) + "%"


def _is_nested(field: Field) -> bool:
    return field.columns[0].type.__class__.__name__ == "JSONB"


def field_name(said: str) -> str:
    """A field's name as records have it: over HTTP they are told, and may be asked, in lowerCamelCase."""
    return re.sub(r"(?<=[a-z0-9])[A-Z]", lambda capital: f"_{capital[0].lower()}", said)


def literal(field: Field, value: str) -> Any:
    """A filter's literal as what the column holds, or FILTER_INVALID saying what would be right."""
    kind = field.kind
    try:
        if kind is bool:
            return {"true": True, "false": False}[value]
        if kind is int:
            number = int(value)
            if not -(2**63) <= number < 2**63:
                raise ValueError
            return number
        if kind in (Money, Quantity, Percent):
            return parse_scaled(value)
        if kind is datetime:
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if kind is date:
            return date.fromisoformat(value)
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            return kind(value).value
    except (ValueError, KeyError):
        wanted = (
            "one of " + ", ".join(kind)
            if isinstance(kind, type) and issubclass(kind, StrEnum)
            else {bool: "true or false", datetime: "a time such as 2026-01-31T08:00:00Z",
                  date: "a date such as 2026-01-31"}.get(kind, "a number")
        )  # fmt: skip
        raise _no(f"{field.name} must be {wanted}, not {value!r}") from None
    return value


def refuse_unseen(name: str, unasked: frozenset[str], collection: Collection[Any]) -> None:
    """Refuse to ask by a field that the caller may not see: whoever may ask can guess what it says."""
    if unasked and any(overlap(name, path) for path in unasked):
        raise Refused("FIELD_RESTRICTED", field=f"{collection.prefix[:-1]}.{name}")


def condition(
    text: str, collection: Collection[Any], unasked: frozenset[str] = frozenset(), ring: Ring | None = None
) -> tuple[str, list[Any]]:
    """(SQL, parameters) of a filter, finding sealed values by the *ring*; ("", []) for none.

    Refuses with FILTER_INVALID, and with FIELD_RESTRICTED for a field of *unasked*.
    """
    if not text.strip():
        return "", []
    parser = _Parser(text, collection, unasked, ring)
    sql = parser.parse()
    return f" AND ({sql})", parser.params


def shape(text: str) -> str:
    """A filter that was found good, with a ? for every value: what it asks by, and nothing of whom."""
    told: list[str] = []
    tokens = _Parser._tokens(text)
    for at, (kind, said) in enumerate(tokens):
        asked = at + 1 < len(tokens) and tokens[at + 1][1] in (*_OPERATORS, ":") and tokens[at + 1][0] == "op"
        word = kind == "word" and (asked or said in ("AND", "OR", "NOT"))
        told.append(said if kind == "op" or word else "?")
    return " ".join(told)
