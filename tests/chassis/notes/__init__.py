"""A small store of its own, for what the chassis promises to every service."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from chassis.kernel.record import Owned, Record
from chassis.kernel.values import Money
from chassis.store import Collection, ReadModel, Rows, Store


@dataclass(frozen=True, kw_only=True)
class Note(Owned):
    """Somebody's note."""

    title: str
    rank: int | None = None
    price: Money | None = None
    labels: tuple[str, ...] = ()

    def check(self) -> None:
        """Any note will do."""


@dataclass(frozen=True, kw_only=True)
class Setting(Record):
    """What an organization has decided, under an id that every organization uses."""

    text: str = ""

    def check(self) -> None:
        """Any text will do."""


class NoteStore(Store):
    """Notes, settings, and rows of both plain kinds."""

    notes = Collection(Note, unique=(("title",),))
    settings = Collection(Setting)
    counts = ReadModel("counts", key={"word": sa.Text()}, sums=("seen", "weight"))
    places = Rows("places", sa.Column("shelf", sa.Text()), sa.Column("holds", sa.Text()),
                  sa.Column("full", sa.Boolean()), key=("shelf",))  # fmt: skip
