"""Puts a workload and faults together on a real installation, and says what came of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from stack import layout, people
from tests.chaos import routes
from tests.chaos.audit import Audit, Finding
from tests.chaos.client import Client, Journal
from tests.chaos.faults import Fault, Hurt, plan
from tests.chaos.proxy import Proxy
from tests.chaos.workload import Company, Workload
from tests.installation import Installation

ORGANIZATIONS = 2
SHORT = ("kill", "stop", "term", "wipe", "proxy")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Verdict:
    """What a run found: nothing, or findings by name; `ok` is what a test asserts."""

    seed: int
    command: str  # that replays it
    findings: tuple[Finding, ...]
    counters: Mapping[str, Any]
    faults: Mapping[str, int]
    folder: Path  # fault log, journal and, after a failure, the processes' logs

    @property
    def ok(self) -> bool:
        """Whether everything promised was held."""
        return not self.findings

    @property
    def names(self) -> set[str]:
        """The names of what was found."""
        return {finding.name for finding in self.findings}

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}: " + ("everything holds" if self.ok else f"{len(self.findings)} findings")
        ]
        lines += [
            f"  faults: {', '.join(f'{name} {n}' for name, n in self.faults.items() if ' ' not in name)}"
        ]
        lines += [f"  {name}: {value}" for name, value in self.counters.items()]
        lines += [f"  ✗ {finding}" for finding in self.findings]
        if not self.ok:
            lines += [f"  replay: {self.command}", f"  look into: {self.folder}"]
        return "\n".join(lines)


@dataclass
class Run:
    """One run: everything that `run` was asked for."""

    seed: int
    seconds: float = 90.0
    orders: int = 0
    faults: Sequence[str] = SHORT
    pause: float = 1.3
    clients: int = 24
    patience: float = 180.0
    env: Mapping[str, str] = field(default_factory=dict)
    only: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    script: Sequence[Fault] | None = None
    rebuild: bool = True
    installation: Installation | None = None  # one that is up already, and stays up
    say: Say = print

    @property
    def command(self) -> str:
        """What replays it."""
        return (
            f"python -m tests.chaos --seed {self.seed} --seconds {self.seconds:g} --orders {self.orders}"
            f" --faults {','.join(self.faults)} --pause {self.pause:g} --clients {self.clients}"
        )

    async def carry_out(self) -> Verdict:
        """Start an installation, hurt it at work, judge it, end it."""
        folder = await asyncio.to_thread(_folder, self.seed)
        proxies: dict[str, Proxy] = {}
        verdict = None
        try:
            installation = self.installation or Installation(folder / "home", **self.env)
            if not self.installation:
                await self._start(installation, proxies)
            verdict = await self._on(installation, proxies, folder)
            return verdict
        finally:
            for proxy in proxies.values():
                await proxy.stop()
            if not self.installation:
                await asyncio.to_thread(installation.tradewind, "down")
            if verdict is not None and verdict.ok:
                shutil.rmtree(folder, ignore_errors=True)

    async def _start(self, installation: Installation, proxies: dict[str, Proxy]) -> None:
        began = time.monotonic()
        if {"proxy", "outage"} & ({*self.faults} | {fault.kind for fault in self.script or ()}):
            proxies.update(await routes.between(installation.home))
        for process, variables in self.only.items():
            routes.tell(installation.home, process, dict(variables))
        await asyncio.to_thread(installation.up, "--empty")
        self.say(f"seed {self.seed}: up after {time.monotonic() - began:.0f} s in {installation.home}")

    async def _on(self, installation: Installation, proxies: dict[str, Proxy], folder: Path) -> Verdict:
        journal = Journal(folder / "journal.jsonl")
        tenants, companies = await self._companies(installation, journal)
        hurt = Hurt(installation, folder / "faults.log", proxies)
        faults = self.script if self.script is not None else plan(
            self.seed, self.seconds, self.faults, self.pause, sorted(proxies))  # fmt: skip
        ends = time.monotonic() + 3600
        work = Workload(self.seed, companies, self.clients, self.orders, lambda: time.monotonic() > ends)
        await work.furnish()
        audit = Audit(installation, work, tenants)
        ends = time.monotonic() + self.seconds
        progress = asyncio.create_task(self._progress(work, hurt, journal))
        working = asyncio.create_task(work.run())
        try:
            await hurt.run(faults)
            audit.ended = await asyncio.to_thread(_patiently, audit.now)
            await working
        finally:
            progress.cancel()
        hurting = time.monotonic()
        await asyncio.to_thread(audit.converge)
        await asyncio.to_thread(audit.ask_databases)
        audit.ask_clients()
        await audit.ask_again()
        await asyncio.to_thread(audit.ask_product)
        if self.rebuild:
            await audit.rebuild()
        audit.figures["audited in"] = f"{time.monotonic() - hurting:.1f} s"
        for company in companies:
            await company.client.close()
        journal.close()
        counters = {
            "orders": work.begun, **journal.counts, **audit.figures, "stories": dict(work.told.most_common()),
            "missed": hurt.missed,
        }  # fmt: skip
        return Verdict(self.seed, self.command, tuple(audit.findings), counters, dict(hurt.done), folder)

    async def _companies(
        self, installation: Installation, journal: Journal
    ) -> tuple[dict[str, str], list[Company]]:
        tenants, companies = dict[str, str](), list[Company]()
        for n in range(ORGANIZATIONS):
            label = f"Chaos {n} of {os.getpid()} {time.time_ns()}"
            email = f"admin{n}-{time.time_ns()}@chaos.example"
            person = await asyncio.to_thread(_found, installation, label, email)
            client = Client(label, installation.http, installation.grpc, journal, self.patience)
            await client.sign_in(email, person["password"])
            tenants[label] = (await client.read("GetMe"))["organization"]["name"].rpartition("/")[2]
            companies.append(Company(client))
        return tenants, companies

    async def _progress(self, work: Workload, hurt: Hurt, journal: Journal) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(10)
            hits = sum(count for name, count in hurt.done.items() if " " not in name)
            self.say(
                f"  {time.monotonic() - began:5.0f} s  {work.begun} orders begun,"
                f" {sum(work.told.values())} told, {journal.counts['acknowledged']} answers, {hits} faults"
            )


def run(seed: int, **wanted: Any) -> Verdict:
    """One run on an installation of its own; see Run for what can be asked for, README.md for the findings.

    `env` is told to every process, `only={"inventory": {…}}` to one of them alone.
    """
    return asyncio.run(Run(seed, **wanted).carry_out())


def _folder(seed: int) -> Path:
    """Where a run keeps its installation and its papers."""
    folder = Path(tempfile.mkdtemp(prefix=f"tradewind-chaos-{seed}-"))
    (folder / "home").mkdir()
    for path in (folder, folder / "home"):
        path.chmod(0o711)
    return folder


def _found(installation: Installation, organization: str, email: str) -> dict[str, str]:
    with mock.patch.dict(os.environ, installation.env, clear=True):
        servers = layout.Servers.from_env()
        with servers.reachable(running=True):
            return people.found(servers, organization, email, currency="CNY")


def _patiently(ask: Callable[[], str]) -> str:
    """The answer, once there is somebody to give it."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return ask()
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
