"""One database out and in again: whole or not at all, for its owner alone, and with its past in mind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from chassis import migrate
from services.inventory.store import InventoryStore
from stack import backup, layout, restore
from stack.running import NotPossible
from stack.terminal import Screen
from tests.servers import Servers

PROCESS = ["inventory"]


@pytest.fixture
def there(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[layout.Servers, str]]:
    """Databases of one's own, named by their URLs; the inventory's has its tables, and no other has any."""
    for name in layout.DATABASES:
        owner, app = servers.database(f"backup_{name}")
        monkeypatch.setenv(f"DATABASE_OWNER_URL_{name.upper()}", owner)
        monkeypatch.setenv(f"DATABASE_URL_{name.upper()}", app)
    monkeypatch.setenv("NATS_URL", servers.nats_url)
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path))
    found = layout.Servers.from_env()
    owner, app = found.urls("inventory")
    migrate.upgrade("services.inventory", owner, app)
    yield found, owner


def epochs(owner: str) -> dict[int, str]:
    """The present epoch of each partition."""
    with psycopg.connect(owner) as db:
        return dict(db.execute("SELECT part, epoch::text FROM outbox_head").fetchall())


def branches(owner: str) -> dict[str, int]:
    """Epoch → up to which position its facts count, in partition 0."""
    with psycopg.connect(owner) as db:
        rows = db.execute("SELECT epoch::text, pos FROM outbox_branches WHERE part = 0").fetchall()
    return dict(rows)


def told(owner: str, count: int) -> None:
    """The head of partition 0 moves on, as if so many facts had been numbered."""
    with psycopg.connect(owner) as db:
        db.execute("UPDATE outbox_head SET pos = pos + %s WHERE part = 0", [count])


def test_what_goes_in_is_what_came_out_under_another_epoch_that_knows_the_former(
    there: tuple[layout.Servers, str], tmp_path: Path
) -> None:
    servers, owner = there
    told(owner, 5)
    first = epochs(owner)
    folder = tmp_path / "one"
    made = backup.backup(servers, folder, Screen(), PROCESS)
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}
    assert made["databases"]["inventory"]["outbox"][0]["position"] == 5
    told(owner, 3)
    with psycopg.connect(owner) as db:
        db.execute("CREATE TABLE extra (a int)")
    found = restore.Backup.read(folder, PROCESS)
    restore.replace(servers, "inventory", found, Screen())
    second = epochs(owner)
    with psycopg.connect(owner) as db:
        now = db.execute("SELECT to_regclass('extra'), pos FROM outbox_head WHERE part = 0").fetchone()
        assert now == (None, 5)
        lowest = db.execute("SELECT min(version_floor) FROM outbox_head").fetchone()
        assert lowest is not None and lowest[0] > 2**50
    assert not set(first.values()) & set(second.values())
    assert branches(owner) == {first[0]: 5}
    # The same backup once more, after the restored one went on: both pasts are known.
    told(owner, 2)
    restore.replace(servers, "inventory", found, Screen())
    assert branches(owner) == {first[0]: 5, second[0]: 5}
    assert migrate.difference(InventoryStore.metadata, owner) == []
    with psycopg.connect(servers.urls("inventory")[1]) as db:  # the service's role has its grants
        assert db.execute("SELECT count(*) FROM outbox").fetchone() == (0,)


def test_a_database_that_does_not_load_stays_as_it_is(
    there: tuple[layout.Servers, str], tmp_path: Path
) -> None:
    servers, owner = there
    backup.backup(servers, tmp_path / "two", Screen(), PROCESS)
    found = restore.Backup.read(tmp_path / "two", PROCESS)
    before = epochs(owner)
    path = tmp_path / "two" / "inventory.dump"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(NotPossible, match="the database is as it was"):
        restore.replace(servers, "inventory", found, Screen())
    assert epochs(owner) == before
    with pytest.raises(NotPossible, match="is damaged"):
        restore.Backup.read(tmp_path / "two", PROCESS)


def test_what_cannot_be_whole_is_refused(
    there: tuple[layout.Servers, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers, _ = there
    with pytest.raises(NotPossible, match="database of customer is empty"):
        backup.backup(servers, tmp_path / "three", Screen())
    assert not list(tmp_path.iterdir())  # nothing half is left behind
    folder = tmp_path / "four"
    backup.backup(servers, folder, Screen(), PROCESS)
    with pytest.raises(NotPossible, match="is not empty"):
        backup.backup(servers, folder, Screen(), PROCESS)
    with pytest.raises(NotPossible, match="no backup of contract"):
        restore.Backup.read(folder, ["contract"])
    with pytest.raises(NotPossible, match="is no backup"):
        restore.Backup.read(tmp_path, PROCESS)
    manifest = json.loads((folder / backup.MANIFEST).read_text())
    manifest["databases"]["inventory"]["revision"] = "9999"
    (folder / backup.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(NotPossible, match="is of schema 9999"):
        restore.Backup.read(folder, PROCESS)
    with (
        psycopg.connect(servers.urls("inventory")[1]),
        pytest.raises(NotPossible, match="1 connections use the database inventory"),
        restore.standing_still(servers, PROCESS, running=False),
    ):
        pass
    monkeypatch.delenv("DATABASE_OWNER_URL_INVENTORY")
    with pytest.raises(NotPossible, match="DATABASE_OWNER_URL_INVENTORY must name it"):
        backup.backup(layout.Servers.from_env(), tmp_path / "five", Screen(), PROCESS)
