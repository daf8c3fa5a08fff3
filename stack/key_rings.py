"""`tradewind keys`: under which keys personal data are, and everything under other ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from chassis.personal.keys import Keys, make_master, write_master
from chassis.personal.reseal import NotDone, Reseal
from chassis.personal.sealing import Broken
from stack import layout
from stack.commands import servers_here
from stack.operations import service_of
from stack.running import NotPossible
from stack.terminal import console, show_columns


@contextmanager
def _work(servers: layout.Servers, process: str, progress: Progress | None = None) -> Iterator[Reseal]:
    """The work on a process' database, as the owner of its tables."""
    told = layout.settings_of(process, servers.environment(process))
    tasks: dict[str, TaskID] = {}

    def show(table: str, done: int, of: int) -> None:
        if progress is None:
            return
        if table not in tasks:
            tasks[table] = progress.add_task(f"{layout.database_of(process)}.{table}", total=of)
        progress.update(tasks[table], completed=done, total=of)

    with psycopg.connect(servers.urls(process)[0], autocommit=True) as db:
        yield Reseal(db, service_of(process).store, Keys.load(told.keys, process), show)


def sealing() -> list[str]:
    """The processes that keep personal data."""
    return [process for process in layout.PROCESSES if service_of(process).store.seals]


def status() -> int:
    """Print, for every database, whether it is encrypted, and how many keys there are."""
    rows = []
    with servers_here() as servers:
        for process in sealing():
            with _work(servers, process) as work:
                held = work.db.execute(
                    "SELECT count(DISTINCT tenant_id), count(*), coalesce(max(generation), 0) FROM data_keys"
                ).fetchone()
                assert held
                rows.append([layout.database_of(process), work.phase(), *(f"{n:,}" for n in held)])
    show_columns(["database", "personal data", "organizations", "data keys", "newest generation"], rows)
    return 0


def encrypt() -> int:
    """Encrypt what a release before kept in plain."""
    return _all("encrypted", lambda work: work.seal_all())


def rotate(organization: str) -> int:
    """New data keys, everything under them, the former ones destroyed."""

    def turn(work: Reseal) -> int:
        known = work.organizations()
        return work.rotate([one for one in known if organization in ("", one)])

    return _all("under new keys", turn)


def rotate_master() -> int:
    """New master keys, every data key under them, the former ones destroyed."""
    with servers_here() as servers:
        for process in sealing():
            path = layout.settings_of(process, servers.environment(process)).keys / f"{process}.master"
            try:
                make_master(path, another=True)
            except OSError as problem:
                raise NotPossible(f"{path} cannot be written: {problem.strerror}.") from None
            with _work(servers, process) as work:
                wrapped = work.rewrap()
            write_master(path, path.read_text("ascii").split()[-1:])
            console.print(f"{layout.database_of(process)}: {wrapped:,} data keys under a new master key.")
    return 0


def _all(done: str, work_on: Callable[[Reseal], int]) -> int:
    bar = Progress(
        TextColumn("{task.description:<30}"), BarColumn(), TextColumn("{task.completed:,}/{task.total:,}"),
        console=console,
    )  # fmt: skip
    counts = {}
    with servers_here() as servers, bar:
        for process in sealing():
            try:
                with _work(servers, process, bar) as work:
                    counts[layout.database_of(process)] = work_on(work)
            except NotDone as problem:
                raise NotPossible(f"{layout.database_of(process)}: {problem}.") from None
            except Broken:
                raise NotPossible(f"{process}.master is not the key that its data are under.") from None
    for database, count in counts.items():
        console.print(f"{database}: {count:,} rows {done}.")
    console.print(f"{sum(counts.values()):,} rows of {len(counts)} databases {done}.")
    return 0
