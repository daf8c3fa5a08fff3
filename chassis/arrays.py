"""Many values as one parameter: the text of an array, as PostgreSQL reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def array(cells: Sequence[Any]) -> str:
    """Values as the text of an array: the driver looks at each by itself, and takes ten times as long."""
    kinds = set(map(type, cells))
    if kinds == {str}:
        joined = '","'.join(cells)
        if "\\" not in joined and joined.count('"') == 2 * (len(cells) - 1):  # nothing in them to escape
            return '{"' + joined + '"}'
    if kinds == {int}:
        return "{" + ",".join(map(str, cells)) + "}"
    return "{" + ",".join(map(_element, cells)) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)  # true and false are read as well
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    text = str(value)
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
