"""`tradewind backup`: each database in a file of its own, as it stood at one moment, and a manifest."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from stack import layout, programs
from stack.files import write_private
from stack.running import NotPossible
from stack.terminal import Reporter, step

FORMAT = 1
MANIFEST = "manifest.json"
CHUNK = 1 << 20

# Tables whose rows the dumping role would not all see: row-level security holds for owners here, too.
_HIDDEN = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind = 'r' AND c.relrowsecurity
  AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)
  AND NOT EXISTS (
    SELECT 1 FROM pg_policy p JOIN pg_roles r ON r.oid = ANY(p.polroles)
    WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd IN ('*', 'r') AND r.rolname = current_user
      AND pg_get_expr(p.polqual, p.polrelid) = 'true')
ORDER BY 1"""


def backup(
    servers: layout.Servers, folder: Path, reporter: Reporter, processes: Iterable[str] = layout.PROCESSES
) -> dict[str, Any]:
    """Write *folder*, whole or not at all; its manifest. The servers are up."""
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NotPossible(f"{folder} is not empty: a backup gets a folder of its own.")
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": importlib.metadata.version("tradewind"),
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "databases": {},
    }
    with _unfinished(folder) as place:
        for process in processes:
            name = layout.database_of(process)
            with step(reporter, name) as doing:
                said = dump(servers, process, place / f"{name}.dump")
                manifest["databases"][name] = said
                doing.detail = f"{sum(said['rows'].values()):,} rows · {size(said['bytes'])}"
        manifest["ended"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_private(place / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    return manifest


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """Where a backup is written until it is whole; what an interrupted one left there is thrown away."""
    place = folder.with_name(f".{folder.name}.unfinished")
    folder.parent.mkdir(parents=True, exist_ok=True)
    place.mkdir(mode=0o700, exist_ok=True)
    held = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in place.iterdir():
            left.unlink()
        yield place
        os.fsync(held)
        if folder.exists():
            folder.rmdir()
        place.rename(folder)
    except BlockingIOError:
        raise NotPossible(f"Another backup is being written to {folder}.") from None
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    finally:
        os.close(held)


def dump(servers: layout.Servers, process: str, path: Path) -> dict[str, Any]:
    """One database into a file nobody else may read; what the manifest says of it.

    The counts and positions are those of the very snapshot that is dumped.
    """
    owner, app = servers.urls(process)
    with _connected(owner, process) as db:
        db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        said = _described(db, process, app)
        snapshot = str(_one(db, "SELECT pg_export_snapshot()"))
        tool = programs.program("pg_dump", servers.settings.postgres_bin)
        programs.check_version(tool, db, exactly=False)
        where, env = programs.told(owner)
        said["bytes"], said["sha256"] = _run(
            [tool, "--format=custom", "--enable-row-security", "--no-password", "--no-comments",
             f"--snapshot={snapshot}", f"--dbname={where}"], env, path,
        )  # fmt: skip
    said["file"] = path.name
    return said


@contextmanager
def _connected(owner: str, process: str) -> Iterator[psycopg.Connection[Any]]:
    try:
        db = psycopg.connect(owner, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as away:
        raise NotPossible(f"The database of {process} cannot be reached: {away}") from None
    with db:
        yield db


def _described(db: psycopg.Connection[Any], process: str, app: str) -> dict[str, Any]:
    hidden = [row[0] for row in db.execute(_HIDDEN).fetchall()]
    if hidden:
        raise NotPossible(
            f"{db.info.user} does not see all rows of {', '.join(hidden)}: a backup needs the role that owns "
            f"the tables; DATABASE_OWNER_URL_{layout.database_of(process).upper()} must name it."
        )
    tables = [
        row[0] for row in db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    ]
    if "outbox_head" not in tables:
        raise NotPossible(f"The database of {process} is empty: `tradewind migrate` makes its tables.")
    heads = db.execute("SELECT part, epoch::text, pos, published FROM outbox_head ORDER BY part").fetchall()
    return {
        "process": process,
        "owner": db.info.user,
        "app": psycopg.conninfo.conninfo_to_dict(app).get("user"),
        "revision": _one(db, "SELECT version_num FROM alembic_version"),
        "taken": _one(db, "SELECT transaction_timestamp()").astimezone(UTC).isoformat(),
        "outbox": [
            {"partition": part, "epoch": epoch, "position": pos, "published": published}
            for part, epoch, pos, published in heads
        ],
        "rows": {
            name: _one(db, sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))) for name in tables
        },
    }


def _one(db: psycopg.Connection[Any], statement: Any) -> Any:
    row = db.execute(statement).fetchone()
    return row[0] if row else None


def _run(command: list[str], env: dict[str, str], path: Path) -> tuple[int, str]:
    """Have a program write *path*; its size and SHA-256."""
    digest, length = hashlib.sha256(), 0
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout and process.stderr
            try:
                while piece := process.stdout.read(CHUNK):
                    file.write(piece)
                    digest.update(piece)
                    length += len(piece)
            except OSError as full:
                process.kill()
                raise NotPossible(f"{path} cannot be written: {full.strerror}.") from None
            said = process.stderr.read().decode("utf-8", "replace").strip()
        if process.returncode:
            raise NotPossible(f"pg_dump could not write {path.name}:\n{said}")
        file.flush()
        os.fsync(file.fileno())
    return length, digest.hexdigest()


def size(length: int) -> str:
    """A number of bytes as people say it."""
    return f"{length / 1e6:,.1f} MB" if length >= 100_000 else f"{length / 1e3:,.0f} kB"
