"""`tradewind restore`: databases back to a backup, and every service in line with what is left.

A database is replaced in one transaction, so that it is the old one or the restored one whatever happens.
The restored service then begins a new epoch, whose branches say which facts of former ones still count: see
chassis/resync.py for what its readers do about it.
"""

from __future__ import annotations

import hashlib
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from chassis import migrate
from stack import backup, layout, programs
from stack.files import read_json
from stack.running import NotPossible, held
from stack.terminal import Reporter, step

LETS_GO_WITHIN = 90.0  # seconds for a service to stop once it is held

_EMPTY = """
DO $$ DECLARE each record; BEGIN
  FOR each IN SELECT c.oid::regclass AS name, c.relkind FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
      AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') LOOP
    EXECUTE format('DROP %s IF EXISTS %s CASCADE', CASE each.relkind WHEN 'v' THEN 'VIEW'
      WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END, each.name);
  END LOOP;
  FOR each IN SELECT c.oid::regclass AS name FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'S' LOOP
    EXECUTE format('DROP SEQUENCE IF EXISTS %s CASCADE', each.name);
  END LOOP;
  FOR each IN SELECT p.oid::regprocedure AS name FROM pg_proc p
    WHERE p.pronamespace = 'public'::regnamespace
      AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') LOOP
    EXECUTE format('DROP ROUTINE IF EXISTS %s CASCADE', each.name);
  END LOOP;
END $$"""

# In the transaction that loads: a restored database is never met under its former epoch.
_ANOTHER_EPOCH = "UPDATE public.outbox_head SET epoch = gen_random_uuid(), owner = NULL, lease_until = NULL"


@dataclass
class Lineage:
    """What a database knows of its epochs, for one partition: the present one, and what became of others."""

    epoch: str = ""
    branches: dict[str, tuple[int, datetime]] = field(default_factory=dict)


@dataclass(frozen=True)
class Backup:
    """A backup that was looked at and found whole."""

    folder: Path
    manifest: dict[str, Any]

    @classmethod
    def read(cls, folder: Path, processes: Sequence[str]) -> Backup:
        """The backup in *folder*, if it holds these processes' databases, unharmed."""
        try:
            manifest = read_json(folder / backup.MANIFEST)
        except (OSError, ValueError) as problem:
            raise NotPossible(f"{folder / backup.MANIFEST} cannot be read: {problem}") from None
        if not manifest:
            raise NotPossible(f"{folder} is no backup: it holds no {backup.MANIFEST}.")
        if manifest.get("format") != backup.FORMAT:
            raise NotPossible(
                f"{folder} was written by another version of Tradewind ({manifest['version']})."
            )
        found = cls(folder, manifest)
        for process in processes:
            found._check(process)
        return found

    def of(self, process: str) -> dict[str, Any]:
        """What the manifest says of a process' database."""
        said: dict[str, Any] = self.manifest["databases"][layout.database_of(process)]
        return said

    def _check(self, process: str) -> None:
        name = layout.database_of(process)
        if name not in self.manifest["databases"]:
            raise NotPossible(f"{self.folder} holds no backup of {name}.")
        said, path = self.of(process), self.folder / self.of(process)["file"]
        if not path.exists() or path.stat().st_size != said["bytes"] or _sha256(path) != said["sha256"]:
            raise NotPossible(f"{path} is damaged: it is not what the manifest says. Use another backup.")
        known = layout.revisions(process)
        if said["revision"] not in known:
            raise NotPossible(
                f"{path} is of schema {said['revision']}, made by Tradewind {self.manifest['version']}; "
                f"this version knows {name} up to {known[-1]}. Restore it with that version or a later one."
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def standing_still(servers: layout.Servers, processes: Sequence[str], running: bool) -> Iterator[None]:
    """While these processes do not run: held back by the supervisor here, or stopped by people elsewhere."""
    if not running:
        for process in processes:
            _refuse_connected(servers, process)
        yield
        return
    with held(servers.home, processes):
        deadline = time.monotonic() + LETS_GO_WITHIN
        for process in processes:
            while not _is_held(servers.home, process) or _connected(servers, process):
                if time.monotonic() > deadline:
                    raise NotPossible(f"{process} does not stop; `tradewind down`, and then restore again.")
                time.sleep(0.1)
        yield


def _is_held(home: Path, process: str) -> bool:
    rows = read_json(home / "state.json").get("processes", [])
    return any(row["name"] == process and row.get("held") for row in rows)


def _connected(servers: layout.Servers, process: str) -> int:
    with psycopg.connect(servers.urls(process)[0]) as db:
        row = db.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()"
        ).fetchone()
    return int(row[0]) if row else 0


