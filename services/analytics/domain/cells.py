"""Cells of a read model: sums at a key, to be added to or taken back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    """What one fact adds to the sums at one key of one read model."""

    model: str
    key: Mapping[str, Any]
    sums: Mapping[str, int]


def changes(before: Iterable[Cell], after: Iterable[Cell]) -> list[Cell]:
    """What to add so that the models hold *after* where they held *before*; nothing for what stays."""
    net: dict[tuple[str, tuple[tuple[str, Any], ...]], dict[str, int]] = {}
    for sign, cells in ((-1, before), (1, after)):
        for cell in cells:
            sums = net.setdefault((cell.model, tuple(cell.key.items())), {})
            for name, amount in cell.sums.items():
                sums[name] = sums.get(name, 0) + sign * amount
    return [Cell(model, dict(key), sums) for (model, key), sums in net.items() if any(sums.values())]
