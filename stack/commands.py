"""The commands that work on an installation: migrate, seed, verify and import."""

from __future__ import annotations

import asyncio
import csv
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from chassis.kernel.refusals import Refused
from stack import audit as trail
from stack import demo, layout, operations, people
from stack.api import Api, ApiRefused
from stack.expressions import MappingWrong
from stack.files import read_json, write_private
from stack.importer import Import, Tally
from stack.journal import CREATED, SKIPPED, UPDATED, Journal
from stack.mapping import ImportMapping
from stack.running import NotPossible, installation, runner
from stack.terminal import console, show_columns

CONNECTIONS = 24


@contextmanager
def servers_here() -> Iterator[layout.Servers]:
    """The installation's servers, whether the platform runs or not."""
    servers = layout.Servers.from_env()
    if runner(servers.home):
        with servers.reachable(running=True):
            yield servers
    else:
        with installation(servers.home), servers.reachable(running=False):
            yield servers


def _address(servers: layout.Servers) -> str:
    """Where the running platform's API is."""
    address = servers.address_of_api()
    if not runner(servers.home) or not address:
        raise NotPossible(f"Tradewind is not running in {servers.home}; `tradewind up --detach` starts it.")
    return address


def migrate() -> int:
    """Bring every database to this version."""
    with servers_here() as servers:
        console.print(f"{operations.migrate_all(servers)}.")
    return 0


def certify(*, again: bool, authority: bool) -> int:
    """Make or renew the certificates that `up --tls` takes; processes that run take them up by themselves."""
    from stack import rights
    from stack.authority import Certificates
    from stack.nats import USERS, password_of

    servers = layout.Servers.from_env()
    settings, home = servers.settings, servers.home
    certificates = Certificates(home, layout.PROCESSES, settings.trust_domain, settings.host)
    made = certificates.change_authority() if authority else certificates.make(again=again)
    users = (rights.OPERATOR, *layout.PROCESSES)
    write_private(home / USERS, rights.authorization({user: password_of(home, user) for user in users}))
    for process in read_json(home / "state.json").get("processes", []):
        if process["name"] == "nats" and servers.encrypted and runner(home):
            os.kill(process["pid"], signal.SIGHUP)  # it alone has to be told
    console.print(f"{len(made)} made." if made else "nothing to do.")
    return 0


def seed(*, empty: bool) -> int:
    """Make the demo company, or an organization with nothing in it; what is made is not made twice."""
    with servers_here() as servers:
        try:
            made = demo.make_empty(servers) if empty else demo.make(servers, _address(servers))
        except (ApiRefused, Refused) as refused:
            raise NotPossible(f"The company could not be made: {refused}") from refused
        console.print(f"{made}.")
    return 0


def verify(*, audit: bool) -> int:
    """Print what every conservation law says, or every chain of facts; 1 when one is broken."""
    wanted = layout.Servers.from_env()
    if wanted.postgres and not (wanted.home / "postgres").exists():
        raise NotPossible(f"There is no installation in {wanted.home}; `tradewind up` makes one.")
    with servers_here() as servers:
        if audit:
            return trail.show(servers)
        verdicts = operations.verify_all(servers)
    rows = []
    for verdict in verdicts:
        holds = "[red]✗[/]" if verdict.broken else "[green]✓[/]"
        rows.append([holds, verdict.service, verdict.name, f"{verdict.counted:,}", verdict.sentence])
        rows += [["", "", "", "", f"[red]{escape(row)}[/]"] for row in verdict.broken]
    show_columns(["", "service", "law", "looked at", "what it says"], rows)
    broken = sum(bool(verdict.broken) for verdict in verdicts)
    console.print(f"\n{len(verdicts)} laws asked, {broken} broken.")
    return 1 if broken else 0


def rebuild(service: str) -> int:
    """Have a service that only counts what others do count it all again, from the first fact."""
    running = runner(layout.Servers.from_env().home)
    with servers_here() as servers:
        if not running:
            servers.choose_ports()
        operations.rebuild(servers, service)
    when = "now" if running else "when it is up again"
    console.print(f"{service} is empty and counts every fact from the first, {when}.")
    return 0


def events(service: str | None, source: str, record: str, *, again: bool) -> int:
    """Show the events that wait for a person, or apply them *again*; 1 when some of those still wait."""
    wanted = (service,) if service else layout.PROCESSES
    running = runner(layout.Servers.from_env().home)
    with servers_here() as servers:
        if not running:
            servers.choose_ports()
        found = operations.parked_events(servers, wanted, source, record, again=again)
    waiting = [(name, one) for name, (_, left) in found.items() for one in left]
    if waiting:
        rows = [
            [name, one.source, one.organization, f"{one.record} v{one.version}", one.type.rpartition(".")[2],
             f"{one.since:%Y-%m-%d %H:%M}", escape(one.problem)]
            for name, one in waiting
        ]  # fmt: skip
        show_columns(["service", "source", "organization", "record", "event", "since", "problem"], rows)
    for name, (applied, left) in found.items():
        if again and (applied or left):
            console.print(f"{name}: {applied} applied, {len(left)} still waiting.")
    if not again or not any(applied or left for applied, left in found.values()):
        console.print(
            f"{len(waiting)} events wait for a person." if waiting else "No event waits for a person."
        )
    return 1 if again and waiting else 0


