"""What is done to the platform, and when: drawn from the seed before anything begins."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stack import layout
from stack.pulse import Heard, ask
from tests.chaos.proxy import CLEAR, Proxy, Weather
from tests.installation import Installation

KINDS = ("kill", "stop", "term", "wipe", "proxy", "outage")
SCENARIOS = ("wipes", "outage", "network")
TARGETS = (*layout.PROCESSES, "nats", "postgres")
SHORTEST_STOP, LONGEST_STOP = 1.0, 15.0
AT_ONCE = 4  # so many targets may be down or on their way back; on a slow machine the next one waits
COMES_BACK_WITHIN = 60.0
# How often each kind is drawn, where all are asked for.
WEIGHTS = {"kill": 10, "stop": 5, "term": 2, "wipe": 2, "proxy": 5, "outage": 0}
WEATHERS = {
    "slow": Weather(delay=0.2, jitter=0.1),
    "torn": Weather(torn=0.05),
    "black hole": Weather(black_hole=True),
    "half open": Weather(half_open=True),
    "refused": Weather(refuse=True),
}


@dataclass(frozen=True)
class Fault:
    """One thing that is done *at* so many seconds after the beginning, to a process or to a pair."""

    at: float
    kind: str
    target: str
    seconds: float = 0.0
    weather: str = ""

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at:7.2f}  {self.weather or self.kind:<10} {self.target}{lasting}"


def plan(
    seed: int, seconds: float, kinds: Sequence[str], pause: float, pairs: Sequence[str] = ()
) -> list[Fault]:
    """The faults of a seed: one every *pause* seconds on average, for so many *seconds*."""
    chance = random.Random(f"{seed}/faults")
    kinds = [kind for kind in KINDS if kind in kinds and (pairs or kind not in ("proxy", "outage"))]
    weights = [WEIGHTS[kind] for kind in kinds]
    faults: list[Fault] = []
    at = chance.uniform(0.5, 2.0)
    while sum(weights) and at < seconds:
        faults.append(_drawn(chance, at, chance.choices(kinds, weights)[0], pairs))
        at += min(chance.expovariate(1 / pause), 4 * pause)
    return faults


def scenario(name: str, seconds: float, pairs: Sequence[str]) -> list[Fault]:
    """Faults that are not drawn: `wipes` of the broker's store, an `outage` of the broker, a bad `network`.

    The store is wiped five times; the broker is away from the third second to the fifth before the end; each
    pair has each weather for three seconds, one after the other, for as long as the time allows.
    """
    if name == "wipes":
        return [Fault(round(2 + n * (seconds - 4) / 5, 2), "wipe", "nats") for n in range(5)]
    if name == "outage":
        return [Fault(2.0, "outage", "nats", seconds - 7)]
    turns = [(pair, weather) for weather in sorted(WEATHERS) for pair in sorted(pairs)]
    return [
        Fault(2.0 + 4 * n, "proxy", pair, 3.0, weather)
        for n, (pair, weather) in enumerate(turns)
        if 5 + 4 * n < seconds
    ]


def _drawn(chance: random.Random, at: float, kind: str, pairs: Sequence[str]) -> Fault:
    # Short ones are common, long ones happen.
    lasting = SHORTEST_STOP + (LONGEST_STOP - SHORTEST_STOP) * chance.random() ** 3
    at, lasting = round(at, 2), round(lasting, 1)
    if kind == "wipe":
        return Fault(at, kind, "nats")
    if kind == "stop":
        return Fault(at, kind, chance.choice(TARGETS), lasting)
    if kind == "proxy":
        return Fault(at, kind, chance.choice(pairs), lasting, chance.choice(sorted(WEATHERS)))
    return Fault(at, kind, chance.choice(TARGETS))


@dataclass
class Hurt:
    """Carries faults out on a running installation and writes down what it did."""

    installation: Installation
    log: Path
    proxies: Mapping[str, Proxy] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    missed: int = 0  # the process was down already
    left_out: int = 0  # the time was over before its turn came
    last: float = 0.0
    _lasting: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, faults: Sequence[Fault]) -> None:
        """Each at its time, or as soon as few enough are down; returns when the last one is over."""
        began, places = time.monotonic(), asyncio.Semaphore(AT_ONCE)
        over = began + max((fault.at for fault in faults), default=0.0) + 1
        for nth, fault in enumerate(faults):
            await asyncio.sleep(max(0.0, began + fault.at - time.monotonic()))
            await places.acquire()
            if time.monotonic() > over:
                self.left_out = len(faults) - nth
                break
            task = asyncio.create_task(self._in_its_place(fault, places))
            self._lasting.add(task)
            task.add_done_callback(self._lasting.discard)
        await asyncio.gather(*self._lasting)

    async def _in_its_place(self, fault: Fault, places: asyncio.Semaphore) -> None:
        """The place is free again when the target is well."""
        try:
            await self.carry_out(fault)
            await asyncio.to_thread(self._await_recovery, fault.target)
        finally:
            places.release()

    def _await_recovery(self, target: str) -> None:
        deadline = time.monotonic() + COMES_BACK_WITHIN
        while time.monotonic() < deadline:
            address = self.installation.addresses().get(target)
            if address is None or ask(address, 1.0) == Heard.ANSWERS:
                return
            time.sleep(0.3)

    async def carry_out(self, fault: Fault) -> None:
        """One fault, until it is over."""
        hit = await getattr(self, f"_{fault.kind}")(fault)
        self.last = time.monotonic()
        if hit:
            self.done[fault.kind] += 1
            self.done[f"{fault.kind} {fault.target}"] += 1
        else:
            self.missed += 1
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{fault}{'' if hit else '  (it was down already)'}\n")

    def _signal(self, target: str, number: signal.Signals, pid: int = 0) -> int:
        pid = pid or self.installation.state().get(target, 0)
        with contextlib.suppress(ProcessLookupError):
            if pid and not gone(pid):
                os.kill(pid, number)
                return pid
        return 0

    async def _kill(self, fault: Fault) -> bool:
        return bool(self._signal(fault.target, signal.SIGKILL))

    async def _term(self, fault: Fault) -> bool:
        number = signal.SIGINT if fault.target == "postgres" else signal.SIGTERM
        return bool(self._signal(fault.target, number))

    async def _stop(self, fault: Fault) -> bool:
        pid = self._signal(fault.target, signal.SIGSTOP)
        if pid:
            await asyncio.sleep(fault.seconds)
            self._signal(fault.target, signal.SIGCONT, pid)
        return bool(pid)

    async def _wipe(self, fault: Fault) -> bool:
        store = self.installation.home / "nats"
        shutil.rmtree(store, ignore_errors=True)
        self._signal("nats", signal.SIGKILL)
        return True

    async def _proxy(self, fault: Fault) -> bool:
        return await self._weathered([self.proxies[fault.target]], WEATHERS[fault.weather], fault.seconds)

    async def _outage(self, fault: Fault) -> bool:
        """Everything of that name is out of everyone's reach: `nats`, `postgres` or a service."""
        found = [proxy for name, proxy in self.proxies.items() if name.endswith(f">{fault.target}")]
        return await self._weathered(found, Weather(refuse=True), fault.seconds)

    async def _weathered(self, proxies: Sequence[Proxy], weather: Weather, seconds: float) -> bool:
        for proxy in proxies:
            proxy.set(weather)
        await asyncio.sleep(seconds)
        for proxy in proxies:
            if proxy.weather is weather:  # a later fault of the same pair goes on
                proxy.set(CLEAR)
        return bool(proxies)


def gone(pid: int) -> bool:
    """Whether there is no such process, or only its name is left."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
