"""Every service's tables: the history agrees with the records, and what is written once stays."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from chassis import migrate
from tests.platform import Platform

SERVICES = ("access", "customer", "opportunity", "contract", "inventory", "analytics")


@pytest.mark.parametrize("name", SERVICES)
def test_a_history_is_one_line(name: str) -> None:
    folder = "gateway" if name == "access" else f"services/{name}"
    files = sorted((Path(migrate.__file__).parents[1] / folder / "migrations/versions").glob("[0-9]*.py"))
    assert [path.name[:4] for path in files] == [f"{n:04d}" for n in range(1, len(files) + 1)]
    for path, before in zip(files, [None, *(f'"{path.name[:4]}"' for path in files)], strict=False):
        assert f"\ndown_revision = {before}\n" in path.read_text("utf-8"), path.name


@pytest.mark.parametrize("name", SERVICES)
async def test_the_migrated_schema_is_what_the_records_say(platform: Platform, name: str) -> None:
    service = await platform.service(name)
    assert migrate.difference(service.store.metadata, service.owner_url) == []


@pytest.mark.parametrize("name", SERVICES)
async def test_what_is_append_only_cannot_be_changed_by_the_service(platform: Platform, name: str) -> None:
    service = await platform.service(name)
    frozen = [name for name, table in service.store.metadata.tables.items() if table.info.get("append_only")]
    with psycopg.connect(service.runtime.settings.database_url, autocommit=True) as db:
        for table in frozen:
            for verb in (
                f'UPDATE "{table}" SET tenant_id = tenant_id',
                f'DELETE FROM "{table}"',
                f'TRUNCATE "{table}"',
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    db.execute(verb)
    assert frozen or name not in ("contract", "inventory")


@pytest.mark.parametrize("name", SERVICES)
async def test_every_table_with_people_of_its_own_says_who_collaborates(
    platform: Platform, name: str
) -> None:
    service = await platform.service(name)
    tables = {each.name: each.prefix for each in service.store.collections.values() if each.place.noun}
    with psycopg.connect(service.owner_url) as db:
        noted = db.execute(
            "SELECT tgrelid::regclass::text, encode(tgargs, 'escape'), count(*) FROM pg_trigger"
            " WHERE tgname LIKE 'note_%_collaborators' GROUP BY 1, 2"
        ).fetchall()
    assert {(table, arguments.removesuffix("\\000"), times) for table, arguments, times in noted} == {
        (table, prefix, 3) for table, prefix in tables.items()
    }


async def test_a_draft_is_a_migration_that_runs(platform: Platform) -> None:
    service = await platform.service("customer")
    wanted = sa.MetaData()
    for table in service.store.metadata.tables.values():
        table.to_metadata(wanted)
    wanted.tables["customers"].append_column(sa.Column("motto", sa.Text(), server_default=""))
    wanted.tables["customers"].append_column(sa.Column("anthem", JSONB(), nullable=True))
    versions = Path(migrate.__file__).parents[1] / "services/customer/migrations/versions"
    newest = max(path.name[:4] for path in versions.glob("[0-9]*.py"))
    text = migrate.draft("services.customer", wanted, service.owner_url, "Customers have a motto.")
    found: dict[str, object] = {}
    exec(compile(text, "motto.py", "exec"), found)
    assert (found["revision"], found["down_revision"]) == (f"{int(newest) + 1:04d}", newest)
    assert text.count("op.add_column(") == 2
