"""The embedded PostgreSQL: made, stopped, killed, and always found again with everything in it."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from stack import databases
from stack.postgres import Postgres, PostgresFailed, binaries

MODEST = {"shared_buffers": "16MB", "max_connections": "30"}


@pytest.fixture
def postgres(home: Path) -> Iterator[Postgres]:
    server = Postgres(home, settings=MODEST)
    server.start()
    yield server
    server.stop()


def write(server: Postgres, what: str) -> None:
    with psycopg.connect(server.url()) as db:
        db.execute("CREATE TABLE IF NOT EXISTS notes (what text)")
        db.execute("INSERT INTO notes VALUES (%s)", [what])


def read(server: Postgres) -> list[str]:
    with psycopg.connect(server.url()) as db:
        return [row[0] for row in db.execute("SELECT what FROM notes ORDER BY what")]


def test_what_was_written_is_there_after_a_stop_and_a_kill(postgres: Postgres):
    write(postgres, "before the stop")
    postgres.stop()
    assert postgres.process and postgres.process.returncode == 0
    postgres.start()
    write(postgres, "before the kill")
    assert postgres.process
    postgres.process.kill()
    postgres.process.wait()
    assert (postgres.data / "postmaster.pid").exists()
    postgres.start()
    assert read(postgres) == ["before the kill", "before the stop"]


def test_a_note_of_a_process_that_is_somebody_else_now_does_not_stop_the_start(postgres: Postgres):
    write(postgres, "kept")
    assert postgres.process
    postgres.process.kill()
    postgres.process.wait()
    note = postgres.data / "postmaster.pid"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        lines = note.read_text().split("\n")
        note.write_text("\n".join([str(stranger.pid), *lines[1:]]))
        time.sleep(0.2)
        postgres.start()
        assert stranger.poll() is None
        stranger.kill()
    assert read(postgres) == ["kept"]


def test_a_server_left_over_by_a_killed_supervisor_is_taken_over(postgres: Postgres, home: Path):
    write(postgres, "kept")
    left = postgres.process
    assert left
    heir = Postgres(home, settings=MODEST)
    heir.start()
    assert left.wait(10) == 0
    assert read(heir) == ["kept"]
    heir.stop()


def test_it_ends_with_the_process_that_started_it(home: Path):
    program = (
        "import sys, time; from pathlib import Path; from stack.postgres import Postgres;"
        f"server = Postgres(Path({str(home)!r}), settings={MODEST!r}); server.start();"
        "print(server.process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout
        pid = int(starter.stdout.readline())
        starter.kill()
    deadline = time.monotonic() + 60
    while (home / "postgres/postmaster.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not (home / "postgres/postmaster.pid").exists()
    assert pid


def test_it_listens_on_this_machine_alone_and_wants_a_password(postgres: Postgres):
    with psycopg.connect(postgres.url()) as db:
        assert db.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        assert db.execute("SHOW fsync").fetchone() == ("on",)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.url().replace("postgres:", "postgres:wrong", 2))


def test_passwords_are_kept_where_nobody_else_reads(postgres: Postgres, home: Path):
    assert stat.S_IMODE((home / "secrets.json").stat().st_mode) == 0o600
    assert not (home / ".postgres-password").exists()


def test_a_search_in_chinese_finds_trigrams(postgres: Postgres):
    with psycopg.connect(postgres.url()) as db:
        db.execute("CREATE EXTENSION pg_trgm")
        assert db.execute("SELECT similarity('杭州贸易公司', '杭州贸易') > 0.3").fetchone() == (True,)


def test_a_service_s_role_owns_nothing_and_reaches_its_database_alone(postgres: Postgres):
    for name in ("customer", "contract"):
        databases.ensure(postgres.url(), name, owner_password="owner", app_password="app")
        databases.ensure(
            postgres.url(), name, owner_password="owner", app_password="app"
        )  # twice changes nothing
    there = f"127.0.0.1:{postgres.port}"
    with psycopg.connect(f"postgresql://customer_owner:owner@{there}/customer") as db:
        db.execute("CREATE TABLE customers (name text)")
    with psycopg.connect(f"postgresql://customer_app:app@{there}/customer", autocommit=True) as db:
        db.execute("INSERT INTO customers VALUES ('杭州')")
        for forbidden in ("CREATE TABLE mine ()", "DROP TABLE customers", "TRUNCATE customers"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(forbidden)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(f"postgresql://customer_app:app@{there}/contract")
    with psycopg.connect(postgres.url()) as db:
        rows = db.execute(
            "SELECT rolname FROM pg_roles WHERE (rolsuper OR rolbypassrls OR rolcreaterole)"
            " AND rolname <> 'postgres'"
        ).fetchall()
    assert rows == []


def test_a_folder_without_postgresql_is_refused_by_the_variable_s_name(home: Path):
    with pytest.raises(PostgresFailed, match="TRADEWIND_POSTGRES_BIN"):
        binaries(str(home))


def test_a_folder_that_cannot_be_made_says_why(home: Path):
    (home / "postgres").write_text("in the way")
    with pytest.raises(PostgresFailed, match="initdb could not make"):
        Postgres(home, settings=MODEST).start()


def test_a_setting_it_does_not_know_says_so_at_the_start(home: Path):
    server = Postgres(home, settings=MODEST | {"shared_buffers": "plenty"})
    with pytest.raises(PostgresFailed, match="shared_buffers"):
        server.start()
    assert server.process and server.process.returncode not in (None, -signal.SIGKILL)
