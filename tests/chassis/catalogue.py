"""What a service's database is made of, and where its catalogue does not keep organizations apart."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

OWN = "(tenant_id = (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid)"

# Tables, partitions and views outside of PostgreSQL's own schemas, and whether rows say whose they are.
_OURS = """
WITH ours AS (
  SELECT c.oid, c.oid::regclass::text AS name, c.relkind, c.relrowsecurity, c.relforcerowsecurity,
    c.relowner, c.relacl, c.reloptions, EXISTS (SELECT 1 FROM pg_attribute a
      WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped) AS organized
  FROM pg_class c WHERE c.relnamespace <> 'pg_catalog'::regnamespace
    AND c.relnamespace <> 'information_schema'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND c.relnamespace::regnamespace::text NOT LIKE 'pg\\_%%'),
functions AS (
  SELECT p.*, p.oid::regprocedure::text AS name FROM pg_proc p
  WHERE p.pronamespace::regnamespace::text NOT LIKE 'pg\\_%%'
    AND p.pronamespace <> 'information_schema'::regnamespace)
"""

# What must not be there → the names of those that are, as SQL; %(app)s is the service's role.
_RULES = {
    "has an organization and no forced row-level security": """
      SELECT name FROM ours WHERE organized AND relkind IN ('r', 'p')
        AND NOT (relrowsecurity AND relforcerowsecurity)""",
    "has an organization and no policy that says so": """
      SELECT name FROM ours o WHERE organized AND relkind IN ('r', 'p') AND NOT EXISTS (
        SELECT 1 FROM pg_policy p WHERE p.polrelid = o.oid AND p.polcmd = '*' AND p.polroles = '{0}')""",
    "has a policy for the role that says something else than the organization": """
      SELECT o.name FROM ours o JOIN pg_policy p ON p.polrelid = o.oid
      WHERE (p.polroles = '{0}' OR to_regrole(%(app)s) = ANY (p.polroles)) AND NOT (
        pg_get_expr(p.polqual, o.oid) = %(own)s AND pg_get_expr(p.polwithcheck, o.oid) = %(own)s) IS TRUE""",
    "is a policy for others than everybody and the tables' owner": """
      SELECT o.name || '.' || p.polname FROM ours o JOIN pg_policy p ON p.polrelid = o.oid
      WHERE p.polroles <> '{0}' AND p.polroles <> ARRAY[o.relowner]""",
    # A key of which the role writes no column is not found out by writing what is there already.
    "is a key that does not lead with the organization": """
      SELECT i.indexrelid::regclass::text FROM ours o JOIN pg_index i ON i.indrelid = o.oid
      WHERE o.organized AND (i.indisunique OR i.indisexclusion) AND NOT EXISTS (
          SELECT 1 FROM pg_attribute a
          WHERE a.attrelid = o.oid AND a.attnum = i.indkey[0] AND a.attname = 'tenant_id')
        AND NOT EXISTS (
          SELECT 1 FROM pg_attribute a WHERE a.attrelid = o.oid AND a.attnum = ANY (i.indkey)
            AND NOT has_column_privilege(%(app)s, o.oid, a.attnum, 'INSERT')
            AND NOT has_column_privilege(%(app)s, o.oid, a.attnum, 'UPDATE'))""",
    "is a foreign key that does not lead with the organization on both sides": """
      SELECT k.conname FROM pg_constraint k JOIN ours o ON o.oid IN (k.conrelid, k.confrelid)
      WHERE k.contype = 'f' AND o.organized AND NOT (
        EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
                AND a.attname = 'tenant_id')
        AND EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = k.confrelid AND a.attnum = k.confkey[1]
                AND a.attname = 'tenant_id'))""",
    "is a view that reads as its owner": """
      SELECT name FROM ours WHERE relkind = 'v'
        AND NOT coalesce('security_invoker=true' = ANY (reloptions), false)""",
    "is a copy without row-level security that the role may read": """
      SELECT name FROM ours WHERE relkind IN ('m', 'f') AND has_table_privilege(%(app)s, oid, 'SELECT')""",
    "may be emptied, referred to, triggered or maintained by the role": """
      SELECT name FROM ours WHERE CASE relkind WHEN 'S' THEN false ELSE
        has_table_privilege(%(app)s, oid, 'TRUNCATE, REFERENCES, TRIGGER, MAINTAIN') END""",
    "is a sequence that tells the role how many rows others have": """
      SELECT name FROM ours WHERE CASE relkind WHEN 'S'
        THEN has_sequence_privilege(%(app)s, oid, 'USAGE, SELECT, UPDATE') ELSE false END""",
    "is open to others than its owner and the role": """
      SELECT o.name FROM ours o, aclexplode(o.relacl) a
      WHERE a.grantee NOT IN (o.relowner, to_regrole(%(app)s))
        OR a.grantee <> o.relowner AND a.is_grantable""",
    "is carried out by others than its owner and the role": """
      SELECT f.name FROM functions f, aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a
      WHERE a.grantee NOT IN (f.proowner, to_regrole(%(app)s))""",
    "runs as its owner without a search_path of its own": """
      SELECT name FROM functions WHERE prosecdef
        AND NOT coalesce('search_path=pg_catalog, public' = ANY (proconfig), false)""",
    "is said to leak nothing": "SELECT name FROM functions WHERE proleakproof",
    "belongs to the role": """
      SELECT pg_describe_object(classid, objid, objsubid) FROM pg_shdepend
      WHERE refclassid = 'pg_authid'::regclass AND refobjid = to_regrole(%(app)s) AND deptype = 'o'""",
    "is what no serving role is": """
      SELECT rolname || ': ' || said FROM pg_roles, LATERAL (VALUES ('a superuser', rolsuper),
        ('beyond row-level security', rolbypassrls), ('a maker of roles', rolcreaterole),
        ('a maker of databases', rolcreatedb), ('a replica', rolreplication)) AS t (said, so)
      WHERE rolname = %(app)s AND so""",
    "has the role as a member": """
      SELECT roleid::regrole::text FROM pg_auth_members WHERE member = to_regrole(%(app)s)""",
    "is where the role may make things": """
      SELECT nspname FROM pg_namespace WHERE has_schema_privilege(%(app)s, oid, 'CREATE')
      UNION SELECT datname FROM pg_database WHERE datname = current_database()
        AND has_database_privilege(%(app)s, oid, 'CREATE, TEMP')""",
    "is another database that the role gets into": """
      SELECT datname FROM pg_database WHERE datallowconn AND datname <> current_database()
        AND has_database_privilege(%(app)s, oid, 'CONNECT')""",
    "is a schema that nobody has judged": """
      SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%%'
        AND nspname NOT IN ('information_schema', 'public')""",
}


@dataclass(frozen=True)
class Judged:
    """What a person has said of a table or function: what the role may do, and what it is told of others."""

    service: str
    kind: str
    name: str
    may: str
    tells: frozenset[str]
    why: str


def judged() -> list[Judged]:
    """The reviewed list; the service "*" stands for every one."""
    with (Path(__file__).parent / "catalogue.tsv").open(encoding="utf-8", newline="") as file:
        return [
            Judged(**row | {"tells": frozenset(row["tells"].split())})  # type: ignore[arg-type]
            for row in csv.DictReader(file, delimiter="\t")
        ]


def faults(db: psycopg.Connection[Any], app: str) -> list[str]:
    """Sentences about all in the database that lets the role *app* reach beyond one organization."""
    found = []
    for sentence, asked in _RULES.items():
        rows = db.execute(_OURS + asked, {"app": app, "own": OWN}).fetchall()
        found += sorted({f"{name} {sentence}" for (name,) in rows})
    return found


def things(db: psycopg.Connection[Any], app: str) -> dict[tuple[str, str], str]:
    """(kind, name) of every table and function → what the role may do with it."""
    rows = db.execute(
        _OURS
        + """
        SELECT CASE WHEN relkind IN ('v', 'm') THEN 'view' WHEN organized THEN 'organization'
          ELSE 'process' END, name, array_to_string(ARRAY(
            SELECT verb FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS verb
            WHERE has_table_privilege(%(app)s, oid, verb)
              OR verb <> 'DELETE' AND has_any_column_privilege(%(app)s, oid, verb)), ' ')
        FROM ours WHERE relkind <> 'S'
        UNION ALL
        SELECT CASE WHEN prorettype = 'trigger'::regtype THEN 'trigger' ELSE 'function' END, name,
          CASE WHEN has_function_privilege(%(app)s, oid, 'EXECUTE') THEN 'EXECUTE' ELSE '' END
        FROM functions""",
        {"app": app},
    )
    return {(kind, name): may for kind, name, may in rows.fetchall()}