def bring_in(
    path: Path, folder: Path, email: str | None, organization: str | None, report: Path | None
) -> int:
    """Import a folder by a mapping; 1 when a row was refused."""
    mapping = _mapping(path)
    if not folder.is_dir():
        raise NotPossible(f"There is no folder {folder}.")
    with servers_here() as servers:
        http = _address(servers)
        person = _importer(servers, mapping, email, organization)
        started = time.monotonic()
        try:
            tallies = asyncio.run(_run(servers, mapping, folder, http, person, report))
        except (MappingWrong, ApiRefused) as wrong:
            raise NotPossible(str(wrong)) from wrong
        except BaseExceptionGroup as several:
            wrong_mapping, rest = several.split(MappingWrong)
            if wrong_mapping is None or rest is not None:
                raise
            raise NotPossible(str(wrong_mapping.exceptions[0])) from several
    _show(tallies, time.monotonic() - started)
    return 0 if not any(tally.refused for tally in tallies) else 1


def _mapping(path: Path) -> ImportMapping:
    """A file, or the name of a mapping that comes along: `crm_maven`."""
    beside = Path(__file__).parent / "mappings" / f"{path.name.removesuffix('.yaml')}.yaml"
    if not path.is_file() and not beside.is_file():
        known = ", ".join(sorted(found.stem for found in beside.parent.glob("*.yaml")))
        raise NotPossible(f"There is no mapping {path}; give a YAML file, or one that comes along: {known}.")
    try:
        return ImportMapping.load(path if path.is_file() else beside)
    except MappingWrong as wrong:
        raise NotPossible(str(wrong)) from wrong


def _importer(
    servers: layout.Servers, mapping: ImportMapping, email: str | None, organization: str | None
) -> dict[str, str]:
    if organization:
        slug = "".join(c for c in mapping.name.lower() if c.isalnum())
        return people.find(servers.home, organization=organization, email=email or "") or people.found(
            servers, organization, email or f"admin@{slug}.example", **mapping.settings
        )
    person = people.find(servers.home, email=email or "")
    if person is None:
        raise NotPossible(
            f"{email or 'nobody'} is not in {servers.home / people.SIGN_INS}; --as names somebody who is, "
            "--organization makes a new one."
        )
    return person


async def _run(
    servers: layout.Servers,
    mapping: ImportMapping,
    folder: Path,
    http: str,
    person: dict[str, str],
    report: Path | None,
) -> list[Tally]:
    api = Api(http, connections=CONNECTIONS, organization=person["organization"], authority=servers.authority)
    await api.sign_in(person["email"], person["password"])
    bar = Progress(
        TextColumn("{task.description:<20}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(), console=console,
    )  # fmt: skip
    tasks = {step.name: bar.add_task(step.name, start=False) for step in mapping.steps}

    def progress(step: str, read: int, size: int) -> None:
        bar.start_task(tasks[step])
        bar.update(tasks[step], completed=read, total=max(size, 1))

    work = Import.into(servers.home, mapping, folder, api, progress, person["organization"])
    try:
        with bar:
            tallies = await work.run()
        if report:
            _write(report, work.journal)
    finally:
        work.journal.close()
        await api.close()
    return tallies


def _write(path: Path, journal: Journal) -> None:
    """The verdict on every row, as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["step", "row", "verdict", "refused", "reason", "record"])
        for entry in journal.entries():
            name = entry.names.get("$name", "")
            rows.writerow([entry.step, entry.row, entry.verdict, entry.refused, entry.reason, name])


def _counts(tally: Tally) -> list[int]:
    return [tally.verdicts[verdict] for verdict in (CREATED, UPDATED, SKIPPED)]


def _show(tallies: list[Tally], seconds: float) -> None:
    rows = [
        [tally.step, tally.file, *(f"{n:,}" for n in (tally.rows, *_counts(tally), tally.refused))]
        for tally in tallies
    ]
    show_columns(["step", "file", "rows", "created", "updated", "skipped", "refused"], rows)
    for tally in tallies:
        for sentence, count in [*tally.notes.most_common(), *tally.reasons.most_common(10)]:
            if count:
                console.print(f"  {tally.step}: {count:,} × {sentence}", markup=False)
    total = sum(tally.rows for tally in tallies)
    holds = all(tally.adds_up for tally in tallies)
    sums = "= created + updated + skipped" if holds else "do NOT add up: this is a defect"
    console.print(f"{total:,} rows {sums}; {seconds:.1f} s.")
