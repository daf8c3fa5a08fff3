"""Replicas that are stopped, killed and frozen under load: `python -m tests.chaos.failover --help`."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.chaos.fleet import EMAIL, PASSWORD, Fleet, Replica, fleet
from tests.chaos.load import Client, Load, NotTaken
from tests.servers import Servers, running

PEOPLE = 8  # who ask at each gateway
SETTLES = 1.5  # seconds in which every client finds a replica that came back
ENDS_WITHIN = 25.0  # seconds from SIGTERM to the exit
PATIENCE = 13.0  # seconds in which traffic has to have left a frozen replica: so long callers wait
Say = Callable[[str], None]


@asynccontextmanager
async def loaded(
    found: Fleet,
    what: str,
    *,
    rate: float,
    seed: int,
    gateways: int = 1,
    timeout: float = 10.0,
    again: bool = False,
) -> AsyncIterator[list[Load]]:
    """A load on the first *gateways* of the fleet, together *rate* requests a second."""
    loads, until, tasks = [], asyncio.Event(), []
    for nth, one in enumerate(found.gateways[:gateways]):
        client = Client(found.http[one.name])
        await client.sign_in(EMAIL, PASSWORD)
        await client.hire(PEOPLE - 1)
        loads.append(Load(client, rate / gateways, seed * 10 + nth, timeout, again, what))
    try:
        tasks = [asyncio.create_task(load.run(until)) for load in loads]
        await asyncio.sleep(1)
        yield loads
    finally:
        until.set()
        await asyncio.gather(*tasks)
        for load in loads:
            load.client.close()


async def rolling(found: Fleet, rounds: int, say: Say) -> list[str]:
    """SIGTERM, then kill -9, of one replica after the other; what was wrong with how they ended."""
    wrong: list[str] = []
    for number in (signal.SIGTERM, signal.SIGKILL):
        for nth in range(rounds):
            one = found.replicas[nth % len(found.replicas)]
            began, pid = time.monotonic(), one.pid
            one.send(number)
            code = await one.ended()
            took = time.monotonic() - began
            if number == signal.SIGTERM:
                wrong += await ending(found, one, pid, code, took)
            one.spawn()
            await one.ready()
            await asyncio.sleep(SETTLES)
            say(
                f"{number.name} {nth + 1}/{rounds} {one.name}: exit {code} after {took:.2f} s,"
                f" serves again {time.monotonic() - began:.1f} s after the signal"
            )
    return wrong


async def ending(found: Fleet, one: Replica, pid: int, code: int, took: float) -> list[str]:
    """What is wrong with how a process ended that was asked to."""
    wrong = [f"{one.name} holds the lease of {lease[0]} after its end" for lease in await found.leases(pid)]
    if code != 0:
        wrong.append(f"{one.name} ended with exit code {code}:\n{one.last_words()}")
    if took > ENDS_WITHIN:
        wrong.append(f"{one.name} took {took:.1f} s to end")
    return wrong


async def frozen(found: Fleet, seconds: float, say: Say) -> float:
    """Freeze a replica under load and thaw it; when that was, by the monotonic clock."""
    one, at = found.replicas[0], time.monotonic()
    one.send(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        one.send(signal.SIGCONT)
    say(f"{one.name} was frozen for {seconds:g} s")
    return at


async def gateway_restarts(found: Fleet, rounds: int, load: Load, say: Say) -> list[str]:
    """SIGTERM of the only gateway, again and again; what was wrong with how it left."""
    wrong: list[str] = []
    one = found.gateways[0]
    for nth in range(rounds):
        began, goodbyes = time.monotonic(), load.client.goodbyes
        one.send(signal.SIGTERM)
        told = await last_readiness(found.http[one.name])
        code = await one.ended()
        took = time.monotonic() - began
        wrong += await ending(found, one, one.pid, code, took)
        if told != 503:
            wrong.append(f"/readyz said {told} until the port closed")
        if load.client.goodbyes == goodbyes:
            wrong.append("no answer said that it was the last of its connection")
        one.spawn()
        await one.ready()
        say(f"SIGTERM {nth + 1}/{rounds} {one.name}: readiness {told}, exit {code} after {took:.2f} s")
        await asyncio.sleep(1)
    return wrong


async def last_readiness(port: int) -> int:
    """The last that /readyz says before the port closes."""
    told = 0
    while True:
        client = Client(port)
        try:
            told, _ = await client.ask("GET", "/readyz")
        except (NotTaken, ConnectionError, TimeoutError):
            return told
        finally:
            client.close()
        await asyncio.sleep(0.05)


async def lost_or_doubled(found: Fleet, loads: list[Load]) -> list[str]:
    """Acknowledged writes that are not there, and writes that are there twice."""
    kept: dict[str, list[str]] = {}
    for name, identifier in await found.rows("SELECT display_name, id::text FROM customers"):
        kept.setdefault(name.removeprefix("Company "), []).append(f"customers/{identifier}")
    wrong = [f"{title} is there {len(names)} times" for title, names in kept.items() if len(names) > 1]
    for load in loads:
        wrong += [
            f"{title} was acknowledged as {name} and is lost"
            for title, name in load.made.items() if kept.get(title, [None])[0] != name
        ]  # fmt: skip
    return wrong


async def under_load(
    found: Fleet, what: str, *, rate: float, seed: int, rounds: int, seconds: float, say: Say
) -> list[str]:
    """One kind of trouble under load; what was found wrong."""
    more = {
        "rolling": {},
        "frozen": {"gateways": 2, "timeout": PATIENCE},
        "gateway": {"again": True},
    }[what]
    async with loaded(found, what, rate=rate, seed=seed, **more) as loads:
        wrong: list[str] = []
        if what == "rolling":
            wrong += await rolling(found, rounds, say)
        elif what == "gateway":
            wrong += await gateway_restarts(found, rounds, loads[0], say)
        else:
            await frozen(found, seconds, say)
            await asyncio.sleep(seconds / 2)
    for load, one in zip(loads, found.gateways, strict=False):
        say(f"{one.name}: {load.verdict()}")
    return wrong + await lost_or_doubled(found, loads) + judged(what, loads)


def judged(what: str, loads: list[Load]) -> list[str]:
    """What the counters break of the bars."""
    wrong = []
    if loads[0].failed.total() > (loads[0].sent // 100 if what == "frozen" else 0):
        wrong.append(f"{loads[0].failed.total()} calls failed: {dict(loads[0].failed)}")
    if what == "frozen" and loads[1].failed.total() <= loads[1].sent // 100:
        wrong.append("the gateway without the ping time-out did not suffer: this shows nothing")
    return wrong


async def run(said: argparse.Namespace, servers: Servers, home: Path) -> list[str]:
    """One of the rigs, as asked for; what was found wrong."""
    async with fleet(servers, home, gateways=(False, True) if said.what == "frozen" else (False,)) as found:
        return await under_load(
            found, said.what, rate=said.rate, seed=said.seed, rounds=said.rounds, seconds=said.seconds,
            say=lambda line: print(line, flush=True),
        )  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run one rig; 0 when everything holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.failover", description=__doc__)
    parser.add_argument("what", choices=("rolling", "frozen", "gateway"))
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second")
    parser.add_argument("--rounds", type=int, default=10, help="of each signal")
    parser.add_argument("--seconds", type=float, default=20.0, help="that a replica stands still")
    parser.add_argument("--seed", type=int, default=1)
    said = parser.parse_args(arguments)
    home = Path(tempfile.mkdtemp(prefix="tradewind-failover-"))
    try:
        with running() as servers:
            wrong = asyncio.run(run(said, servers, home))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print("\n".join(wrong[:20]) or "everything held")
    if wrong:
        print("Again: python -m tests.chaos.failover " + " ".join(arguments))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
