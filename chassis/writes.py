"""Writes kept back until the end of a transaction, then sent as few statements.

Each change is one arm of a `WITH`; a change that must hit its row is guarded, so that a lost race
raises inside the statement and the COMMIT behind it in the pipeline cannot happen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from chassis.arrays import array
from chassis.kernel.record import Record
from chassis.personal import blind
from chassis.personal.blind import Sealer
from chassis.personal.keys import PLAIN
from chassis.tables import Collection, Rows, quoted

FACT_COLUMNS = (
    "part, event_id, tenant_id, record, record_version, nth, type, payload, actor, on_behalf_of, cause,"
    " traceparent, occurred_at, place"
)
_FACT_TYPES = (
    "smallint", "uuid", "uuid", "text", "bigint", "smallint", "text", "bytea", "text", "text", "text", "text",
    "timestamptz", "text",
)  # fmt: skip
ANSWER_COLUMNS = "tenant_id, principal, method, request_id, request_hash, refused, response"
_ANSWER_TYPES = ["uuid", "text", "text", "text", "bytea", "boolean", "bytea"]
MANY = 8  # rows for one table: from here on they are sent as columns
ARMS = 24  # per statement: a longer one costs more to plan than it saves
Arm = tuple[str, list[Any], str]  # statement, parameters, what to say when it touched no row


class _Kept(NamedTuple):
    """A record as it is to stand in its table; its row is made when it is sent: it may change until then."""

    collection: Collection[Any]
    tenant: str
    record: Record
    expected: int | None = None  # the version it has there; None: it is new
    sealer: Sealer | None = None  # where anything in it is personal


class Writes:
    """The writes of one transaction, in the order of their making; the last word on a row wins."""

    def __init__(self) -> None:
        self._arms: dict[Any, Arm | _Kept] = {}
        # (table, columns) → the table, and its rows by their place
        self._puts: dict[tuple[Any, ...], tuple[Rows, dict[tuple[Any, ...], list[Any]]]] = {}
        self._folds: dict[tuple[str, tuple[Any, ...]], tuple[Rows, str, dict[str, Any], dict[str, int]]] = {}
        self._inserted: dict[tuple[str, str], Collection[Any]] = {}
        self._expected: dict[tuple[str, str], int] = {}
        self._facts: list[list[Any]] = []
        self._answers: list[list[Any]] = []

    def __bool__(self) -> bool:
        return bool(self._arms or self._puts or self._folds or self._facts or self._answers)

    def copy(self) -> Writes:
        """As it is now, whatever is added to either from here on."""
        other = Writes()
        other._arms, other._inserted, other._expected = (
            dict(self._arms),
            dict(self._inserted),
            dict(self._expected),
        )
        other._puts = {key: (rows, dict(kept)) for key, (rows, kept) in self._puts.items()}
        other._folds = {
            key: (model, tenant, of, dict(sums)) for key, (model, tenant, of, sums) in self._folds.items()
        }
        other._facts, other._answers = list(self._facts), list(self._answers)
        return other

    def insert(
        self, collection: Collection[Any], tenant: str, record: Record, sealer: Sealer | None = None
    ) -> None:
        key = (collection.name, record.id)
        if key in self._arms and key not in self._inserted:  # the row that was there goes first
            self._arms[object()] = self._arms.pop(key)
        self._inserted[key] = collection
        self._arms[key] = _Kept(collection, tenant, record, sealer=sealer)

    def update(
        self, collection: Collection[Any], tenant: str, record: Record, expected: int,
        sealer: Sealer | None = None,
    ) -> None:  # fmt: skip
        key = (collection.name, record.id)
        if key in self._inserted and key in self._arms:
            self._arms[key] = _Kept(
                collection, tenant, record, sealer=sealer and sealer._replace(before=None)
            )
            return
        earlier = self._arms.get(key)
        if sealer and isinstance(earlier, _Kept) and earlier.sealer:
            sealer = sealer._replace(before=earlier.sealer.before, generation=earlier.sealer.generation)
        # A record saved twice before it was sent is still, in the table, what it was at first.
        expected = self._expected.setdefault(key, expected) if key in self._arms else expected
        self._expected[key] = expected
        self._arms[key] = _Kept(collection, tenant, record, expected, sealer)

    def delete(self, collection: Collection[Any], tenant: str, record: Record) -> None:
        key = (collection.name, record.id)
        if key in self._inserted and key in self._arms:  # it was never there
            del self._arms[key]
            del self._inserted[key]
            return
        expected = self._expected.get(key, record.version) if key in self._arms else record.version
        params = [tenant, record.id, expected]
        self._arms[key] = (collection.delete, params, f"ETAG_MISMATCH {collection.prefix}{record.id}")
        if collection.found_by:
            self.raw(blind.FORGOTTEN, [tenant, record.id, blind.fields(collection), []])

    def raw(self, statement: str, params: list[Any], otherwise: str = "") -> None:
        """A statement of its own, ending in RETURNING 1; *otherwise* is said when it touches no row."""
        self._arms[object()] = (statement, params, otherwise)

    def answer(self, row: list[Any]) -> None:
        """What was answered to a request (ANSWER_COLUMNS)."""
        self._answers.append(row)

    def fact(self, row: list[Any]) -> None:
        """A row of the outbox (FACT_COLUMNS); rows get their ids in the order of their making."""
        self._facts.append(row)

    def fold(self, model: Rows, tenant: str, key: Mapping[str, Any], add: Mapping[str, int]) -> None:
        _, _, _, sums = self._folds.setdefault(
            (model.name, (tenant, *(key[column] for column in model.key))), (model, tenant, dict(key), {})
        )
        for column, amount in add.items():
            sums[column] = sums.get(column, 0) + amount

    def put(self, rows: Rows, tenant: str, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        place = (rows.name, tenant, *(key[column] for column in rows.key))
        said = {column: _cell(value) for column, value in values.items()}
        for (_, columns), (_, others) in self._puts.items():
            if earlier := others.pop(place, None):  # what it said of other columns stands
                said = dict(zip(columns, earlier[1 + len(rows.key) :], strict=True)) | said
        _, kept = self._puts.setdefault((rows.name, tuple(said)), (rows, {}))
        kept[place] = [tenant, *(_cell(key[column]) for column in rows.key), *said.values()]

    def append(self, rows: Rows, tenant: str, values: Mapping[str, Any]) -> None:
        slots = ", ".join(["%s"] * (len(values) + 1))
        cells = [_cell(value) for value in values.values()]
        statement = f"INSERT INTO {rows.name} (tenant_id, {_listed(values)}) VALUES ({slots}) RETURNING 1"
        self.raw(statement, [tenant, *cells])

    def _fold_arms(self) -> list[Arm]:
        arms: list[Arm] = []
        groups: dict[tuple[str, tuple[str, ...]], list[tuple[Rows, list[Any]]]] = {}
        for model, tenant, key, sums in self._folds.values():
            cells = [tenant, *(key[column] for column in model.key), *sums.values()]
            groups.setdefault((model.name, tuple(sums)), []).append((model, cells))
        for (name, added), members in groups.items():
            model = members[0][0]
            changes = ", ".join(f"{quoted(c)} = {name}.{quoted(c)} + EXCLUDED.{quoted(c)}" for c in added)
            cells = [row for _, row in members]
            arms.append(_many(model, ["tenant_id", *model.key, *added], cells, f"UPDATE SET {changes}"))
        return arms

    def _put_arms(self) -> list[Arm]:
        arms: list[Arm] = []
        for (_, values), (rows, kept) in self._puts.items():
            changes = ", ".join(f"{quoted(column)} = EXCLUDED.{quoted(column)}" for column in values)
            action = f"UPDATE SET {changes}" if values else "NOTHING"
            if kept:
                arms.append(_many(rows, ["tenant_id", *rows.key, *values], list(kept.values()), action))
        return arms

    def _fact_arms(self) -> list[Arm]:
        # One INSERT for all: arms of a WITH have no order of their own, rows of a VALUES list do.
        if not self._facts:
            return []
        head = f"INSERT INTO outbox ({FACT_COLUMNS})"
        if len(self._facts) < MANY:
            slots = ", ".join(["(" + ", ".join(["%s"] * len(_FACT_TYPES)) + ")"] * len(self._facts))
            return [(f"{head} VALUES {slots} RETURNING 1", [cell for row in self._facts for cell in row], "")]
        return [(f"{head} {_unnest(_FACT_TYPES)}", _columns(self._facts), "")]

    def _answer_arms(self) -> list[Arm]:
        if not self._answers:
            return []
        head = f"INSERT INTO answers ({ANSWER_COLUMNS})"
        if len(self._answers) == 1:
            return [(f"{head} VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING 1", self._answers[0], "")]
        return [(f"{head} {_unnest(_ANSWER_TYPES)}", _columns(self._answers), "")]

    def _record_arms(self) -> list[Arm]:
        """Changes of records in the order of their making; many new ones of a kind go with the last."""
        new: dict[str, list[Any]] = {}
        for key in self._arms:
            if key in self._inserted:
                new.setdefault(self._inserted[key].name, []).append(key)
        together = {key: keys for keys in new.values() if len(keys) >= MANY for key in keys}
        arms: list[Arm] = []
        for key, kept in self._arms.items():
            keys = together.get(key, [])
            if not keys:
                arms.append(_arm(kept))
            elif key == keys[-1]:
                columns = _columns([_arm(self._arms[one])[1] for one in keys])
                arms.append((self._inserted[key].insert_many, columns, ""))
        return arms

    def _index_arms(self) -> list[Arm]:
        """What the blind index has to know of the records that are kept."""
        arms: list[Arm] = []
        new: list[list[Any]] = []
        for kept in self._arms.values():
            if not isinstance(kept, _Kept) or kept.sealer is None or not kept.collection.found_by:
                continue
            found = blind.entries(kept.collection, kept.record, kept.sealer)
            if found is None:
                continue
            if kept.expected is not None:
                fields, digests = blind.fields(kept.collection), [digest for _, digest in found]
                arms.append((blind.FORGOTTEN, [kept.tenant, kept.record.id, fields, digests], ""))
            new += [[kept.tenant, field, digest, kept.record.id] for field, digest in found]
        return [*arms, (blind.FOUND, _columns(new), "")] if new else arms

    def take(self) -> list[tuple[str, list[Any]]]:
        """The statements to send, and forget them."""
        arms, index = self._record_arms(), self._index_arms()
        # While rows are sealed anew, their entries are found as they are once the row is ours: a statement
        # sees what was there when it began.
        after = index if self._moving() else []
        arms += [] if after else index
        arms += [*self._put_arms(), *self._fold_arms(), *self._fact_arms(), *self._answer_arms()]
        self._arms, self._puts, self._folds, self._facts, self._answers = {}, {}, {}, [], []
        self._expected, self._inserted = {}, {}
        return [
            _statement(some[at : at + ARMS]) for some in (arms, after) for at in range(0, len(some), ARMS)
        ]

    def _moving(self) -> bool:
        sealers = (kept.sealer for kept in self._arms.values() if isinstance(kept, _Kept))
        return any(sealer is not None and sealer.ring.moving for sealer in sealers)


def _arm(kept: Arm | _Kept) -> Arm:
    """The statement that keeps a record."""
    if not isinstance(kept, _Kept):
        return kept
    collection, tenant, record, expected, sealer = kept
    if sealer is None:
        cells = collection.row(record)
    else:  # whole at every change, under the newest key there is
        lock = sealer.ring.new_lock(sealer.salt, collection.name, record.id)
        cells = collection.row(record, lock, plain=sealer.ring.phase == PLAIN)
    if expected is None:
        return collection.insert, [tenant, *cells], ""
    params = [*collection.changed(cells), tenant, record.id, expected]
    return collection.update, params, f"ETAG_MISMATCH {collection.prefix}{record.id}"


def _many(rows: Rows, columns: Sequence[str], cells: list[list[Any]], action: str) -> Arm:
    """Rows of one table as columns: the text stays short and the same, however many there are.

    They are touched in the order of their keys, so that two transactions never wait for each other.
    """
    places = [columns.index(column) for column in ("tenant_id", *rows.key)]
    cells.sort(key=lambda row: [str(row[place]) for place in places])
    slots = ", ".join(f"%s::{rows.types[column]}[]" for column in columns)
    return (
        f"INSERT INTO {rows.name} ({_listed(columns)}) SELECT * FROM unnest({slots})"
        f" ON CONFLICT (tenant_id, {_listed(rows.key)}) DO {action} RETURNING 1",
        _columns(cells), "",
    )  # fmt: skip


def _unnest(types: Sequence[str]) -> str:
    """The rows of so many arrays, in their order."""
    return f"SELECT * FROM unnest({', '.join(f'%s::{kind}[]' for kind in types)}) RETURNING 1"


def _columns(rows: Iterable[Sequence[Any]]) -> list[Any]:
    """Rows as what `_unnest` takes."""
    return [array(cells) for cells in zip(*rows, strict=True)]


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (dict, list)) else value


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(map(quoted, columns))


def _statement(arms: Sequence[Arm]) -> tuple[str, list[Any]]:
    if len(arms) == 1 and not arms[0][2]:
        return arms[0][0], arms[0][1]
    parts = [f"w{i} AS ({statement})" for i, (statement, _, _) in enumerate(arms)]
    params: list[Any] = [value for _, values, _ in arms for value in values]
    shown = []
    for i, (_, _, otherwise) in enumerate(arms):
        # Asked for one by one, the arms are carried out in this order; unasked, in the reverse of it.
        shown.append(
            f"guard((SELECT count(*) FROM w{i}) = 1, %s)" if otherwise else f"(SELECT count(*) FROM w{i})"
        )
        if otherwise:
            params.append(otherwise)
    return f"WITH {', '.join(parts)} SELECT {', '.join(shown)}", params
