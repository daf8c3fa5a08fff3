"""What a service keeps: collections of records, read models, plain rows, and the chassis' own tables.

Every table leads its keys with `tenant_id` and stands under row-level security (see `migrate`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import dialect as PsycopgDialect

from chassis.columns import Field, defaults_of, field_of, hints_of
from chassis.kernel.record import Owned, Record, replace
from chassis.kernel.refusals import Refused
from chassis.kernel.share import Share
from chassis.personal.keys import Ring
from chassis.personal.sealing import Broken, Lock, Sealed, ways_of
from chassis.personal.veil import VEIL, Veil
from chassis.scope import PLAIN, Place

_POSTGRES = PsycopgDialect()  # type: ignore[no-untyped-call]
R = TypeVar("R", bound=Record)


def camel(snake: str) -> str:
    """`price_lists` → `priceLists`: a table's name as the collection segment of resource names."""
    return re.sub(r"_(\w)", lambda match: match[1].upper(), snake)


def quoted(column: str) -> str:
    """A column's name in SQL text: a field may be called `order` or `end`."""
    return f'"{column}"'


def tenant_column() -> sa.Column[Any]:
    """The first column of every key: which organization a row belongs to."""
    return sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False, primary_key=True)


TERRITORY = "territory"


def placed_column() -> sa.Column[Any]:
    """The territory of the customer that a row names, as the database keeps it."""
    return sa.Column(TERRITORY, sa.Text(), nullable=False, server_default="")


NOTHING = "="  # the token of a veiled field that is empty
PERSON_KEY = "person_key"  # the generation that the row's values are sealed under, and the salt of their key


@dataclass(frozen=True)
class Question:
    """What records may be filtered by that is no field of theirs: `may_contact = "MARKETING/EMAIL"`.

    *reads* are the fields it is answered from: who may not see one of them may not ask. *condition* makes
    SQL and parameters of the value; a ValueError says what would be right.
    """

    reads: tuple[str, ...]
    condition: Callable[[str], tuple[str, list[Any]]]