def _refuse_connected(servers: layout.Servers, process: str) -> None:
    if number := _connected(servers, process):
        raise NotPossible(
            f"{number} connections use the database {layout.database_of(process)}: stop every {process} "
            "process first, and start it again afterwards."
        )


def replace(servers: layout.Servers, process: str, found: Backup, reporter: Reporter) -> str:
    """Put a database back to the backup; the number of its new epoch in partition 0."""
    said = found.of(process)
    owner, app = servers.urls(process)
    roles = (psycopg.conninfo.conninfo_to_dict(url).get("user") for url in (owner, app))
    if tuple(roles) != (said["owner"], said["app"]):
        raise NotPossible(
            f"The backup of {layout.database_of(process)} belongs to the roles {said['owner']} and "
            f"{said['app']}: DATABASE_OWNER_URL and DATABASE_URL must name them."
        )
    with step(reporter, layout.database_of(process)) as doing:
        before = _lineages(owner)
        _load(servers, owner, found.folder / said["file"])
        migrate.upgrade(layout.module_of(process), owner, app)
        epoch = _branch(owner, said, before)
        doing.detail = f"as of {datetime.fromisoformat(said['taken']):%Y-%m-%d %H:%M:%S} UTC"
    return epoch


def _load(servers: layout.Servers, owner: str, path: Path) -> None:
    """Everything out and the dump in, in one transaction."""
    tools = [programs.program(name, servers.settings.postgres_bin) for name in ("pg_restore", "psql")]
    with psycopg.connect(owner) as db:
        programs.check_version(tools[0], db, exactly=True)
    where, env = programs.told(owner)
    read = subprocess.Popen(
        [tools[0], "--file=-", str(path)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    written = subprocess.run(
        [tools[1], "--no-psqlrc", "--quiet", "--no-password", "--single-transaction", "-v", "ON_ERROR_STOP=1",
         f"--dbname={where}", "-c", "SET LOCAL lock_timeout = '20s'", "-c", _EMPTY, "-f", "-",
         "-c", _ANOTHER_EPOCH],
        env=env, stdin=read.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert read.stdout and read.stderr
    read.stdout.close()
    said = read.stderr.read()
    if read.wait() or written.returncode:
        why = (said + written.stderr).decode("utf-8", "replace").strip()
        raise NotPossible(f"{path.name} could not be loaded; the database is as it was:\n{why}")


def _lineages(owner: str) -> dict[int, Lineage]:
    """By partition, what the present database knows of its epochs; nothing where it cannot say."""
    found: dict[int, Lineage] = {}
    try:
        with psycopg.connect(owner) as db:
            for part, epoch in db.execute("SELECT part, epoch::text FROM outbox_head"):
                found[part] = Lineage(epoch)
            for part, epoch, pos, since in db.execute(
                "SELECT part, epoch::text, pos, since FROM outbox_branches"
            ):
                found[part].branches[epoch] = (pos, since)
    except psycopg.Error:
        return found
    return found


def _branch(owner: str, said: dict[str, Any], before: dict[int, Lineage]) -> str:
    """Begin the restored database's own life: what became of other epochs, and versions above all of theirs.

    What is under way (sagas) waits a little, so that the others are in order when it asks them.
    """
    taken = datetime.fromisoformat(said["taken"])
    with psycopg.connect(owner) as db:
        for head in said["outbox"]:
            part, copied = head["partition"], head["epoch"]
            became = {copied: (head["position"], taken)}
            was = before.get(part, Lineage())
            if was.epoch and was.epoch != copied and copied in was.branches:
                # Both went on from the same facts: what they share counts, in the one as in the other.
                shared = min(was.branches[copied][0], head["position"])
                since = min(was.branches[copied][1], taken)
                became[was.epoch] = (shared, since)
                for epoch, (pos, at) in was.branches.items():
                    became.setdefault(epoch, (min(pos, shared), min(at, since)))
            elif was.epoch == copied:
                for epoch, (pos, at) in was.branches.items():
                    became.setdefault(epoch, (min(pos, head["position"]), at))
            for epoch, (pos, since) in became.items():
                db.execute(
                    "INSERT INTO outbox_branches (part, epoch, pos, since) VALUES (%s, %s, %s, %s)"
                    " ON CONFLICT DO NOTHING", (part, uuid.UUID(epoch), pos, since),
                )  # fmt: skip
        # Seconds times a million: nobody changes a record more often than that.
        db.execute("UPDATE outbox_head SET version_floor = %s", (int(time.time()) << 20,))
        db.execute(
            "UPDATE sagas SET next_at = greatest(next_at, clock_timestamp() + interval '20 seconds')"
            " WHERE state IN ('RUNNING', 'COMPENSATING')"
        )
        row = db.execute("SELECT epoch::text FROM outbox_head WHERE part = 0").fetchone()
    return str(row[0]) if row else ""
