"""The previous release beside this one, on databases of this one: services and gateways of both at work.

`python -m tests.chaos.versions` is the long form. The previous release's tree comes out of git, is compiled
in a folder of its own, and runs in the same Python environment.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from unittest import mock

import psycopg
import pytest

from stack import files, layout
from stack.postgres import Postgres
from tests.chaos.audit import Audit
from tests.chaos.client import Client, Journal
from tests.chaos.rig import _found
from tests.chaos.workload import Company, Workload
from tests.installation import Installation
from tests.journeys import test_thread
from tests.journeys.conftest import Stack

ROOT = Path(__file__).resolve().parents[2]
# The last commit of each release that has no tag.
RELEASES = {"0.1.0": "0da1adad664de5aed6f2cac1e421211d6e8595a4"}
STARTS_WITHIN = 240.0


def previous() -> str:
    """The release before this tree: the newest whose contract was kept, other than this version's own."""
    own = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    kept = [path.name[1:].partition(".binpb")[0] for path in (ROOT / "proto/released").glob("v*.binpb.gz")]
    return max((name for name in kept if name != own), key=lambda name: [int(n) for n in name.split(".")])


def tree(folder: Path) -> Path:
    """The previous release, compiled, in *folder*; skips where git does not have it."""
    release = previous()
    for name in (f"v{release}", RELEASES.get(release, "")):
        made = name and subprocess.run(["git", "archive", name], cwd=ROOT, capture_output=True)
        if made and made.returncode == 0:
            with tarfile.open(fileobj=BytesIO(made.stdout)) as archive:
                archive.extractall(folder, filter="data")
            done = subprocess.run(
                [sys.executable, "stack/protos.py"], cwd=folder, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return folder
    pytest.skip(f"git does not hold release {release} here: its history is shallow")


@dataclass(frozen=True)
class Way:
    """A gateway of one version in front of the services of another, and where it listens."""

    title: str
    http: int
    grpc: int


class Beside:
    """Processes of both versions beside those of an installation that runs."""

    def __init__(self, installation: Installation, old: Path) -> None:
        self.installation, self.old = installation, old
        self.logs = installation.home / "beside"
        self.logs.mkdir()
        self.processes: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.ports = {process: files.free_port() for process in layout.SERVICES}

    def start(self) -> list[Way]:
        """Old services, an old gateway in front of the new services, a new one in front of the old."""
        for process in layout.SERVICES:
            listen = {f"TRADEWIND_LISTEN_{process.upper()}": f"127.0.0.1:{self.ports[process]}"}
            self._spawn(f"old {process}", process, self.old, listen | self._peers(old=True))
        return [
            self._gateway("the old gateway before new services", self.old, old_services=False),
            self._gateway("the new gateway before old services", ROOT, old_services=True),
        ]

    def _gateway(self, title: str, source: Path, *, old_services: bool) -> Way:
        way = Way(title, files.free_port(), files.free_port())
        self._spawn(title, layout.GATEWAY, source, self._peers(old=old_services) | {
            "TRADEWIND_LISTEN_GATEWAY": f"127.0.0.1:{files.free_port()}",
            "TRADEWIND_HTTP_PORT": str(way.http), "TRADEWIND_GRPC_PORT": str(way.grpc),
        })  # fmt: skip
        return way

    def _peers(self, *, old: bool) -> dict[str, str]:
        return {
            f"TRADEWIND_ADDRESS_{process.upper()}": f"127.0.0.1:{self.ports[process]}"
            for process in layout.SERVICES
            if old
        }

    def _spawn(self, title: str, process: str, source: Path, told: dict[str, str]) -> None:
        with mock.patch.dict(os.environ, self.installation.env, clear=True):
            servers = layout.Servers.from_env()
            with servers.reachable(running=True):
                env = servers.environment(process)
        env.pop(f"TRADEWIND_METRICS_LISTEN_{process.upper()}", None)
        env |= told | {"PYTHONPATH": f"{source}{os.pathsep}{source / 'gen'}"}
        with open(self.logs / f"{title.replace(' ', '-')}.log", "wb") as log:
            made = subprocess.Popen(
                layout.command(process), cwd=source, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.processes.append((title, made))

    def wait(self, ways: list[Way]) -> None:
        """Until everything listens."""
        ports = [*self.ports.values(), *(way.http for way in ways)]
        deadline = time.monotonic() + STARTS_WITHIN
        while any(files.is_free(port) for port in ports):
            ended = [title for title, process in self.processes if process.poll() is not None]
            assert not ended, f"{ended} ended:\n{self.said()}"
            assert time.monotonic() < deadline, f"not all of them start:\n{self.said()}"
            time.sleep(0.2)

    def said(self, lines: int = 8) -> str:
        """The end of every log."""
        ends = [(p.name, p.read_text("utf-8", "replace").splitlines()[-lines:]) for p in self.logs.iterdir()]
        return "\n".join("\n".join([f"== {name}", *end]) for name, end in sorted(ends))

    def stop(self) -> None:
        """End them as a rollout does."""
        for _, process in reversed(self.processes):
            process.terminate()
        for _, process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()


@contextlib.contextmanager
def beside(installation: Installation) -> Iterator[tuple[Beside, list[Way]]]:
    """Both versions at work, on the databases of *installation*."""
    folder = Path(tempfile.mkdtemp(prefix="tradewind-previous-"))
    try:
        found = Beside(installation, tree(folder))
        try:
            ways = found.start()
            found.wait(ways)
            yield found, ways
        finally:
            found.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def work(installation: Installation, ways: list[Way], seed: int, orders: int) -> tuple[list[str], str]:
    """Orders through every way at once; what went wrong, and a sentence on what was done."""
    journal = Journal(installation.home / f"versions-{seed}.jsonl")
    companies, tenants = [], {}
    for n, way in enumerate(ways):
        label, email = f"{way.title} {time.time_ns()}", f"both{n}-{time.time_ns()}@chaos.example"
        person = await asyncio.to_thread(_found, installation, label, email)
        client = Client(label, f"http://127.0.0.1:{way.http}", f"127.0.0.1:{way.grpc}", journal, 120.0)
        await client.sign_in(email, person["password"])
        tenants[label] = (await client.read("GetMe"))["organization"]["name"].rpartition("/")[2]
        companies.append(Company(client))
    load = Workload(seed, companies, 4, orders, lambda: False)
    await load.furnish()
    audit = Audit(installation, load, tenants)
    await load.run()
    await asyncio.to_thread(audit.ends, time.monotonic())
    await asyncio.to_thread(audit.converge)
    await asyncio.to_thread(audit.ask_databases)
    audit.ask_clients()
    await asyncio.to_thread(audit.ask_product)
    for company in companies:
        await company.client.close()
    journal.close()
    away = [f"{name}: {count}" for name, count in journal.counts.items() if "UNAVAILABLE" in name]
    done = f"{load.begun} orders, {journal.counts['acknowledged']} answers: {dict(load.told)}"
    return [*map(str, audit.findings), *away], done


def left_plain(installation: Installation) -> None:
    """As the previous release leaves its databases: what is personal stands in plain, until everything runs
    this one and `tradewind keys encrypt` seals it."""
    cluster = Postgres(installation.home)
    cluster.port = files.held(installation.home, "postgres")
    for process in layout.PROCESSES:
        with psycopg.connect(cluster.url(layout.database_of(process)), autocommit=True) as db:
            if db.execute("SELECT to_regclass('sealing')").fetchone() != (None,):
                db.execute("UPDATE sealing SET phase = 'PLAIN'")


def story(installation: Installation, way: Way, transport: str) -> None:
    """The whole thread from lead to cash, through one of the gateways."""
    email = f"story-{transport}-{time.time_ns()}@chaos.example"
    person = _found(installation, f"Story over {transport} {time.time_ns()}", email)
    stack = Stack(
        installation.home, installation.env, f"http://127.0.0.1:{way.http}", f"127.0.0.1:{way.grpc}",
        person["email"], person["password"],
    )  # fmt: skip
    test_thread.test_a_lead_becomes_cash(stack, transport)


def rehearse(installation: Installation, seed: int, orders: int, say: Callable[[str], None]) -> list[str]:
    """Both ways on an installation that runs; what went wrong."""
    left_plain(installation)
    with beside(installation) as (both, ways):
        say(f"release {previous()} runs beside this one")
        findings, done = asyncio.run(work(installation, ways, seed, orders))
        say(done)
        for way, transport in zip(ways, ("http", "grpc"), strict=True):
            story(installation, way, transport)
            say(f"from lead to cash over {transport} through {way.title}")
        if findings:
            say(both.said())
    return findings


def main() -> int:
    """Run; 0 when nothing failed."""
    top = argparse.ArgumentParser(prog="python -m tests.chaos.versions", description=__doc__)
    top.add_argument("--seed", type=int, default=1)
    top.add_argument("--orders", type=int, default=1000)
    asked = top.parse_args()
    home = Path(tempfile.mkdtemp(prefix="tradewind-versions-"))
    home.chmod(0o711)
    installation = Installation(home)
    try:
        installation.up("--empty")
        findings = rehearse(installation, asked.seed, asked.orders, lambda line: print(line, flush=True))
    finally:
        installation.tradewind("down")
        shutil.rmtree(home, ignore_errors=True)
    for finding in findings:
        print(f"✗ {finding}")
    command = f"python -m tests.chaos.versions --seed {asked.seed} --orders {asked.orders}"
    print(f"{len(findings)} findings; replay: {command}" if findings else "nothing failed")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
