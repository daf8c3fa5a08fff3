"""One database per service, with one role that owns its tables and one that only uses them."""

from __future__ import annotations

import psycopg
from psycopg import sql

LOCKED = 0x7261_6465  # two installers of one cluster take turns


def ensure(admin: str, name: str, *, owner_password: str, app_password: str) -> None:
    """Make database *name* with roles `<name>_owner` and `<name>_app`, or bring them to what they must be."""
    owner, app = f"{name}_owner", f"{name}_app"
    with psycopg.connect(admin, autocommit=True) as db:
        db.execute("SELECT pg_advisory_lock(%s)", [LOCKED])
        for role, password in ((owner, owner_password), (app, app_password)):
            if not db.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                db.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
            db.execute(
                sql.SQL(
                    "ALTER ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE"
                    " NOREPLICATION PASSWORD {}"
                ).format(sql.Identifier(role), sql.Literal(password))
            )
        if not db.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            db.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner))
            )
        for statement in (
            "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
            "GRANT CONNECT ON DATABASE {database} TO {app}",
            # Those that every cluster has are open to every role otherwise.
            "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC",
            "REVOKE CONNECT ON DATABASE template1 FROM PUBLIC",
        ):
            db.execute(sql.SQL(statement).format(database=sql.Identifier(name), app=sql.Identifier(app)))
    with psycopg.connect(admin, dbname=name, autocommit=True) as db:
        for statement in (
            "ALTER SCHEMA public OWNER TO {owner}",
            "REVOKE ALL ON SCHEMA public FROM PUBLIC",
            "GRANT USAGE ON SCHEMA public TO {app}",
            "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public"
            " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app}",
            # Numbers of rows come without a right to their sequence, which would tell how many there are.
            "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public REVOKE ALL ON SEQUENCES FROM {app}",
        ):
            db.execute(sql.SQL(statement).format(owner=sql.Identifier(owner), app=sql.Identifier(app)))
