"""What it costs to know who asks and what they may: the same requests with that, and with all of it left out.

Two pairs of gateway and customer service at one database. The plain pair identifies the caller, mints and
verifies their token, decides by permission, scope and field rules; the other one believes everybody.
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
SECONDS = 4.0
CUSTOMERS = 60  # of each representative
PASSWORD = "tall grass by the river"


async def measure(bench: Bench) -> None:
    """One customer read, and a page of 50, by representatives who reach their own records alone."""
    with rig("customer", "gateway", broker=False) as found:
        tokens, names = await asyncio.to_thread(_representatives, found)
        found.analyze("customer")
        with _unguarded(found) as (door, pids):
            guarded = {name: found.pid(name) for name in ("gateway", "customer")}
            for work, paths in (
                ("a customer read", [f"/v1/{name}" for name in names]),
                ("a page of 50 customers", ["/v1/customers?pageSize=50"] * PEOPLE),
            ):
                await _measure(bench, found, work, list(zip(tokens, paths, strict=True)), guarded, door, pids)


async def _measure(
    bench: Bench, found: Rig, work: str, asked: list[tuple[str, str]], guarded: dict[str, int],
    door: tuple[str, int], unguarded: dict[str, int],
) -> None:  # fmt: skip
    made = [load.request("GET", path, token) for token, path in asked]
    requests = [partial(_same, request) for request in made]
    seconds = bench.seconds(SECONDS)
    runs = await bench.interleave(
        guarded=lambda: _load(found, found.http, guarded, requests, seconds),
        unguarded=lambda: _load(found, door, unguarded, requests, seconds),
    )
    bench.row(f"CPU of {work}, who asks and what they may found out", "the same, everybody believed",
              runs.ratio("guarded", "unguarded", Sample.cost), ("at most", 1.10))  # fmt: skip
    for name in ("guarded", "unguarded"):
        bench.costs_of(f"{work}, {name}", runs, name)


async def _load(
    found: Rig, door: tuple[str, int], pids: dict[str, int], requests: list[Callable[[], bytes]],
    seconds: float,
) -> Sample:  # fmt: skip
    def now() -> dict[str, float]:
        return {name: spent(pid) for name, pid in pids.items()} | {"postgres": found.cpu()["postgres"]}

    before = now()
    done = await load.http(door, turns(requests), clients=CLIENTS, seconds=seconds)
    return Sample(done.count, done.seconds, since(before, now()), done.times)


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
