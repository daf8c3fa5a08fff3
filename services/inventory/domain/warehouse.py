"""The places goods are kept at; a shop is a warehouse."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.kernel.record import Record


@dataclass(frozen=True, kw_only=True)
class Warehouse(Record):
    """A place goods are kept at."""

    code: str
    display_name: str
    address: str = ""
    region: str = ""
    external_id: str = ""