class Collection(Generic[R]):
    """A table of one record type: a row per record, scalars as columns, nested values as JSONB.

    *index* and *unique* name column groups; the organization leads each of them. A unique group
    applies to rows where none of its columns is empty and the record is not deleted. *checks* are rules of
    the table by name, *private* fields can be neither filtered nor ordered by, *append_only* records are
    never changed by the service itself. *follows* = ("customer", "customers") says that the records have no
    hands of their own: whoever is shared the customer that they name is shared them. *within* says, of a
    record that nobody owns, which field names the record that it belongs to, and of what type, or of which
    of several, that is: who reaches that one reaches it. *questions* may be asked in filters beside fields.
    *placed* records are in the territory of the customer that they name: a column that the database keeps by
    itself (schema.PLACE), and the scope looks at.
    *sealed* names the personal fields and how each is looked for: they are kept encrypted, with the salt of
    the person's key in the row; everything above sees plain values. *veil* seals more of some of the records.
    *about* are the fields that name whom a record is about, *names* the texts that call people by name;
    *by_law* says that law asks for such records to be kept as they are, whoever wants to be forgotten.
    """

    name: str
    table: sa.Table
    place: Place = PLAIN

    def __init__(
        self, record: type[R], *, index: Sequence[Sequence[str]] = (), unique: Sequence[Sequence[str]] = (),
        checks: Mapping[str, str] | None = None, append_only: bool = False, private: Sequence[str] = (),
        follows: tuple[str, str] = ("", ""), sealed: Sealed | None = None,
        within: tuple[str, *tuple[type[Record], ...]] | None = None,
        questions: Mapping[str, Question] | None = None, about: Sequence[str] = (), names: Sequence[str] = (),
        by_law: bool = False, placed: bool = False, veil: Veil | None = None,
    ) -> None:  # fmt: skip
        self.placed, self.veil = placed, veil
        self.about, self.names, self.by_law = tuple(about), tuple(names), by_law
        self.sealed, self.within, self.questions = dict(sealed or {}), within, dict(questions or {})
        self.record, self.index, self.unique = record, index, unique
        self.checks, self.append_only, self.private = dict(checks or {}), append_only, frozenset(private)
        self.owned, self.follows = issubclass(record, Owned), follows

    def attach(self, name: str, metadata: sa.MetaData) -> None:
        """Make the table; called once by the store's class."""
        self.name, self.prefix = name, camel(name) + "/"
        self.fields = [field_of(field, hint) for field, hint in hints_of(self.record).items()]
        self.by_name = {field.name: field for field in self.fields}
        self.defaults = defaults_of(self.record)
        columns: list[sa.Column[Any]] = [tenant_column()]
        for field in self.fields:
            for column in field.columns:
                column.primary_key = field.name == "id"
                columns.append(column)
        if self.veil:
            self.veil.attach(self.record)
            columns.append(sa.Column(VEIL, sa.Text(), nullable=True))
        if self.sealed:
            columns.append(sa.Column(PERSON_KEY, sa.LargeBinary(), nullable=True))
        rules = [
            sa.CheckConstraint(rule, name=f"{name}_{rule_name}") for rule_name, rule in self.checks.items()
        ]
        kept = [placed_column()] if self.placed else []  # by the database
        self.table = sa.Table(name, metadata, *columns, *kept, *rules, info={"append_only": self.append_only})
        self.columns = [column.name for column in columns[1:]]
        self._indexes()
        self._statements()
        self._ways()

    @property
    def lies(self) -> bool:
        """Whether its rows say in which territory they are."""
        return self.placed or TERRITORY in self.by_name

    def be_shared(self, leader: Collection[Any] | None) -> None:
        """Its records can be shared: the scope looks at shares and at the rows of `collaborations`."""
        column, name = self.follows
        self.place = Place(
            noun=self.prefix, follows=quoted(column) if column else "", leader=f"{camel(name)}/",
            territory=TERRITORY if self.lies else "",
            above=name if leader and leader.lies and not self.lies else "",
        )  # fmt: skip

    def _indexes(self) -> None:
        for group in (*self.index, *([(TERRITORY,)] if self.placed else [])):
            cells = [self.table.c[column] for column in group]
            sa.Index(f"{self.name}_by_{'_'.join(group)}", self.table.c.tenant_id, *cells, self.table.c.id)
        for group in self.unique:
            cells = [self.table.c[column] for column in group]
            present = [c != "" if isinstance(c.type, sa.Text) else c.is_not(None) for c in cells]
            where = sa.and_(self.table.c.delete_time.is_(None), *present)
            sa.Index(
                f"{self.name}_unique_{'_'.join(group)}", self.table.c.tenant_id, *cells,
                unique=True, postgresql_where=where,
            )  # fmt: skip

    def _statements(self) -> None:
        listed = ", ".join(map(quoted, self.columns))
        slots = ", ".join(["%s"] * len(self.columns))
        changes = ", ".join(f"{quoted(column)} = %s" for column in self.columns if column != "id")
        self.select = f"SELECT {listed} FROM {self.name} WHERE tenant_id = %s"
        self.insert = f"INSERT INTO {self.name} (tenant_id, {listed}) VALUES (%s, {slots}) RETURNING 1"
        written = [self.table.c[column] for column in ("tenant_id", *self.columns)]
        arrays = ", ".join(f"%s::{kind}[]" for kind in self.types_of(column.name for column in written))
        self.insert_many = (
            f"INSERT INTO {self.name} (tenant_id, {listed}) SELECT * FROM unnest({arrays}) RETURNING 1"
        )
        self.update = (
            f"UPDATE {self.name} SET {changes} WHERE tenant_id = %s AND id = %s AND version = %s RETURNING 1"
        )
        self.delete = f"DELETE FROM {self.name} WHERE tenant_id = %s AND id = %s AND version = %s RETURNING 1"
        self._changed = [i for i, column in enumerate(self.columns) if column != "id"]

    def types_of(self, columns: Iterable[str]) -> list[str]:
        """What PostgreSQL calls the types of columns."""
        return [self.table.c[column].type.compile(_POSTGRES) for column in columns]

    def row(self, record: R, lock: Lock | None = None, *, plain: bool = False) -> list[Any]:
        """The record's cells in the order of `columns`, sealed with a *lock* unless they stay *plain*."""
        cells: list[Any] = []
        veil = self.veil if lock and not plain and self.veil and self.veil.covers(record) else None
        open_ = veil.bare(record) if veil else record
        for name, to, two in self._to_cells:
            value = getattr(open_, name)
            if two:
                cells += (None, None) if value is None else to(value)
            else:
                cells.append(value if to is None or value is None else to(value))
        if self.sealed:
            for way, at in self.ways if lock and not plain else ():
                cells[at] = way.into(getattr(record, way.name), lock)
            if self.veil:
                cells.append(veil.seal(record, lock) if veil and lock else None)
            cells.append(lock.person_key if lock else None)
        return cells

    def sealed_cells(self, record: R, lock: Lock) -> list[Any]:
        """Of the record's cells those that sealing has a part in (`resealed`)."""
        row = self.row(record, lock)
        return [row[at] for at in self.resealed]

    def personal(self, record: R) -> bool:
        """Whether the record says anything that has to be sealed."""
        return any(way.says(getattr(record, way.name)) for way, _ in self.ways) or bool(
            self.veil and self.veil.covers(record)
        )

    def refuse_erased(self, record: R) -> None:
        """PERSON_ERASED when a record whose person was erased says something personal again."""
        if getattr(record, "erase_time", None) is None:
            return
        for way, _ in self.ways:
            if way.says(getattr(record, way.name)):
                raise Refused("PERSON_ERASED", field=way.name, name=self.prefix + record.id)
        if self.veil and (name := self.veil.covers(record)):
            raise Refused("PERSON_ERASED", field=name, name=self.prefix + record.id)

    def emptied(self, record: R) -> R:
        """The record without anything that has to be sealed."""
        return replace(record, **{way.name: way.empty(getattr(record, way.name)) for way, _ in self.ways})

    def tokens(self, record: R) -> set[tuple[str, str, bool]]:
        """(field, token, whether looked for everywhere) of all that finds the record in the blind index."""
        found: set[tuple[str, str, bool]] = set()
        veiled = self.veil.sealed if self.veil else {}
        covered = bool(self.veil and self.veil.covers(record))
        for name, find in self.found_by.items():
            if name in veiled and not covered:
                continue
            value = getattr(record, name)
            for one in value if isinstance(value, tuple) else (value,):
                # That there is nothing is looked for as well: the open cell does not tell.
                tokens = find.tokens(one) or ({NOTHING} if name in veiled else set())
                found |= {(f"{self.name}.{name}", token, find.shared) for token in tokens}
        return found

    def changed(self, row: Sequence[Any]) -> list[Any]:
        """The cells of an update: all but the id."""
        return [row[i] for i in self._changed]

    def load(self, row: Sequence[Any], ring: Ring | None = None) -> R:
        """A record from cells in the order of `columns`; raises sealing's Broken and UnknownGeneration."""
        values = dict(zip(self._plain, self._cells(row), strict=True))
        if self.sealed:
            self._open(values, row, ring)
        for name, at, back, two in self._made:
            cell = row[at]
            values[name] = None if cell is None else back((cell, row[at + 1])) if two else back(cell)
        for name, missing in self._missing:
            if values[name] is None:
                values[name] = missing
        if self.veil:
            self._lift(values, row, ring)
        made = object.__new__(self.record)  # its __init__ would only set the same, one by one
        object.__setattr__(made, "__dict__", values)
        return made

    def _lock(self, row: Sequence[Any], ring: Ring | None) -> tuple[Lock | None, bool]:
        """(what opens the row's cells, whether it is somebody's work where one is plain)."""
        lock = ring.lock(row[-1], self.name, row[0]) if ring and row[-1] else None
        return lock, ring is not None and ring.strict

    def _lift(self, values: dict[str, Any], row: Sequence[Any], ring: Ring | None) -> None:
        assert self.veil
        if row[-2] or values[self.veil.field] == self.veil.value:
            self.veil.lift(values, row[-2], *self._lock(row, ring))

    def _open(self, values: dict[str, Any], row: Sequence[Any], ring: Ring | None) -> None:
        lock, strict = self._lock(row, ring)
        for way, at in self.ways:
            try:
                values[way.name] = way.out(row[at], lock, strict)
            except Broken:
                raise Broken(way.name) from None

    def _ways(self) -> None:
        """How `row` and `load` go: a cell as it is, or made of or into cells; NULL may mean a default."""
        at, plain, cells = 0, list[str](), list[int]()
        self._to_cells: list[tuple[str, Any, bool]] = [
            (f.name, None if f.as_it_is else f.to, f.two) for f in self.fields
        ]
        self._made: list[tuple[str, int, Any, bool]] = []
        ways = {way.name: way for way in ways_of(self.sealed, self.by_name)}
        below = self.veil.sealed if self.veil else {}
        self.found_by = {name: find for name, find in (self.sealed | below).items() if find}
        self.ways: list[tuple[Any, int]] = []
        for field in self.fields:
            if field.name in ways:
                self.ways.append((ways[field.name], at))
            elif field.as_it_is:
                plain.append(field.name)
                cells.append(at)
            else:
                self._made.append((field.name, at, field.back, field.two))
            at += len(field.columns)
        self._plain, self._cells = plain, itemgetter(*cells)
        covered = [*below, *(self.veil.made if self.veil else ())]
        veiled = [
            self.columns.index(column.name) for name in covered for column in self.by_name[name].columns
        ]
        last = range(len(self.columns) - (2 if self.veil else 1), len(self.columns))
        self.resealed = [*(at for _, at in self.ways), *veiled, *last] if self.sealed else []
        self._missing = [
            (field.name, self.defaults[field.name]) for field in self.fields
            if not field.optional and field.name in self.defaults
        ]  # fmt: skip

    def field(self, name: str) -> Field | None:
        """A field of the record by its name."""
        return self.by_name.get(name)


