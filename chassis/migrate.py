"""Schema changes: one reviewed Alembic history per service, and row-level security on every table.

Histories run without an env.py of their own. A migration calls `secure(table)` for each table it makes,
so that the service's role sees one organization at a time and owns nothing.
"""

from __future__ import annotations

import importlib
import json
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import op
from alembic.autogenerate import compare_metadata, produce_migrations, render_python_code
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations.ops import CreateTableOp
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from chassis import schema
from chassis.audit import schema as audit_schema
from chassis.tables import camel

TENANT = "tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid"


def _sqlalchemy_url(url: str) -> str:
    return "postgresql+psycopg://" + url.partition("://")[2]


def _config(package: str, app_role: str) -> Config:
    folder = Path(str(importlib.import_module(package).__file__)).parent / "migrations"
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["app_role"] = app_role
    return config


def upgrade(package: str, owner_url: str, app_url: str) -> list[str]:
    """Bring the database of a service package to its newest schema; the revisions that were applied."""
    config = _config(package, urlsplit(app_url).username or "")
    script = ScriptDirectory.from_config(config)
    applied: list[str] = []
    engine = sa.create_engine(_sqlalchemy_url(owner_url), poolclass=sa.pool.NullPool)

    def steps(revision: Any, _context: Any) -> Any:
        found = script._upgrade_revs("head", revision)
        applied.extend(str(step.to_revisions_no_deps[0]) for step in found)
        return found

    with engine.connect() as connection, EnvironmentContext(config, script, fn=steps) as environment:
        # Two processes that migrate at once take turns; the second finds nothing left to do. It asks again
        # and again: waiting inside a statement, it would be waited for by an index made CONCURRENTLY.
        while not connection.execute(sa.text("SELECT pg_try_advisory_lock(7236450)")).scalar():
            connection.commit()
            time.sleep(0.2)
        connection.commit()
        environment.configure(connection=connection, transactional_ddl=True)
        with environment.begin_transaction():
            environment.run_migrations()
        connection.commit()
    return applied


def _context(connection: sa.Connection) -> MigrationContext:
    def ours(name: str | None, kind: str, _parents: Any) -> bool:
        return not (kind == "table" and name in (*schema.TABLES, "alembic_version"))

    return MigrationContext.configure(connection, opts={"compare_type": True, "include_name": ours})


