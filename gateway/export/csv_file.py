"""Rows as CSV (RFC 4180) in UTF-8, of which a spreadsheet runs nothing."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from gateway.export.columns import Column, Kind, Value

CONTENT_TYPE = "text/csv; charset=utf-8"
BOM = b"\xef\xbb\xbf"
# What may stand before a formula without keeping a spreadsheet from running it.
_UNSEEN = r"[\s\x00-\x20\x7f\xa0\u200b-\u200f\u2028-\u202f\u2060\ufeff]*"
# As OWASP's page on CSV injection names them, the wide forms too. A text that has an apostrophe before such a
# sign already gets another one, so that taking one away gives the text back.
_RUN = re.compile(rf"'*(?:{_UNSEEN}[=+\-@＝＋－＠]|[\t\r\n])")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)


def harmless(text: str) -> str:
    """The text, with an apostrophe before it where a spreadsheet would run it; a plain number stays one."""
    if text[:1].isalnum():  # nearly every text: none of the signs is a letter or a digit
        return text
    if _RUN.match(text) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def exact(text: str) -> str:
    """What `harmless` was given."""
    return text[1:] if text.startswith("'") and _RUN.match(text) else text


def _decimal(value: Any) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _flag(value: Any) -> str:
    return "true" if value else "false"


def time_text(value: Any) -> str:
    """RFC 3339 in UTC, as JSON has it: no fraction, or three or six digits of one."""
    assert isinstance(value, datetime)
    micros = value.microsecond
    how = "seconds" if not micros else "milliseconds" if not micros % 1000 else "microseconds"
    return value.astimezone(UTC).isoformat(timespec=how).replace("+00:00", "Z")


def _date(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


_SAID: dict[Kind, Callable[[Any], str]] = {
    Kind.TEXT: harmless,
    Kind.WORD: str,
    Kind.INTEGER: str,
    Kind.DECIMAL: _decimal,
    Kind.FLAG: _flag,
    Kind.DATE: _date,
    Kind.TIME: time_text,
}


class CsvFile:
    """One file, made page by page; it keeps nothing of what it has given."""

    content_type, ending, resumable = CONTENT_TYPE, "csv", True

    def __init__(self, columns: Sequence[Column], *, bom: bool = False, headed: bool = True) -> None:
        self._columns = [(column.read, _SAID[column.kind]) for column in columns]
        self._due = (BOM if bom else b"") + (_lines([[each.name for each in columns]]) if headed else b"")

    def page(self, records: Iterable[Any]) -> bytes:
        """The next rows."""
        rows = [[_cell(read(record), said) for read, said in self._columns] for record in records]
        due, self._due = self._due, b""
        return due + _lines(rows)

    def end(self) -> bytes:
        """What closes the file."""
        due, self._due = self._due, b""
        return due


def _cell(value: Value, said: Callable[[Any], str]) -> str:
    return "" if value is None else said(value)


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    held = io.StringIO(newline="")
    csv.writer(held, lineterminator="\r\n").writerows(rows)
    return held.getvalue().encode()