class Shares(Collection[Share]):
    """The shares of a service's records. A store that has one lets all its owned records be shared."""

    def __init__(self, service: str) -> None:
        super().__init__(
            Share, index=(("grantee", "record"), ("expire_time",)), unique=(("record", "grantee"),)
        )
        self.service = service

    def attach(self, name: str, metadata: sa.MetaData) -> None:
        """Its names say which service keeps them: "shares/customer/…"."""
        super().attach(name, metadata)
        self.prefix = f"shares/{self.service}/"


class Rows:
    """A plain table that is no record: balances, entries, dimension rows.

    *key* names the columns that, after the organization, identify a row. *append_only* rows can be
    inserted and read, never changed, by the service itself.
    """

    def __init__(
        self, name: str, *columns: sa.Column[Any] | sa.Constraint | sa.Index,
        key: Sequence[str], append_only: bool = False, index: Sequence[Sequence[str]] = (),
    ) -> None:  # fmt: skip
        self.name, self.parts, self.key = name, columns, tuple(key)
        self.append_only, self.index = append_only, index

    def attach(self, name: str, metadata: sa.MetaData) -> None:
        """Make the table; called once by the store's class."""
        for part in self.parts:
            if isinstance(part, sa.Column):
                part.primary_key = part.name in self.key
                part.nullable = part.nullable and not part.primary_key
        info = {"append_only": self.append_only}
        self.table = sa.Table(self.name, metadata, tenant_column(), *self.parts, info=info)
        self.types = {column.name: column.type.compile(_POSTGRES) for column in self.table.columns}
        for group in self.index:
            cells = [self.table.c[column] for column in group]
            sa.Index(f"{self.name}_by_{'_'.join(group)}", self.table.c.tenant_id, *cells)

    @property
    def c(self) -> sa.sql.base.ReadOnlyColumnCollection[str, sa.Column[Any]]:
        """The table's columns, for statements."""
        return self.table.c


class ReadModel(Rows):
    """Sums per key, folded from events: `tx.fold(model, key={…}, add={…})`."""

    def __init__(
        self, name: str, *, key: Mapping[str, Any], sums: Sequence[str], index: Sequence[Sequence[str]] = ()
    ) -> None:
        cells = [sa.Column(column, kind, nullable=False) for column, kind in key.items()]
        added = [sa.Column(s, sa.BigInteger(), nullable=False, server_default="0") for s in sums]
        super().__init__(name, *cells, *added, key=tuple(key), index=index)
        self.sums = tuple(sums)
