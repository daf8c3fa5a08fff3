"""Rows as an Excel workbook (ECMA-376) with typed cells: a ZIP that is sent while it is written.

Libraries write sheets to temporary files and the workbook at its end; see decision 30.
"""

from __future__ import annotations

import io
import re
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import IO, Any
from xml.sax.saxutils import escape

from gateway.export.columns import Column, Kind

CONTENT_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
MOST_ROWS = 1_048_576  # of a sheet, says Excel; the head is one of them
MOST_BYTES = (
    1_500_000_000  # of a sheet's XML: a ZIP without its 64-bit form, which some readers lack, ends at 2^31
)
LONGEST_CELL = 32_767
EXACT_DIGITS = 15  # of a number in a spreadsheet, which is a double
_LEVEL = 4
_DAY_ZERO = date(1899, 12, 30)
_TIME_ZERO = datetime(1899, 12, 30, tzinfo=UTC)
_DAY, _FIRST_DAY = timedelta(days=1), date(1900, 3, 1)  # before it, Excel counts a day that never was
# What XML cannot hold, or would be read as if it stood for such: as _xHHHH_ (ECMA-376, 22.9.2.19).
_UNSAYABLE = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"
# The head in bold, numbers as they are, days, moments.
BOLD, DAY, MOMENT = 1, 2, 3
_STYLES = (
    f'{_HEAD}<styleSheet xmlns="{_MAIN}"><numFmts count="2">'
    '<numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd"/>'
    '<numFmt numFmtId="165" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/></numFmts>'
    '<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="4"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>'
    '<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="165" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)
_SHEET_BEGIN = (
    f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
    '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews>'
    "<sheetData>"
)
_SHEET_END = "</sheetData></worksheet>"


def _said(text: str) -> str:
    """A text as XML holds it, what is too long for a cell cut."""
    if len(text) > LONGEST_CELL:
        text = text[: LONGEST_CELL - 1] + "…"
    return escape(_UNSAYABLE.sub(lambda found: f"_x{ord(found[0]):04X}_", text))


def _text(value: Any, style: int = 0) -> str:
    styled = f' s="{style}"' if style else ""
    return f'{styled} t="inlineStr"><is><t xml:space="preserve">{_said(str(value))}</t></is></c>'


def _number(value: Any) -> str:
    """A number where a spreadsheet holds it exactly, else its digits as a text."""
    digits = f"{value:f}" if isinstance(value, Decimal) else str(value)
    if len(digits.lstrip("-0.").replace(".", "")) > EXACT_DIGITS:
        return _text(digits)
    return f"><v>{digits}</v></c>"


def _flag(value: Any) -> str:
    return f' t="b"><v>{int(value)}</v></c>'


def _date(value: Any) -> str:
    if not isinstance(value, date) or value < _FIRST_DAY:
        return _text(value)
    return f' s="{DAY}"><v>{(value - _DAY_ZERO).days}</v></c>'


def _time(value: Any) -> str:
    if value.date() < _FIRST_DAY:
        return _text(value.isoformat())
    days, rest = divmod(value - _TIME_ZERO, _DAY)
    return f' s="{MOMENT}"><v>{days + rest / _DAY:.11f}</v></c>'


_CELLS: dict[Kind, Callable[[Any], str]] = {
    Kind.TEXT: _text,
    Kind.WORD: _text,
    Kind.INTEGER: _number,
    Kind.DECIMAL: _number,
    Kind.FLAG: _flag,
    Kind.DATE: _date,
    Kind.TIME: _time,
}


def letters(number: int) -> str:
    """The column's letters: 1 → A, 27 → AA."""
    made = ""
    while number:
        number, rest = divmod(number - 1, 26)
        made = chr(65 + rest) + made
    return made


class _Sink(io.RawIOBase):
    """What a ZIP is written to: it cannot be gone back in, and is emptied as it fills."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Keep it until it is taken."""
        self._parts.append(bytes(data))
        return len(data)

    def tell(self) -> int:
        """Nobody can: the ZIP counts for itself."""
        raise OSError

    def take(self) -> bytes:
        """All that was written since."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


class XlsxFile:
    """One workbook, made page by page; what it gave it keeps no more. After a full sheet comes another."""

    content_type, ending, resumable = CONTENT_TYPE, "xlsx", False

    def __init__(self, columns: Sequence[Column], *, title: str) -> None:
        self._names = [column.name for column in columns]
        self._cells = [(letters(at), c.read, _CELLS[c.kind]) for at, c in enumerate(columns, 1)]
        self._title = title
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED)
        self._part("xl/styles.xml", _STYLES)
        self._sheet: IO[bytes] | None = None
        self._sheets = self._row = self._bytes = 0
        self._begin()

    def page(self, records: Iterable[Any]) -> bytes:
        """The next rows."""
        lines: list[str] = []
        for record in records:
            if self._row >= MOST_ROWS or self._bytes >= MOST_BYTES:
                self._write(lines)
                lines = []
                self._begin()
            self._row += 1
            row = self._row
            cells = [
                f'<c r="{letter}{row}"{cell(value)}'
                for letter, read, cell in self._cells
                if (value := read(record)) is not None
            ]
            lines.append(f'<row r="{row}">{"".join(cells)}</row>')
        self._write(lines)
        return self._sink.take()

    def end(self) -> bytes:
        """What closes the file: the parts that name the sheets, and the ZIP's own list."""
        self._finish()
        every = range(1, self._sheets + 1)
        sheets = "".join(f'<sheet name="{self._name(n)}" sheetId="{n}" r:id="rId{n}"/>' for n in every)
        book = f'{_HEAD}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{sheets}</sheets></workbook>'
        links = "".join(_link(f"rId{n}", "worksheet", f"worksheets/sheet{n}.xml") for n in every)
        kinds = "".join(_kind(f"/xl/worksheets/sheet{n}.xml", "worksheet") for n in every)
        relations = f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">'
        styles = _link("rIdStyles", "styles", "styles.xml")
        self._part("xl/workbook.xml", book)
        self._part("xl/_rels/workbook.xml.rels", f"{relations}{links}{styles}</Relationships>")
        self._part(
            "_rels/.rels", f"{relations}{_link('rId1', 'officeDocument', 'xl/workbook.xml')}</Relationships>"
        )
        self._part("[Content_Types].xml", (
            f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels"'
            ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f"{_kind('/xl/workbook.xml', 'sheet.main')}{_kind('/xl/styles.xml', 'styles')}{kinds}</Types>"
        ))  # fmt: skip
        self._zip.close()
        return self._sink.take()

    def _name(self, number: int) -> str:
        """At most 31 characters, none of which is one of []:*?/\\ ."""
        return self._title[:25] if number == 1 else f"{self._title[:25]} {number}"

    def _begin(self) -> None:
        self._finish()
        self._sheets += 1
        self._sheet = self._zip.open(_entry(f"xl/worksheets/sheet{self._sheets}.xml"), "w")
        head = "".join(f'<c r="{letters(at)}1"{_text(n, BOLD)}' for at, n in enumerate(self._names, 1))
        self._row, self._bytes = 1, 0
        self._write([_SHEET_BEGIN, f'<row r="1">{head}</row>'])

    def _finish(self) -> None:
        if self._sheet is not None:
            self._write([_SHEET_END])
            self._sheet.close()
            self._sheet = None

    def _write(self, lines: Sequence[str]) -> None:
        assert self._sheet is not None
        data = "".join(lines).encode()
        self._bytes += len(data)
        self._sheet.write(data)

    def _part(self, name: str, text: str) -> None:
        self._zip.writestr(_entry(name), text)


def _entry(name: str) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, time.gmtime()[:6])
    made.compress_type = zipfile.ZIP_DEFLATED
    made._compresslevel = _LEVEL  # type: ignore[attr-defined]
    return made


def _link(name: str, kind: str, target: str) -> str:
    return f'<Relationship Id="{name}" Type="{_OFFICE}/{kind}" Target="{target}"/>'


def _kind(part: str, kind: str) -> str:
    return f'<Override PartName="{part}" ContentType="{_KIND}.{kind}+xml"/>'
