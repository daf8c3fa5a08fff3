"""Organizations apart in every table, key and function of every service, as its database itself says."""

from __future__ import annotations

import psycopg
import pytest

from chassis import migrate
from tests.chassis import catalogue
from tests.chassis.direct_sql import Attack
from tests.servers import Servers

SERVICES = ("access", "customer", "opportunity", "contract", "inventory", "analytics")
JUDGED = catalogue.judged()


@pytest.fixture(scope="module", params=SERVICES)
def name(request: pytest.FixtureRequest, servers: Servers) -> str:
    """A service whose database had its migrations."""
    package = "gateway" if request.param == "access" else f"services.{request.param}"
    migrate.upgrade(package, *servers.database(request.param))
    return str(request.param)


def told_of_others(name: str) -> dict[str, frozenset[str]]:
    """What was judged of each function of a service: what it may tell of other organizations."""
    return {one.name: one.tells for one in JUDGED if one.kind == "function" and one.service in ("*", name)}


def attack(servers: Servers, name: str, app_url: str) -> Attack:
    """As the serving role, and as the superuser that plants the rows."""
    app = psycopg.connect(app_url, autocommit=True)
    admin = psycopg.connect(servers.postgres.url(name), autocommit=True)
    return Attack(app, admin, (f"{name}_owner", f"{name}_app"))


@pytest.mark.req("X-25")
def test_the_catalogue_keeps_organizations_apart(servers: Servers, name: str) -> None:
    with psycopg.connect(servers.database(name)[0]) as db:
        assert catalogue.faults(db, f"{name}_app") == []


def test_every_table_and_function_was_judged(servers: Servers, name: str) -> None:
    with psycopg.connect(servers.database(name)[0]) as db:
        there = catalogue.things(db, f"{name}_app")
    said = {(one.kind, one.name): one.may for one in JUDGED if one.service in ("*", name)}
    assert there == said, "tests/chassis/catalogue.tsv has to say what the role may do with each, and why"


def test_what_reaches_beyond_an_organization_says_why() -> None:
    silent = [one.name for one in JUDGED if one.kind in ("process", "function", "view") and not one.why]
    assert silent == []
    assert len({(one.service, one.kind, one.name) for one in JUDGED}) == len(JUDGED)


def test_sql_of_ones_own_gets_nothing_of_others(servers: Servers, name: str) -> None:
    _, app_url = servers.database(name)
    on = attack(servers, name, app_url)
    with on.app, on.admin:
        assert on.run(told_of_others(name)) == []
    assert on.tried > 250
    for other in SERVICES:
        if other != name:
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(app_url, dbname=other)


