"""docs/security.md: every item it is meant to answer stands there, and every test it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs/security.md").read_text("utf-8").splitlines()
    if re.match(r"\| (\d+\.\d+\.\d+|API\d+) ", line)
]
# Section → how many requirements of the levels 1 and 2 it has in ASVS 5.0.
ASVS = {
    "6.1": 3, "6.2": 12, "6.3": 4, "6.4": 4, "6.5": 5, "6.6": 3, "6.8": 4, "7.1": 3, "7.2": 4, "7.3": 2,
    "7.4": 5, "7.5": 2, "7.6": 2, "8.1": 2, "8.2": 3, "8.3": 1, "8.4": 1, "9.1": 3, "9.2": 4, "16.1": 1,
    "16.2": 5, "16.3": 4, "16.4": 3, "16.5": 3,
}  # fmt: skip
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_item_stands_there_once() -> None:
    wanted = {f"{section}.{n}" for section, count in ASVS.items() for n in range(1, count + 1)}
    named = [row[0] for row in ROWS]
    assert sorted(named) == sorted(wanted | {f"API{n}" for n in range(1, 11)})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_an_item_is_shown_by_a_test_that_exists_or_says_why_not(row: list[str]) -> None:
    item, _, shown = row
    tests = _TEST.findall(shown)
    assert tests or re.match(r"(does not apply|\*\*not yet\*\*): \w+ ", shown), item
    # What is not there yet says why that is so, not only that it is.
    assert "not yet" not in shown or re.match(r"\*\*not yet\*\*: .+ because ", shown), item
    for file, name in tests:
        text = (ROOT / file).read_text("utf-8")
        assert re.search(rf"^(async )?def {name}\(", text, re.M), f"{item}: {file} has no {name}"
