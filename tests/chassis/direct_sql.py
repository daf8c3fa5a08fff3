"""What somebody gets who has the serving role's password and writes SQL of their own: nothing of others.

`Attack` puts a row of one organization into every table, and tries from another one, from one without any
row, and without one, whatever SQL offers. It says in sentences what it got.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql

FAR = 4_000_000_000_000  # a position that nothing has
_MARKED = {"text": "{mark}", "jsonb": '["{mark}"]', "bytea": "{mark}"}
_CELLS = {
    "bigint": FAR, "integer": 1, "smallint": 1, "boolean": False, "numeric": 1, "double precision": 1,
    "date": "2001-01-01", "timestamp with time zone": "2001-01-01T00:00:00Z", "interval": "14 days",
}  # fmt: skip
# What functions look for: otherwise they would have nothing to tell.
_KNOWN = {"field": "users.email", "state": "RUNNING", "type": "tests.Kind", "source": "tests"}
_EMPTY = {"delete_time"}

# Ways out of the role, and into what is nobody's business; none may be gone.
WAYS_OUT = (
    "SET ROLE {owner}", "SET ROLE postgres", "SET ROLE pg_read_all_data", "SET SESSION AUTHORIZATION {owner}",
    "SET SESSION AUTHORIZATION postgres", "SET session_replication_role = replica",
    "ALTER ROLE {app} BYPASSRLS", "ALTER ROLE {app} SUPERUSER", "GRANT {owner} TO {app}",
    "CREATE ROLE somebody", "CREATE SCHEMA another", "CREATE TABLE another (a int)",
    "CREATE TEMP TABLE another (a int)", "CREATE VIEW another AS SELECT 1",
    "CREATE FUNCTION leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001"
    " AS 'BEGIN RAISE NOTICE ''%'', $1; RETURN true; END'",
    "CREATE EXTENSION pg_trgm", "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
    "COPY (SELECT 1) TO PROGRAM 'true'", "COPY (SELECT 1) TO '/tmp/another'",
    "SELECT pg_read_file('/etc/hostname')", "SELECT pg_ls_dir('.')", "SELECT lo_import('/etc/hostname')",
    "SELECT * FROM pg_authid", "SELECT * FROM pg_statistic", "SELECT * FROM pg_largeobject",
    "SELECT pg_reload_conf()", "ALTER SCHEMA public OWNER TO {app}",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT ALL ON TABLES TO {app}",
)  # fmt: skip
_ALONE = ("CREATE DATABASE another", "ALTER SYSTEM SET work_mem = '1MB'")  # never part of a transaction
_OF_A_TABLE = (
    "TRUNCATE {table}", "DROP TABLE {table}", "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY", "ALTER TABLE {table} OWNER TO {app}",
    "CREATE POLICY mine ON {table} USING (true)", "DROP POLICY organization ON {table}",
    "CREATE TRIGGER mine BEFORE INSERT ON {table} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE INDEX ON {table} (tenant_id)",
)  # fmt: skip
# Who may not ask the policy first gets an error that tells of the row; from an organization without rows.
_LEAKY = (
    "SELECT count(*) FROM {table} t WHERE (t::text)::int > 0",
    "SELECT count(*) FROM {table} t WHERE 1 / (length(t::text) - length(t::text)) > 0",
    "SELECT count(*) FROM {table} t WHERE (SELECT (t::text)::date) > now()",
    "SELECT 1 FROM {table} t ORDER BY (t::text)::int LIMIT 1",
    "SELECT 1 FROM {table} t GROUP BY (t::text)::uuid",
)
_SEQUENCES = ("SELECT nextval({name})", "SELECT setval({name}, 1)", "SELECT last_value FROM {table}")


@dataclass(frozen=True)
class Table:
    """A table, partition or view as the attack writes it, and its columns with their types."""

    name: sql.Composable
    said: str
    columns: Mapping[str, str]
    may: frozenset[str]  # what the role may do with any column
    writable: frozenset[str]  # columns that it may insert


@dataclass
class Attack:
    """On one database. *roles* are (owner, serving role); nothing of it stays."""

    app: psycopg.Connection[Any]
    admin: psycopg.Connection[Any]
    roles: tuple[str, str]
    mark: str = field(default_factory=lambda: f"Foreign{uuid4().hex}")
    mine: str = field(default_factory=lambda: str(uuid4()))
    other: str = field(default_factory=lambda: str(uuid4()))
    empty: str = field(default_factory=lambda: str(uuid4()))  # an organization without a row
    found: list[str] = field(default_factory=list)
    tried: int = 0
    _tenant: str = ""

    # -- what is there ----------------------------------------------------------------------------

    def tables(self) -> list[Table]:
        """Everything with an organization; partitions stand for themselves."""
        rows = self.admin.execute(
            """
            SELECT n.nspname, c.relname, array_agg(a.attname ORDER BY a.attnum),
              array_agg(format_type(a.atttypid, NULL) ORDER BY a.attnum),
              ARRAY(SELECT verb FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) verb
                WHERE has_table_privilege(%(app)s, c.oid, verb)
                  OR verb <> 'DELETE' AND has_any_column_privilege(%(app)s, c.oid, verb)),
              array_agg(a.attname) FILTER (WHERE has_column_privilege(%(app)s, c.oid, a.attnum, 'INSERT'))
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              AND a.attidentity = '' AND a.attgenerated = ''
            WHERE n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'
              AND c.relkind IN ('r', 'p', 'v') GROUP BY n.nspname, c.relname, c.oid
            HAVING 'tenant_id' = ANY (array_agg(a.attname)) ORDER BY c.relkind = 'v', c.relname""",
            {"app": self.roles[1]},
        ).fetchall()
        return [
            Table(sql.Identifier(schema, name), name, dict(zip(columns, types, strict=True)),
                  frozenset(may), frozenset(writable or ()))
            for schema, name, columns, types, may, writable in rows
        ]  # fmt: skip

    def row(self, table: Table, tenant: str, mark: str) -> dict[str, Any]:
        """A row of that organization, whose every text says *mark*."""
        made: dict[str, Any] = {}
        for name, kind in table.columns.items():
            if name in _EMPTY:
                continue
            if kind == "uuid":
                made[name] = tenant if name == "tenant_id" else str(uuid4())
            elif kind in _MARKED:
                made[name] = _KNOWN.get(name) or _MARKED[kind].format(mark=mark)
            else:
                made[name] = _CELLS[kind]
            if name == "pos" and tenant == self.mine:  # a position has one row
                made[name] = FAR - 1
        return made

    @contextmanager
    def planted(self) -> Iterator[list[Table]]:
        """A row of mine and one of the other organization in every table, as long as it lasts."""
        tables = self.tables()
        self.admin.execute("SET session_replication_role = replica")  # what triggers would make of them
        stored = [table for table in tables if not self._is_view(table)]
        try:
            for table in stored:
                for tenant, mark in ((self.mine, "1"), (self.other, self.mark)):
                    self.admin.execute(*_insert(table, self.row(table, tenant, mark)))
            yield tables
        finally:
            for table in stored:
                gone = sql.SQL("DELETE FROM {} WHERE tenant_id IN (%s, %s)").format(table.name)
                self.admin.execute(gone, [self.mine, self.other])

    def _is_view(self, table: Table) -> bool:
        asked = "SELECT relkind = 'v' FROM pg_class WHERE oid = %s::regclass"
        row = self.admin.execute(asked, [table.name.as_string(None)]).fetchone()
        return bool(row and row[0])

    # -- trying -----------------------------------------------------------------------------------

    def be(self, tenant: str) -> None:
        """Ask for that organization from now on."""
        if tenant != self._tenant:
            self.app.execute("SELECT set_config('app.tenant_id', %s, false)", [tenant])
            self._tenant = tenant

    def ask(
        self, tenant: str, asked: Any, params: Any = None, *, keeps: bool = False
    ) -> tuple[Any, int, str]:
        """(rows, touched, SQLSTATE) of a statement of the role; everything it says is looked at.

        It is taken back, unless it *keeps* nothing anyway.
        """
        self.be(tenant)
        self.tried += 1
        rows: list[Any] = []
        touched, state = 0, ""
        try:
            with nullcontext() if keeps else self.app.transaction(force_rollback=True):
                cursor = self.app.execute(asked, params)
                touched = cursor.rowcount
                rows = cursor.fetchall() if cursor.description else []
        except psycopg.Error as no:
            state = no.sqlstate or "?"
            said = f"{no} {no.diag.message_detail} {no.diag.context} {no.diag.message_hint}"
            if self.tells(said):
                self.found.append(f"{_shown(asked)}: its error tells of another organization")
        return rows, touched, state

    def tells(self, said: object) -> bool:
        """Whether anything of the other organization is in it."""
        text = str(said)
        return self.mark in text or self.other in text or self.mark.encode().hex() in text

    def run(self, judged: Mapping[str, frozenset[str]]) -> list[str]:
        """Everything, on every table; *judged* says what each function may tell of others."""
        with self.planted() as tables:
            for table in tables:
                for tenant, whose in (("", "without an organization"), (self.mine, "from another one")):
                    self.read(table, tenant, whose)
                    self.write(table, tenant, whose)
                self.beside(table)
            self.statistics(tables)
            self.functions(judged)
        self.sequences()
        self.ways_out(tables)
        return self.found

    # -- tables -----------------------------------------------------------------------------------

    def read(self, table: Table, tenant: str, whose: str) -> None:
        """Its rows: of one's own organization alone, none without one."""
        if "SELECT" not in table.may:
            return
        rows, _, state = self.ask(tenant, sql.SQL("SELECT t::text FROM {} t").format(table.name), keeps=True)
        if self.tells(rows) or state or bool(rows) != bool(tenant):
            self.found.append(f"{table.said} read {whose}: {len(rows)} rows {state}")
        copied = b"".join(self._copy(table, tenant))
        if self.tells(copied.decode()) or bool(copied) != bool(tenant):
            self.found.append(f"{table.said} copied {whose}")
        past = sql.SQL("SET LOCAL row_security = off; SELECT t::text FROM {} t").format(table.name)
        if self.ask(tenant, past)[2] != "42501":
            self.found.append(f"{table.said} read {whose} past row-level security")

    def _copy(self, table: Table, tenant: str) -> list[bytes]:
        self.be(tenant)
        self.tried += 1
        asked = sql.SQL("COPY (SELECT t::text FROM {} t) TO STDOUT").format(table.name)
        with self.app.cursor() as cursor, cursor.copy(asked) as out:
            return [bytes(block) for block in out]

    def write(self, table: Table, tenant: str, whose: str) -> None:
        """The other organization's rows: not changed, not made, not taken, not given away."""
        at = sql.SQL("WHERE tenant_id = %s")
        for verb in ("UPDATE {} SET tenant_id = tenant_id ", "DELETE FROM {} "):
            _, touched, _ = self.ask(tenant, sql.SQL(verb).format(table.name) + at, [self.other])
            _, wholly, _ = self.ask(tenant, sql.SQL(verb).format(table.name))
            if touched > 0 or wholly > bool(tenant):
                self.found.append(f"{table.said}: {verb.split()[0]} {whose} touched others' rows")
        given = sql.SQL("UPDATE {} SET tenant_id = %s").format(table.name)
        _, touched, state = self.ask(tenant, given, [self.other])
        if touched > 0 and not state:
            self.found.append(f"{table.said}: a row given to another organization {whose}")
        theirs = self.row(table, self.other, self.mark)
        known = {name: theirs[name] for name in theirs if name in table.writable or not table.writable}
        for end in ("", " ON CONFLICT DO NOTHING"):
            insert, values = _insert(table, known, end)
            _, touched, state = self.ask(tenant, insert, values)
            if state != "42501":
                self.found.append(f"{table.said}: a row made {whose} for another: {state or touched}{end}")

    def beside(self, table: Table) -> None:
        """Not the rows, but whether there are any: keys, errors, plans; from an organization without rows."""
        if "INSERT" in table.may:
            copy = self.row(table, self.other, self.mark) | {"tenant_id": self.empty}
            copy = {name: copy[name] for name in copy if name in table.writable}
            _, _, state = self.ask(self.empty, *_insert(table, copy))
            if state in ("23505", "23503", "23P01"):
                self.found.append(f"{table.said}: a key is taken by another organization's row ({state})")
        if "SELECT" not in table.may:
            return
        for asked in _LEAKY:
            _, _, state = self.ask(self.empty, sql.SQL(asked).format(table=table.name), keeps=True)
            if state:
                self.found.append(f"{table.said}: {asked} met another's row ({state})")
        plan = sql.SQL("EXPLAIN (ANALYZE, VERBOSE, TIMING OFF) SELECT * FROM {}").format(table.name)
        rows, _, state = self.ask(self.empty, plan, keeps=True)
        if self.tells(rows) or state:
            self.found.append(f"{table.said}: its plan tells of others ({state})")

    # -- what stands beside tables ------------------------------------------------------------------

    def statistics(self, tables: list[Table]) -> None:
        """What the planner knows of all rows, nobody reads."""
        self.admin.execute(sql.SQL("ANALYZE {}").format(tables[0].name))
        rows, _, _ = self.ask(
            self.mine, "SELECT tablename FROM pg_stats WHERE tablename = ANY (%s)", [[t.said for t in tables]]
        )
        self.found += [f"{name}: its statistics are read" for (name,) in rows]

    def functions(self, judged: Mapping[str, frozenset[str]]) -> None:
        """Each tells of others what was judged, and no more."""
        rows = self.admin.execute(
            "SELECT oid::regprocedure::text, oid::regproc::text,"
            " ARRAY(SELECT format_type(t, NULL) FROM unnest(proargtypes) t) FROM pg_proc"
            " WHERE prorettype <> 'trigger'::regtype"
            " AND pronamespace::regnamespace::text NOT LIKE 'pg\\_%%'"
            " AND pronamespace <> 'information_schema'::regnamespace"
            " AND has_function_privilege(%s, oid, 'EXECUTE')",
            [self.roles[1]],
        ).fetchall()
        for name, called, types in rows:
            given = [self.mark if kind == "text" else _CELLS[kind] or True for kind in types]
            slots = ", ".join(f"%s::{kind}" for kind in types)
            for tenant in ("", self.mine):
                told = self._told(tenant, f"SELECT * FROM {called}({slots})", given)
                if more := told - judged.get(name, frozenset()):
                    self.found.append(f"{name} tells {', '.join(sorted(more))} of others")

    def _told(self, tenant: str, asked: str, given: list[Any]) -> set[str]:
        """The columns of its answer that say anything of the other organization."""
        self.be(tenant)
        self.tried += 1
        with self.app.transaction(force_rollback=True), self.app.cursor() as cursor:
            cursor.execute(asked, given)
            columns = [column.name for column in cursor.description or ()]
            return {
                name for row in cursor.fetchall() for name, cell in zip(columns, row, strict=True)
                if self.tells(cell.decode("utf-8", "replace") if isinstance(cell, bytes) else cell)
            }  # fmt: skip

    def sequences(self) -> None:
        """How many rows there are of all organizations is not told by the next number."""
        names = self.admin.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'S' AND n.nspname NOT LIKE 'pg\\_%'"
        ).fetchall()
        for schema, name in names:
            for asked in _SEQUENCES:
                there = sql.Identifier(schema, name)
                said = sql.SQL(asked).format(name=sql.Literal(there.as_string(None)), table=there)
                if self.ask(self.mine, said)[2] != "42501":
                    self.found.append(f"{name}: {asked} is allowed")

    def ways_out(self, tables: list[Table]) -> None:
        """Another role, another's file, another rule."""
        owner, app = map(sql.Identifier, self.roles)
        asked = [sql.SQL(way).format(owner=owner, app=app) for way in WAYS_OUT]
        for table in tables[:3]:  # who owns none of them: the catalogue says it of each
            asked += [sql.SQL(way).format(table=table.name, app=app) for way in _OF_A_TABLE]
        refused = [(way, self.ask(self.mine, way)[2]) for way in asked]
        refused += [(way, self.ask(self.mine, way, keeps=True)[2]) for way in _ALONE]
        for way, state in refused:
            if state not in ("42501", "0LP01"):
                self.found.append(f"{_shown(way)}: is allowed")


def _insert(table: Table, row: Mapping[str, Any], end: str = "") -> tuple[sql.Composable, list[Any]]:
    made = sql.SQL("INSERT INTO {} ({}) VALUES ({}) " + end).format(
        table.name,
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(sql.Placeholder() * len(row)),
    )
    return made, list(row.values())


def _shown(asked: Any) -> str:
    return asked.as_string(None) if isinstance(asked, sql.Composable) else str(asked)