KEPT = f"""
CREATE TABLE {{name}} (tenant_id uuid NOT NULL, id text NOT NULL, note text, PRIMARY KEY (tenant_id, id));
ALTER TABLE {{name}} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {{name}} FORCE ROW LEVEL SECURITY;
CREATE POLICY organization ON {{name}} USING ({migrate.TENANT}) WITH CHECK ({migrate.TENANT});
CREATE POLICY keeper ON {{name}} TO CURRENT_USER USING (true) WITH CHECK (true);
"""
# What might be forgotten → what the catalogue says of it, and what SQL of one's own makes of it.
PLANTED = {
    "ALTER TABLE kept DISABLE ROW LEVEL SECURITY": ("kept has an organization and no forced", "kept read"),
    "ALTER TABLE kept NO FORCE ROW LEVEL SECURITY": ("kept has an organization and no forced", ""),
    "DROP POLICY organization ON kept": ("kept has an organization and no policy", "kept read"),
    f"ALTER POLICY organization ON kept USING ({migrate.TENANT}) WITH CHECK (true)": (
        "kept has a policy for the role", "kept: a row made"),
    "ALTER POLICY organization ON kept USING (true)": ("kept has a policy for the role", "kept copied"),
    f"CREATE POLICY too ON kept FOR SELECT USING (note <> '' OR {migrate.TENANT})": (
        "kept has a policy for the role", "kept read"),
    "ALTER POLICY keeper ON kept TO PUBLIC": ("kept has a policy for the role", "DELETE from another one"),
    "CREATE UNIQUE INDEX one ON kept (id)": ("one is a key that does not lead", "kept: a key is taken"),
    "CREATE TABLE open (tenant_id uuid, id text, CONSTRAINT two EXCLUDE (id WITH =))": (
        "two is a key that does not lead", "open: a key is taken"),
    "CREATE TABLE ref (tenant_id uuid, kept text); CREATE UNIQUE INDEX one ON kept (id); ALTER TABLE ref"
    " ADD CONSTRAINT other FOREIGN KEY (kept) REFERENCES kept (id)": ("other is a foreign key", "ref read"),
    "CREATE TABLE parts (tenant_id uuid) PARTITION BY LIST (tenant_id); CREATE TABLE part PARTITION OF parts"
    " DEFAULT; ALTER TABLE parts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
    f" CREATE POLICY own ON parts USING ({migrate.TENANT}) WITH CHECK ({migrate.TENANT})": (
        "part has an organization and no policy", "part read"),
    "CREATE VIEW seen AS SELECT * FROM kept": ("seen is a view that reads as its owner", "seen read"),
    "CREATE MATERIALIZED VIEW copied AS SELECT * FROM kept": ("copied is a copy without", ""),
    "GRANT TRUNCATE ON kept TO planted_app": ("kept may be emptied", 'TRUNCATE "public"."kept": is allowed'),
    "GRANT SELECT ON kept TO PUBLIC": ("kept is open to others", ""),
    "CREATE SEQUENCE numbers; GRANT SELECT ON numbers TO planted_app": (
        "numbers is a sequence", "last_value"),
    "CREATE FUNCTION peek() RETURNS TABLE (note text) LANGUAGE sql SECURITY DEFINER"
    " AS 'SELECT note FROM kept'; GRANT EXECUTE ON FUNCTION peek() TO planted_app": (
        "peek() runs as its owner without", "peek() tells note of others"),
    "CREATE FUNCTION peek() RETURNS int LANGUAGE sql AS 'SELECT 1';"
    " GRANT EXECUTE ON FUNCTION peek() TO PUBLIC": (
        "peek() is carried out by others", ""),
    "GRANT CREATE ON SCHEMA public TO planted_app": (
        "public is where the role may make", "CREATE TABLE another"),
    "CREATE SCHEMA aside; GRANT USAGE ON SCHEMA aside TO planted_app": ("aside is a schema that nobody", ""),
    "GRANT TEMP ON DATABASE planted TO planted_app": (
        "planted is where the role may make", "CREATE TEMP TABLE"),
}  # fmt: skip
BY_THE_SUPERUSER = {
    "ALTER ROLE planted_app BYPASSRLS": ("planted_app: beyond row-level security is what no", "kept read"),
    "ALTER ROLE planted_app CREATEROLE": ("planted_app: a maker of roles is what no", "CREATE ROLE"),
    "GRANT planted_owner TO planted_app": ("planted_owner has the role as a member", "SET ROLE"),
    "GRANT CONNECT ON DATABASE postgres TO PUBLIC": ("postgres is another database", ""),
    "ALTER TABLE kept OWNER TO planted_app": ("kept belongs to the role", "ALTER TABLE"),
}
FORGOTTEN = {
    "ALTER ROLE planted_app NOBYPASSRLS NOCREATEROLE", "REVOKE planted_owner FROM planted_app",
    "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC", "REVOKE TEMP ON DATABASE planted FROM planted_app",
    "DROP SCHEMA IF EXISTS aside",
}  # fmt: skip


@pytest.mark.parametrize("planted", ["SELECT 1", *PLANTED, *BY_THE_SUPERUSER])
def test_what_is_planted_is_found(servers: Servers, planted: str) -> None:
    owner_url, app_url = servers.database("planted")
    on = attack(servers, "planted", app_url)
    with psycopg.connect(owner_url, autocommit=True) as owner, on.app, on.admin:
        owner.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
        owner.execute(KEPT.format(name="kept"))
        try:
            (on.admin if planted in BY_THE_SUPERUSER else owner).execute(planted)
            said, got = (PLANTED | BY_THE_SUPERUSER).get(planted, ("", ""))
            found = catalogue.faults(on.admin, "planted_app")
            assert any(said in one for one in found) if said else found == []
            told = on.run({})
            assert any(got in one for one in told) if got else bool(said) or told == []
        finally:
            on.admin.execute("RESET session_replication_role")
            for statement in FORGOTTEN:
                on.admin.execute(statement)
            on.admin.execute(
                "DROP OWNED BY planted_app; DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
                " ALTER SCHEMA public OWNER TO planted_owner; GRANT USAGE ON SCHEMA public TO planted_app"
            )
