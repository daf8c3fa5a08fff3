"""What is wrong with a value, said in Chinese: `sentences.tsv` has both, {} standing for a value."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from pathlib import Path

_TABLE = Path(__file__).with_suffix(".tsv")


@cache
def _rows() -> list[tuple[re.Pattern[str], str]]:
    """Those that say most of themselves first: `must be {}` would be all of them."""
    lines = [line for line in _TABLE.read_text("utf-8").splitlines() if line and line[0] != "#"]
    rows = sorted((line.split("\t") for line in lines), key=lambda row: -len(row[0].replace("{}", "")))
    return [(_pattern(english), chinese) for english, chinese in rows]


def _pattern(english: str) -> re.Pattern[str]:
    return re.compile("(.+?)".join(map(re.escape, english.split("{}"))), re.DOTALL)


@lru_cache(maxsize=2000)
def in_chinese(english: str) -> str:
    """The same in Chinese; a sentence that no row knows stays as it is."""
    for row, chinese in _rows():
        if found := row.fullmatch(english):
            return chinese.format(*found.groups())
    return english
