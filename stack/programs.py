"""PostgreSQL's own programs for dumping and loading: found, and checked against the server."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from stack.postgres import PostgresFailed, binaries
from stack.running import NotPossible


def program(name: str, named: str = "") -> str:
    """Where `pg_dump`, `pg_restore` or `psql` is: in the folder *named*, the embedded one, or on the path."""
    try:
        found = Path(named) / name if named else binaries() / name
        if found.exists():
            return str(found)
    except PostgresFailed:
        pass
    if not named and (on_path := shutil.which(name)):
        return on_path
    raise NotPossible(f"There is no {name} here: TRADEWIND_POSTGRES_BIN must name a folder that holds it.")


def major(path: str) -> int:
    """The major version of such a program."""
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    return int("".join(c if c.isdigit() else " " for c in said).split()[0])


def check_version(path: str, db: psycopg.Connection[object], *, exactly: bool) -> None:
    """Refuse a program that is older than the server, or (*exactly*) of another major version."""
    ours, theirs = major(path), db.info.server_version // 10_000
    if ours < theirs or (exactly and ours != theirs):
        raise NotPossible(
            f"{path} is of PostgreSQL {ours}, the server of {theirs}: TRADEWIND_POSTGRES_BIN must name the "
            f"programs of PostgreSQL {theirs}."
        )


def told(url: str) -> tuple[str, dict[str, str]]:
    """How such a program is told where to connect: as everyone may read, and the password apart from it."""
    parts = conninfo_to_dict(url)
    password = str(parts.pop("password", "") or "")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return make_conninfo("", **parts), env | ({"PGPASSWORD": password} if password else {})