def difference(metadata: sa.MetaData, owner_url: str) -> list[Any]:
    """What the migrated schema and the records disagree on; nothing, when the history is complete."""
    engine = sa.create_engine(_sqlalchemy_url(owner_url), poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        return list(compare_metadata(_context(connection), metadata))


def draft(package: str, metadata: sa.MetaData, owner_url: str, message: str) -> str:
    """The text of a migration from the database as it is to the records as they are: to be reviewed."""
    engine = sa.create_engine(_sqlalchemy_url(owner_url), poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        made = produce_migrations(_context(connection), metadata)
    assert made.upgrade_ops is not None
    body = render_python_code(made.upgrade_ops)
    # The renderer does not import what it names here, and signs what it made.
    body = body.replace("JSONB(astext_type=Text())", "JSONB()").replace(
        "JSONB(astext_type=sa.Text())", "JSONB()"
    )
    body = "\n".join(line for line in body.splitlines() if "###" not in line and "info={" not in line)
    head = ScriptDirectory.from_config(_config(package, "")).get_current_head()
    secured = []
    for step in made.upgrade_ops.ops:
        if isinstance(step, CreateTableOp):
            frozen = metadata.tables[step.table_name].info.get("append_only")
            secured.append(f'secure("{step.table_name}"{", append_only=True" if frozen else ""})')
    # The renderer indents every line but the first.
    steps = [*(["install()"] if head is None else []), textwrap.dedent(f"    {body.strip()}"), *secured]
    imports = ["import sqlalchemy as sa", "from alembic import op"]
    if "postgresql." in body:
        imports.append("from sqlalchemy.dialects import postgresql")
    names = [name for name in ("install", "secure") if any(step.startswith(f"{name}(") for step in steps)]
    ours = f"\nfrom chassis.migrate import {', '.join(names)}\n" if names else ""
    return (
        f'"""{message}"""\n\n{chr(10).join(imports)}\n{ours}\n'
        f'revision = "{int(head or 0) + 1:04d}"\ndown_revision = {json.dumps(head) if head else None}\n\n\n'
        "def upgrade() -> None:\n" + textwrap.indent("\n".join(steps), "    ") + "\n"
    )


def _app_role() -> str:
    role = op.get_context().config.attributes["app_role"]  # type: ignore[union-attr]
    return sa.sql.quoted_name(role, quote=True) if role else ""


def secure(table: str, append_only: bool = False) -> None:
    """Put a table under row-level security and let the service's role use it.

    A table without `tenant_id` belongs to the process itself (cursors, leases) and only gets its grants.
    """
    preparer = op.get_bind().dialect.identifier_preparer
    role = preparer.quote(_app_role()) if _app_role() else ""
    verbs = "SELECT, INSERT" if append_only else "SELECT, INSERT, UPDATE, DELETE"
    # Facts are written once: numbering them is the owner's functions' work.
    owners = {
        "outbox_head": "SELECT", "outbox": "SELECT, INSERT", "outbox_branches": "SELECT",
        # Generations end, and phases change, by the owner's hand.
        "sealing": "SELECT, UPDATE (shared)", "data_keys": "SELECT, INSERT",
        "call_places": "SELECT, INSERT", "checkpoints": "SELECT, INSERT",
    }  # fmt: skip
    verbs = owners.get(table, verbs)
    if role:
        op.execute(f"REVOKE ALL ON {table} FROM {role}")
        op.execute(f"GRANT {verbs} ON {table} TO {role}")
    has_tenant = sa.inspect(op.get_bind()).get_columns(table)
    if not any(column["name"] == "tenant_id" for column in has_tenant):
        return
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY organization ON {table} USING ({TENANT}) WITH CHECK ({TENANT})")
    # The owner's functions (sequencer, due work) and migrations see every row; the service's role is not it.
    op.execute(f"CREATE POLICY keeper ON {table} TO CURRENT_USER USING (true) WITH CHECK (true)")


def install() -> None:
    """What the first migration of every service begins with: the chassis' own tables and functions."""
    op.get_bind().exec_driver_sql(schema.SCHEMA_1.replace("%", "%%"))
    for table in schema.TABLES_1:
        secure(table)


def install_measures() -> None:
    """What a process may tell of its service: the second text of the chassis' own schema."""
    op.get_bind().exec_driver_sql(schema.SCHEMA_2.replace("%", "%%"))
    for table in schema.TABLES_2:
        secure(table)


def install_epochs() -> None:
    """What a restoration leaves behind, and an outbox that may end: the third text of the chassis' schema."""
    op.get_bind().exec_driver_sql(schema.SCHEMA_3.replace("%", "%%"))
    for table in schema.TABLES_3:
        secure(table)


def install_shares(*tables: str) -> None:
    """Shares of the records in these tables, and rows that say who collaborates on them."""
    op.get_bind().exec_driver_sql(schema.SCHEMA_SHARES.replace("%", "%%"))
    for table in ("shares", *schema.TABLES_SHARES):
        secure(table)
    for table in tables:
        collaborate(table)


def collaborate(table: str) -> None:
    """Who collaborates on the records of this table is kept as rows too, from now on and for those there."""
    statements = schema.COLLABORATE.format(table=table, noun=f"{camel(table)}/")
    op.get_bind().exec_driver_sql(statements.replace("%", "%%"))


def install_territories(*tables: str, of: Mapping[str, str] | None = None, ends: str = ", id") -> None:
    """The territories of customers, and of the records in these tables that name one.

    *of* says for a table how the records of `said.customer` are found where it has no index by customer;
    *ends* is how the indexes by territory end.
    """
    bind = op.get_bind()
    bind.exec_driver_sql(schema.SCHEMA_TERRITORIES)
    secure("customer_territories")
    updates = []
    for table in tables:
        bind.exec_driver_sql(schema.PLACE.format(table=table, ends=ends))
        customer = (of or {}).get(table, "customer = said.customer")
        updates.append(schema.HANDED_DOWN.format(table=table, customer=customer))
    bind.exec_driver_sql(schema.HAND_DOWN.format(updates="\n  ".join(updates)))
    for_triggers("take_territory()", "hand_territory_down()")


def for_triggers(*functions: str) -> None:
    """Only triggers call these: the service's role does not."""
    preparer = op.get_bind().dialect.identifier_preparer
    for function in functions:
        op.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
        if role := _app_role():
            op.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM {preparer.quote(role)}")


def install_sealing() -> None:
    """The keys of personal values and what they are found by: the fourth text of the chassis' schema."""
    op.get_bind().exec_driver_sql(schema.SCHEMA_4.replace("%", "%%"))
    for table in schema.TABLES_4:
        secure(table)


def install_audit() -> None:
    """Where calls come from, what the hash of a fact covers, and the checkpoints of others."""
    op.get_bind().exec_driver_sql(audit_schema.SCHEMA_AUDIT.replace("%", "%%"))
    for table in audit_schema.TABLES_AUDIT:
        secure(table)


def install_turns() -> None:
    """Numbering that neither locks nor writes where there is nothing to number."""
    op.get_bind().exec_driver_sql(schema.SCHEMA_5.replace("%", "%%"))


def index_audit() -> None:
    """The indexes that the audit trail is read by; made beside the work, and anew if that was broken off."""
    with op.get_context().autocommit_block():
        for name, what in audit_schema.INDEXES_AUDIT.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON outbox {what}")


def close() -> None:
    """Take from the service's role, and from everybody, what no service needs.

    Functions, those of later migrations too, are carried out by the service's role alone, and none that
    only triggers call. It writes no number and no hash into a fact, touches no sequence (identities need no
    right to theirs) and does not say of which schema the database is.
    """
    bind = op.get_bind()
    role = bind.dialect.identifier_preparer.quote(_app_role()) if _app_role() else ""
    # A function is everybody's by default, whatever its schema: that is taken back without naming one.
    op.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
    if role:
        op.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO {role}")
        op.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON SEQUENCES FROM {role}")
        op.execute(f"REVOKE ALL ON outbox_id_seq, alembic_version, outbox FROM {role}")
        op.execute(f"GRANT SELECT ON alembic_version, outbox TO {role}")
        op.execute(
            "GRANT INSERT (part, event_id, tenant_id, record, record_version, nth, type, payload, actor,"
            " on_behalf_of, cause, traceparent, occurred_at, place, concerns)"
            f" ON outbox TO {role}"
        )
    ours = bind.exec_driver_sql(
        "SELECT oid::regprocedure::text, prorettype = 'trigger'::regtype FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace AND pg_get_userbyid(proowner) = current_user"
    )
    for function, by_triggers in ours.fetchall():
        op.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
        if role and not by_triggers:
            op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {role}")


def main() -> None:
    """`python -m chassis.migrate draft services.customer "message" OWNER_URL` prints a migration."""
    _, verb, package, message, url = sys.argv
    if verb != "draft":
        raise SystemExit("say: draft PACKAGE MESSAGE OWNER_URL")
    service = importlib.import_module(f"{package}.service").SERVICE
    print(draft(package, service.store.metadata, url, message))


if __name__ == "__main__":
    main()
