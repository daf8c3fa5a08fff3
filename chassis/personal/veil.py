"""What is sealed of some records of a kind and open of the others: who a customer is, of one who is a person.

The veiled fields of such a record lie sealed together in one cell. Their own cells are empty, or hold what
stands in for them: lists are sorted by that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from google.protobuf.descriptor import Descriptor
from tradewind.type.v1 import options_pb2

from chassis.columns import defaults_of, hints_of, json_codec, unwrap
from chassis.kernel.record import Record, replace
from chassis.personal.sealing import Broken, Find, Lock

VEIL = "veil"  # the column of the veiled fields; NULL where nothing is veiled


class Veil:
    """Over the records whose *field* says *value*.

    *sealed* are the fields below it, and how each is looked for; *instead* says from which other field a cell
    is filled meanwhile. *made* are fields that are made of these, and empty of such a record. *stays* are
    fields that the contract marks as personal of such records and that are open all the same: people are
    chosen by them, or they are words of ours.
    """

    def __init__(
        self, field: str, value: Any, *, sealed: Mapping[str, Find | None],
        instead: Mapping[str, str] | None = None, made: Iterable[str] = (), stays: Iterable[str] = (),
    ) -> None:  # fmt: skip
        self.field, self.value, self.sealed = field, value, dict(sealed)
        self.instead, self.made, self.stays = dict(instead or {}), tuple(made), frozenset(stays)

    def attach(self, record: type[Record]) -> None:
        """Learn how values of the record are written; called once by the collection."""
        hints, defaults = hints_of(record), defaults_of(record)
        self._codecs = [(name, *json_codec(hints[name])) for name in self.sealed]
        self._empty = {name: defaults[name] for name in self.sealed if name not in self.instead}
        self._made = {name: defaults[name] for name in self.made}
        if optional := [name for name, find in self.sealed.items() if find and unwrap(hints[name])[1]]:
            raise SystemExit(
                f"{', '.join(optional)} may be missing: what is looked for below a veil is a text."
            )

    def _open(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return self._empty | {name: values[source] for name, source in self.instead.items()}

    def covers(self, record: Record) -> str:
        """The first field that has to be sealed; "" where there is none."""
        values = vars(record)
        if values[self.field] != self.value:
            return ""
        return next((name for name, empty in self._open(values).items() if values[name] != empty), "")

    def bare(self, record: Record) -> Record:
        """The record as its open cells have it."""
        return replace(record, **self._open(vars(record)), **self._made)

    def seal(self, record: Record, lock: Lock) -> str:
        """The cell of what is veiled."""
        values = {name: dump(getattr(record, name)) for name, dump, _ in self._codecs}
        return lock.seal(orjson.dumps(values), VEIL)

    def lift(self, values: dict[str, Any], cell: str | None, lock: Lock | None, strict: bool) -> None:
        """Put what is veiled among the *values* of a record; Broken for what was not sealed there."""
        if not cell:
            if strict and values[self.field] == self.value:
                for name, empty in self._open(values).items():
                    if values[name] != empty:
                        raise Broken(name)
            return
        if lock is None or values[self.field] != self.value:
            raise Broken(VEIL)
        try:
            found = orjson.loads(lock.open(cell, VEIL))
        except Broken:
            raise Broken(VEIL) from None
        for name, _, load in self._codecs:
            if name in found:  # a field that is veiled later is absent in what was sealed before
                values[name] = load(found[name])


def check_veiled(descriptor: Descriptor, veil: Veil | None) -> None:
    """Stop the process where the contract marks fields of some records that no veil knows of, or others."""
    marked = {
        (field.GetOptions().Extensions[options_pb2.personal_when], field.name) for field in descriptor.fields
    }
    known = {(f"{veil.field}={veil.value}", name) for name in {*veil.sealed, *veil.stays}} if veil else set()
    if other := sorted(name for when, name in marked ^ known if when):
        raise SystemExit(
            f"{descriptor.full_name}: {', '.join(other)} must be marked as personal of some records "
            "and stand in the veil of its collection, or neither."
        )
