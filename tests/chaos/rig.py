"""Puts a workload and faults together on a real installation, and says what came of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack import people
from tests.chaos import routes
from tests.chaos.audit import Audit, Finding
from tests.chaos.client import Client, Journal
from tests.chaos.faults import Fault, Hurt, plan, scenario
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
class Platform:
    """An installation that can be hurt: with `proxied`, a proxy stands between every two parts."""

    folder: Path
    installation: Installation
    proxies: dict[str, Proxy]


@asynccontextmanager
async def started(
    name: str,
    *,
    proxied: bool = True,
    env: Mapping[str, str] | None = None,
    only: Mapping[str, Mapping[str, str]] | None = None,
    say: Say = print,
) -> AsyncIterator[Platform]:
    """A platform that is up, ended afterwards. Its folder stays unless a verdict removed it."""
    folder = await asyncio.to_thread(_folder, name)
    installation = Installation(folder / "home", **(env or {}))
    proxies: dict[str, Proxy] = {}
    try:
        began = time.monotonic()
        if proxied:
            proxies = await routes.between(installation.home)
        for process, variables in (only or {}).items():
            routes.tell(installation.home, process, dict(variables))
        await asyncio.to_thread(installation.up, "--empty")
        say(f"{name}: up after {time.monotonic() - began:.0f} s in {installation.home}")
        yield Platform(folder, installation, proxies)
    finally:
        for proxy in proxies.values():
            await proxy.stop()
        await asyncio.to_thread(installation.tradewind, "down")


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
    script: Sequence[Fault] | None = None
    scenario: str = ""
    verify: bool = True
    rebuild: bool = True
    say: Say = print

    @property
    def command(self) -> str:
        """What replays it."""
        drawn = f"--scenario {self.scenario}" if self.scenario else f"--faults {','.join(self.faults)}"
        return (
            f"python -m tests.chaos --seed {self.seed} --seconds {self.seconds:g} --orders {self.orders}"
            f" {drawn} --pause {self.pause:g} --clients {self.clients}"
        )

    @property
    def needs_proxies(self) -> bool:
        """Whether anything it does happens on the way between two parts."""
        kinds = {*self.faults} | {fault.kind for fault in self.script or ()}
        return bool(kinds & {"proxy", "outage"}) or self.scenario in ("outage", "network")

    async def on(self, platform: Platform) -> Verdict:
        """Hurt a platform at work and judge it; its organizations are made anew, so it may be used again."""
        self.platform, installation = platform, platform.installation
        journal = Journal(platform.folder / f"journal-{self.seed}.jsonl")
        tenants, companies = await self._companies(installation, journal)
        hurt = Hurt(installation, platform.folder / f"faults-{self.seed}.log", platform.proxies)
        over = asyncio.Event()
        self.work = Workload(self.seed, companies, self.clients, self.orders, over.is_set)
        await self.work.furnish()
        audit = self.audit = Audit(installation, self.work, tenants)
        journal.began = time.monotonic()
        asyncio.get_running_loop().call_later(self.seconds, over.set)
        progress = asyncio.create_task(self._progress(self.work, hurt, journal))
        working = asyncio.create_task(self.work.run())
        try:
            await hurt.run(self._faults())
            await asyncio.to_thread(audit.ends, hurt.last or time.monotonic())
            await working
        finally:
            progress.cancel()
        began = time.monotonic()
        await self._judge(audit)
        audit.figures["audited in"] = f"{time.monotonic() - began:.1f} s"
        for company in companies:
            await company.client.close()
        journal.close()
        counters = {
            "orders": self.work.begun, **journal.counts, **audit.figures,
            "stories": dict(self.work.told.most_common()), "consequences": self.work.waited(),
            "faults missed, left out": f"{hurt.missed}, {hurt.left_out}",
        }  # fmt: skip
        found = tuple(audit.findings)
        return Verdict(self.seed, self.command, found, counters, dict(hurt.done), platform.folder)

    def _faults(self) -> Sequence[Fault]:
        if self.script is not None:
            return self.script
        pairs = sorted(self.platform.proxies)
        if self.scenario:
            return scenario(self.scenario, self.seconds, pairs)
        return plan(self.seed, self.seconds, self.faults, self.pause, pairs)

    async def _judge(self, audit: Audit) -> None:
        await asyncio.to_thread(audit.converge)
        await asyncio.to_thread(audit.ask_databases)
        audit.ask_clients()
        await audit.ask_again()
        if self.verify:
            await asyncio.to_thread(audit.ask_product)
        if self.rebuild:
            await audit.rebuild()

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


def run(
    seed: int,
    *,
    env: Mapping[str, str] | None = None,
    only: Mapping[str, Mapping[str, str]] | None = None,
    **wanted: Any,
) -> Verdict:
    """One run on an installation of its own; see Run for what can be asked for, README.md for the findings.

    `env` is told to every process, `only={"inventory": {…}}` to one of them alone.
    """

    async def alone() -> Verdict:
        wish = Run(seed, **wanted)
        name = f"seed {seed}"
        async with started(name, proxied=wish.needs_proxies, env=env, only=only, say=wish.say) as platform:
            verdict = await wish.on(platform)
        if verdict.ok:
            shutil.rmtree(platform.folder, ignore_errors=True)
        return verdict

    return asyncio.run(alone())


def _folder(name: str) -> Path:
    """Where a platform keeps its installation, and a run its papers."""
    folder = Path(tempfile.mkdtemp(prefix=f"tradewind-chaos-{name.replace(' ', '-')}-"))
    (folder / "home").mkdir()
    for path in (folder, folder / "home"):
        path.chmod(0o711)
    return folder


def _found(installation: Installation, organization: str, email: str) -> dict[str, str]:
    with installation.servers() as servers:
        return people.found(servers, organization, email, currency="CNY")
