"""The language of mappings: what a value may go through, and what is refused before a row is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stack.expressions import (
    Condition,
    MappingWrong,
    RowWrong,
    Surroundings,
    Template,
    compiled,
    filled,
)
from stack.mapping import ImportMapping, around_of, rows

ROW = {
    "product": "GTXPro",
    "price": "1054.50",
    "day": "2017-03-01 00:00:00.000",
    "count": "3",
    "agent": "Zoë D'Arcy",
    "nothing": None,
    "discount": "0.15",
}
AROUND = Surroundings(
    aliases={"product": {"GTXPro": "GTX Pro"}},
    tables={"prices": {"GTX Pro": {"product": "GTX Pro", "price": "4821"}}},
    names={"products": {"GTX Pro": "products/1"}},
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{product}", "GTXPro"),
        ("{product|alias:product}", "GTX Pro"),
        ("{product|alias:product|name:products}", "products/1"),
        ("{product|alias:product|of:prices,price|money:USD}", {"currencyCode": "USD", "units": "4821"}),
        ("{price|money:USD}", {"currencyCode": "USD", "units": "1054", "nanos": 500000000}),
        ("{price|times:1000000}", "1054500000"),
        ("{discount|times:100|decimal}", {"value": "15"}),
        ("{day|date}", {"year": 2017, "month": 3, "day": 1}),
        ("{count|whole}", 3),
        ("{count|yes:3}", True),
        ("{count|unless:3}", None),
        ("{count|unless:3|or:price}", "1054.50"),
        ("{nothing|default:none}", "none"),
        ("{nothing|date}", None),
        ("{agent|slug}@maven.example", "zoe.d.arcy@maven.example"),
        ("{'main'|upper}", "MAIN"),
        ("plain text", "plain text"),
        ("for {nothing}", None),
        ("{product} and {nothing}", "GTXPro and"),
    ],
)
def test_a_value_becomes(text: str, value: Any):
    assert Template(text).value(ROW, AROUND) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{agent|money:USD}", "agent: .* is no number"),
        ("{agent|date}", "agent: .* is no date"),
        ("{price|whole}", "price: '1054.50' is no whole number"),
        ("{nothing|required}", "nothing is missing"),
        ("{product|name:products}", "'GTXPro' is none of the products that were imported"),
        ("{product|of:prices,price}", "'GTXPro' is not in prices"),
        ("{agent|map:product}", "is not in the mapping's product"),
    ],
)
def test_a_row_that_cannot_be_so_says_which_value(text: str, sentence: str):
    with pytest.raises(RowWrong, match=sentence):
        Template(text).value(ROW, AROUND)


def test_fields_that_come_to_nothing_are_left_out():
    body = compiled({"a": "{nothing}", "b": {"c": "{nothing}"}, "d": ["{nothing}", "{count}"], "e": 0})
    assert filled(body, ROW, AROUND, lambda *_: []) == {"d": ["3"], "e": 0}


def test_a_condition_holds_when_all_of_it_does():
    assert Condition({"product": ["GTXPro", "MG"], "nothing": "absent", "price": "present"}).holds(
        ROW, AROUND
    )
    assert not Condition({"product": "MG"}).holds(ROW, AROUND)
    assert not Condition({"product": "GTXPro", "nothing": "present"}).holds(ROW, AROUND)
    assert Condition(None).holds(ROW, AROUND)


def mapping(tmp_path: Path, text: str) -> ImportMapping:
    path = tmp_path / "mapping.yaml"
    path.write_text(text)
    return ImportMapping.load(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("steps: []", "a mapping says import"),
        ("import: x\nsteps: [{calls: [{create: /v1/x}]}]", "has a name"),
        ("import: x\nsteps: [{step: a}]", "at least one of calls"),
        ("import: x\nsteps: [{step: a, colour: red, calls: [{create: /v1/x}]}]", "there is no colour"),
        ("import: x\nsteps: [{step: a, calls: [{make: /v1/x}]}]", "a call says one of"),
        ("import: x\nsteps: [{step: a, calls: [{create: '/v1/{x|shout}'}]}]", "there is no shout"),
        ("import: x\nsteps: [{step: a, calls: [{create: '/v1/{x|money}'}]}]", "money takes 1 words, not 0"),
        ("import: x\nsteps: [{step: a, calls: [{create: '/v1/{x|alias:b}'}]}]", "there is no b for alias"),
        ("import: x\nsteps: [{step: a, calls: [{create: '/v1/{x|name:b}'}]}]", "there is no b for name"),
        ("import: [", "cannot be read as YAML"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused_before_anything_is_sent(tmp_path, text, sentence):
    with pytest.raises(MappingWrong, match=sentence):
        mapping(tmp_path, text)


def test_a_column_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(MappingWrong, match="there is no column colour; there are product, price"):
        Template("{colour}").value(ROW, AROUND)


PLAIN = "import: x\nsteps: [{step: a, file: a.csv, calls: [{create: /v1/x}]}]\n"


def test_rows_come_as_they_are_and_broken_ones_say_how(tmp_path):
    text = '\ufeffid,name\n1,"two\nlines"\n2,too,many\n3\n\n4,NULL\n5,"half"quoted\n6,杭州\n'
    (tmp_path / "a.csv").write_bytes(text.encode() + b"7,\xff\n")
    made = mapping(tmp_path, PLAIN + "nothing: ['NULL']")
    found = {number: row for number, row, _ in rows(tmp_path / "a.csv", made)}
    assert found[1] == {"id": "1", "name": "two\nlines"}
    assert "has 3 values where the header names 2" in str(found[2])
    assert "has 1 values" in str(found[3])
    assert found[4] == {"id": "4", "name": None}
    assert "is no CSV" in str(found[5])
    assert found[6] == {"id": "6", "name": "杭州"}
    assert "is not UTF-8" in str(found[7])


def test_a_comma_nobody_quoted_is_mended_where_the_mapping_says_so(tmp_path):
    (tmp_path / "a.csv").write_text("id,street,city\n1,Rua do Paço, 67,Rio\n2,a,b,c\n")
    found = [row for _, row, _ in rows(tmp_path / "a.csv", mapping(tmp_path, PLAIN + "rejoin: true"))]
    assert found[0] == {"id": "1", "street": "Rua do Paço, 67", "city": "Rio"}
    assert isinstance(found[1], RowWrong)
    assert isinstance(next(row for _, row, _ in rows(tmp_path / "a.csv", mapping(tmp_path, PLAIN))), RowWrong)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MappingWrong, match=r"There is no file .*a\.csv"):
        list(rows(tmp_path / "a.csv", mapping(tmp_path, PLAIN)))
    with pytest.raises(MappingWrong, match="has no column nr"):
        (tmp_path / "b.csv").write_text("id\n1\n")
        around_of(mapping(tmp_path, PLAIN + "tables: {b: {file: b.csv, key: nr}}"), tmp_path)


@pytest.mark.parametrize("name", ["crm_maven", "northwind"])
def test_the_mappings_that_come_along_make_sense(name):
    folder = Path(__file__).resolve().parents[2] / "stack/mappings"
    assert ImportMapping.load(folder / f"{name}.yaml").name == name
