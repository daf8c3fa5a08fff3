"""What it costs to know who asks and what they may: the same requests with that, and with all of it left out.

Two pairs of gateway and customer service at one database. The plain pair identifies the caller, mints and
verifies their token, decides by permission, scope and field rules; the other one believes everybody.
What a process spends when nobody asks is taken off: of a pair, one alone numbers facts and has other turns.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from bench import load
from bench.company import turns
from bench.cpu import since, spent
from bench.harness import Bench, Sample
from bench.rig import Rig, rig
from stack import files, layout, people
from stack.api import Api
from stack.supervisor import Child, wait_ready

CLIENTS, PEOPLE = 16, 8
SECONDS, REST = 4.0, 8.0
CUSTOMERS = 60  # of each representative
PASSWORD = "tall grass by the river"


class Pair:
    """A gateway and its customer service, with the PostgreSQL of all."""

    def __init__(self, found: Rig, door: tuple[str, int], pids: dict[str, int]) -> None:
        self.found, self.door, self.pids = found, door, pids
        self.idle: dict[str, float] = {}  # CPU seconds in a second in which nobody asks

    def spent(self) -> dict[str, float]:
        """CPU seconds so far."""
        return {name: spent(pid) for name, pid in self.pids.items()} | {
            "postgres": self.found.cpu()["postgres"]
        }

    async def rest(self, seconds: float) -> None:
        """Learn what is spent while nobody asks."""
        before = self.spent()
        await asyncio.sleep(seconds)
        self.idle = {name: used / seconds for name, used in since(before, self.spent()).items()}

    async def load(self, requests: list[Callable[[], bytes]], seconds: float) -> Sample:
        """What the requests cost beyond that."""
        before = self.spent()
        done = await load.http(self.door, turns(requests), clients=CLIENTS, seconds=seconds)
        used = since(before, self.spent())
        cost = {name: used[name] - self.idle[name] * done.seconds for name in used}
        return Sample(done.count, done.seconds, cost, done.times)


async def measure(bench: Bench) -> None:
    """One customer read, and a page of 50, by representatives who reach their own records alone."""
    with rig("customer", "gateway") as found:
        tokens, names = await asyncio.to_thread(_representatives, found)
        found.analyze("customer")
        with _unguarded(found) as (door, pids):
            guarded = Pair(found, found.http, {name: found.pid(name) for name in ("gateway", "customer")})
            unguarded = Pair(found, door, pids)
            for pair in (guarded, unguarded):
                await pair.rest(bench.seconds(REST))
            for work, paths in (
                ("a customer read", [f"/v1/{name}" for name in names]),
                ("a page of 50 customers", ["/v1/customers?pageSize=50"] * PEOPLE),
            ):
                await _measure(bench, work, list(zip(tokens, paths, strict=True)), guarded, unguarded)


async def _measure(
    bench: Bench, work: str, asked: list[tuple[str, str]], guarded: Pair, unguarded: Pair
) -> None:
    made = [load.request("GET", path, token) for token, path in asked]
    requests = [partial(_same, request) for request in made]
    seconds = bench.seconds(SECONDS)
    runs = await bench.interleave(
        guarded=lambda: guarded.load(requests, seconds), unguarded=lambda: unguarded.load(requests, seconds)
    )
    bench.row(f"CPU of {work}, who asks and what they may found out", "the same, everybody believed",
              runs.ratio("guarded", "unguarded", Sample.cost), ("at most", 1.10))  # fmt: skip
    for name in ("guarded", "unguarded"):
        bench.costs_of(f"{work}, {name}", runs, name)


def _same(request: bytes) -> bytes:
    return request


def _representatives(found: Rig) -> tuple[list[str], list[str]]:
    """The access tokens of people with customers of their own, and the name of one customer of each."""
    boss = people.found(found.servers, "Bench", "bench@bench.example")
    return asyncio.run(_hired(Api("http://{}:{}".format(*found.http)), boss))


async def _hired(api: Api, boss: dict[str, str]) -> tuple[list[str], list[str]]:
    await api.sign_in(boss["email"], boss["password"])
    tokens, names = [], []
    for number in range(PEOPLE):
        email = f"rep{number}@bench.example"
        user = {"displayName": f"Rep {number}", "email": email, "roles": ["roles/sales_rep"]}
        invited = await api.post("/v1/users", user)
        code = {"invitationCode": invited["invitationCode"], "password": PASSWORD}
        await api.post("/v1/users:activate", code)
        tokens.append((await api.post("/v1/sessions", {"email": email, "password": PASSWORD}))["accessToken"])
        for nth in range(CUSTOMERS):
            said = {"displayName": f"Customer {number} {nth}", "owner": invited["name"]}
            made = await api.post("/v1/customers", said)
        names.append(made["name"])
    await api.close()
    return tokens, names


@contextmanager
def _unguarded(found: Rig) -> Iterator[tuple[tuple[str, int], dict[str, int]]]:
    """A second pair beside the rig's: where its gateway answers HTTP, and the process ids."""
    address = f"{files.HERE}:{files.free_port()}"
    http = files.free_port()
    told = {
        "customer": {"TRADEWIND_LISTEN_CUSTOMER": address},
        layout.GATEWAY: {
            "TRADEWIND_ADDRESS_CUSTOMER": address, "TRADEWIND_HTTP_PORT": str(http),
            "TRADEWIND_GRPC_PORT": str(files.free_port()),
            "TRADEWIND_LISTEN_GATEWAY": f"{files.HERE}:{files.free_port()}",
        },
    }  # fmt: skip
    running: list[Believer] = []
    try:
        for process, env in told.items():
            ready = f"http://{files.HERE}:{http}/healthz" if process == layout.GATEWAY else address
            metrics = {f"TRADEWIND_METRICS_LISTEN_{process.upper()}": ""}
            said = found.servers.environment(process) | metrics | env
            log = found.servers.home / "logs" / f"unguarded-{process}.log"
            running.append(Believer(process, said, log, ready))
            running[-1].spawn()
        wait_ready(running)
        yield (files.HERE, http), {each.name: each.pid for each in running}
    finally:
        for each in running:
            each.stop()


class Believer(Child):
    """A process of bench/unguarded.py."""

    def spawn(self) -> None:
        """Start it; what it says goes to its log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bench.unguarded", self.name], env=self.env, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process
        return self.process.pid
