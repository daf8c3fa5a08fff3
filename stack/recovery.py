"""The commands that keep and bring back an installation's data: backup and restore, with what they report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from rich.markup import escape

from chassis.resync import MARGIN
from stack import backup as backups
from stack import converge, erasures, layout, operations, people, restore
from stack.commands import servers_here
from stack.files import write_private
from stack.running import NotPossible, runner
from stack.terminal import Screen, complaints, console, show_columns, step

FOLDER = "backups"


def backup(to: Path | None) -> int:
    """Write a backup of everything; where it is, is said at the end."""
    with servers_here() as servers:
        if servers.postgres and not (servers.home / people.MADE).exists() and not runner(servers.home):
            raise NotPossible(f"There is no installation in {servers.home}; `tradewind up` makes one.")
        folder = to or _fresh_folder(servers, "")
        screen = Screen()
        try:
            manifest = backups.backup(servers, folder, screen)
        finally:
            screen.close()
    total = sum(each["bytes"] for each in manifest["databases"].values())
    console.print(f"{folder} holds everything: {backups.size(total)}. Keys and passwords are not in it.")
    return 0


def _fresh_folder(servers: layout.Servers, why: str) -> Path:
    return servers.home / FOLDER / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}{why}"


def bring_back(folder: Path, only: str | None, *, discard: bool) -> int:
    """Restore everything, or one service while the others run; 1 when a law is broken afterwards."""
    processes = [only] if only else list(layout.PROCESSES)
    found = restore.Backup.read(folder, processes)
    home = layout.Servers.from_env().home
    running = bool(runner(home))
    if running and not only:
        raise NotPossible(
            f"Tradewind is running in {home}: `tradewind down` first, or restore one service with --only."
        )
    with servers_here() as servers:
        screen = Screen()
        try:
            with restore.standing_still(servers, processes, running):
                if not discard:
                    _keep_present(servers, processes, screen)
                lost = Lost.before(servers, found, processes)
                erasures.remember(servers, processes)
                if not running:
                    servers.choose_ports()
                for process in processes:
                    restore.replace(servers, process, found, screen)
                forgotten = _forget_again(servers, processes, screen)
                lost.after(servers, found)
            if not (home / people.MADE).exists() and not only:
                write_private(home / people.MADE, '{"made": "restored"}\n')
            for name in forgotten:
                console.print(f"{name} was erased since the backup, and is erased again.", markup=False)
            if not running and not servers.postgres:
                console.print("Start the services again; `tradewind restore --report` then tells the rest.")
                return 0
            with step(screen, "Everyone hears of it") as doing:
                (converge.wait if running else converge.here)(servers, screen.tell)
                doing.detail = f"{lost.heard_again(servers):,} facts heard again"
        finally:
            screen.close()
        lost.show(servers)
        return _report(servers, processes)


def report() -> int:
    """What the last restoration led to, and whether every law holds now."""
    with servers_here() as servers:
        if missing := converge.behind(servers):
            for (who, source), facts in sorted(missing.items()):
                console.print(f"{who} has yet to hear {facts:,} facts of {source}.")
        return _report(servers, layout.PROCESSES)


def _keep_present(servers: layout.Servers, processes: list[str], screen: Screen) -> None:
    """What is about to be replaced stays at hand: nothing is lost by restoring the wrong backup."""
    there = [process for process in processes if _has_tables(servers, process)]
    if not there:
        return
    folder = _fresh_folder(servers, "-replaced")
    try:
        with step(screen, "Keeping the present") as doing:
            backups.backup(servers, folder, _Silent(), there)
            doing.detail = str(folder)
    except NotPossible as refused:
        raise NotPossible(
            f"{refused}\nThe present state cannot be kept; --discard restores without."
        ) from None


def _forget_again(servers: layout.Servers, processes: list[str], screen: Screen) -> list[str]:
    """Nobody who was erased since the backup is met again; the names of their records."""
    with step(screen, "Who was erased") as doing:
        done = [name for process in processes for name in erasures.again(servers, process)]
        doing.detail = f"{len(done)} records erased again"
    return done


class _Silent:
    """Tells nobody."""

    def begin(self, step: str) -> None: ...
    def end(self, detail: str, seconds: float) -> None: ...
    def say(self, sentence: str) -> None: ...


def _has_tables(servers: layout.Servers, process: str) -> bool:
    with psycopg.connect(servers.urls(process)[0]) as db:
        row = db.execute("SELECT to_regclass('outbox_head') IS NOT NULL").fetchone()
    return bool(row and row[0])


@dataclass
class Lost:
    """What a restoration gives up and what has to be heard again, by process."""

    facts: dict[str, dict[str, str]]  # event id → type, of what happened since the backup
    heard: dict[str, dict[tuple[str, int], converge.Cursor]] = field(default_factory=dict)
    sagas: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)

    @classmethod
    def before(cls, servers: layout.Servers, found: restore.Backup, processes: list[str]) -> Lost:
        """What stands in these databases since the backup, as long as it does."""
        return cls({process: _facts_since(servers, process, found) for process in processes})

    def after(self, servers: layout.Servers, found: restore.Backup) -> None:
        """Only what the restored databases do not have is lost; where they stand is where they go on from."""
        for process, facts in self.facts.items():
            for still in _facts_since(servers, process, found):
                facts.pop(still, None)
            self.heard[process] = converge.cursors(servers, process)
            self.sagas[process] = converge.under_way(servers, process)

    def heard_again(self, servers: layout.Servers) -> int:
        """How many facts of others the restored services have applied since."""
        total = 0
        for process, was in self.heard.items():
            for place, (_, pos) in converge.cursors(servers, process).items():
                total += max(0, pos - was.get(place, ("", 0))[1])
        return total

    def show(self, servers: layout.Servers) -> None:
        """Name what is gone, kind by kind, and what became of the work that was under way."""
        for process, facts in self.facts.items():
            if facts:
                kinds = Counter(kind.rpartition(".")[2] for kind in facts.values())
                named = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
                console.print(f"{process}: {len(facts):,} facts since the backup are gone: {named}.")
            for saga, (kind, record) in self.sagas[process].items():
                state = converge.saga_state(servers, process, saga)
                console.print(f"{process}: {kind} of {record} went on to {state}.")


def _facts_since(servers: layout.Servers, process: str, found: restore.Backup) -> dict[str, str]:
    since = datetime.fromisoformat(found.of(process)["taken"]) - MARGIN
    if not _has_tables(servers, process):
        return {}
    with psycopg.connect(servers.urls(process)[0]) as db:
        rows = db.execute("SELECT event_id::text, type FROM outbox WHERE occurred_at >= %s", [since])
        return dict(rows.fetchall())


def _report(servers: layout.Servers, restored: Iterable[str]) -> int:
    """What every service did about it, record by record; then the laws."""
    epochs = [epoch for process in restored for epoch, _, _ in converge.heads(servers, process).values()]
    rows: list[list[str]] = []
    for process in layout.PROCESSES:
        with psycopg.connect(servers.urls(process)[0]) as db:
            rows += [
                [process, source, done, escape(record), escape(said)]
                for source, done, record, said in db.execute(
                    "SELECT source, done, record, said FROM reconciled WHERE epoch = ANY(%s::uuid[])"
                    " ORDER BY source, done, record", [epochs],
                )
            ]  # fmt: skip
    if rows:
        show_columns(["service", "after restoring", "done", "record", "what"], rows)
    counted = Counter(row[2] for row in rows)
    said = ", ".join(f"{count} {done}" for done, count in sorted(counted.items()))
    console.print(f"{len(rows)} records were reconciled{': ' if said else ''}{said}.")
    verdicts = operations.verify_all(servers)
    broken = [verdict for verdict in verdicts if verdict.broken]
    for verdict in broken:
        complaints.print(f"✗ {verdict.service}: {verdict.name}: {', '.join(verdict.broken)}", markup=False)
    console.print(f"{len(verdicts)} laws asked, {len(broken)} broken.")
    return 1 if broken else 0
