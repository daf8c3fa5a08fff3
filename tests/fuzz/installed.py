"""An installation under attack, by its two doors: what its processes hold, and who is served beside noise."""

from __future__ import annotations

import asyncio
import importlib
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass

from chassis.clients import channel
from gateway.contract import Contract, Method
from stack import files, layout, people
from tests.fuzz import abuse, calls
from tests.fuzz.journal import Journal
from tests.fuzz.messages import KINDS
from tests.fuzz.oracle import Answer
from tests.fuzz.target import CANARY, Target
from tests.installation import Installation, installed

MOST_BYTES = 512 * 2**20  # of any process
MOST_GROWTH = 1.10  # of any process, from the time that every method has been asked to the end
RESTS_WITHIN = 240.0  # seconds in which every event of the attack has arrived
KNOWN = 20  # records of each kind that cases may name
NOBODY = "00000000-0000-0000-0000-000000000000"
# One address signs in for all the cases; everything else stands as it is delivered.
RATES = {f"TRADEWIND_RATE_{name}": "1000000/1000000" for name in ("SIGN_IN", "STRANGER")}


@dataclass
class Installed(Target):
    """The target of a run whose services are processes of their own."""

    installation: Installation | None = None
    passwords: dict[str, str] = field(default_factory=dict)

    async def token_of(self, email: str) -> str:
        """An access token of one of the two administrators."""
        told = {"email": email, "password": self.passwords[email]}
        async with httpx.AsyncClient(timeout=60) as client:
            said = await client.post(f"{self.http}/v1/sessions", json=told)
        return str(said.raise_for_status().json()["accessToken"])

    async def ask(self, door: str, method: Method, request: bytes) -> Answer:
        """Send bytes to a method, through the gateway whichever door was meant."""
        token = self.token
        answer = await super().ask("edge", method, request)
        if answer.code == "UNAUTHENTICATED":
            await self.sign_in(token)  # a case before has ended the session, as it asked to
            answer = await super().ask("edge", method, request)
        return answer

    async def rest(self) -> None:
        """Wait until the laws hold: they count what is still on its way as missing."""
        until = time.monotonic() + RESTS_WITHIN
        while await self.broken_laws() and time.monotonic() < until:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(1)

    async def broken_laws(self) -> list[str]:
        """What `tradewind verify` says when it is not content."""
        said = await asyncio.to_thread(self.installation.tradewind, "verify")
        return [f"{said.stdout}{said.stderr}"] if said.returncode else []

    async def snapshot(self) -> dict[str, bytes]:
        """The other organization's customers."""
        self.other_token = await self.token_of(self.bystander["email"])
        head = {"authorization": f"Bearer {self.other_token}"}
        async with httpx.AsyncClient(base_url=self.http, headers=head, timeout=60) as client:
            return {"ListCustomers": (await client.get("/v1/customers")).raise_for_status().content}

    async def look_around(self, other: str) -> None:
        """Remember what there is to be named: own records, the *other* organization's, and nobody's."""
        for method in self.contract.methods:
            said = await self.ask("edge", method, b"") if method.name.startswith("List") else Answer("")
            own = [name for name in _names(method, said.body) if said.code == "OK"][:KNOWN]
            collection = own[0].partition("/")[0] if own else "users"
            if collection not in ("users", "sessions"):  # nobody ends the session that asks
                self.names[collection] = [own[0], other, f"{collection}/{NOBODY}", *own[1:]]


def _names(method: Method, body: bytes) -> Iterable[str]:
    """The names of the records that a list holds."""
    descriptor = descriptor_pool.Default().FindMessageTypeByName(method.output.full_name)
    answer = GetMessageClass(descriptor).FromString(body)
    for described, value in answer.ListFields():
        if described.message_type and "name" in described.message_type.fields_by_name:
            yield from (record.name for record in value if "/" in record.name)


@asynccontextmanager
async def doors_of(installation: Installation) -> AsyncIterator[Installed]:
    """Two organizations: the installation's first, to be attacked, and one that must not notice."""
    for process in layout.PROCESSES:
        importlib.import_module(f"{layout.module_of(process)}.service")  # brings its messages
    mine = installation.sign_in()
    with installation.servers() as servers:
        other = await asyncio.to_thread(people.found, servers, CANARY, f"{CANARY.lower()}@fuzz.example")
    contract = Contract.load()
    contract.methods = tuple(contract.public.values())  # services ask each other by other doors
    async with channel(installation.grpc) as edge:
        target = Installed(
            contract, {}, {}, other, defaultdict(list), edge, int(installation.grpc.rpartition(":")[2]),
            installation.http, mine["email"], installation=installation,
            passwords={person["email"]: person["password"] for person in (mine, other)},
        )  # fmt: skip
        await target.sign_in()
        await target.snapshot()
        head = {"authorization": f"Bearer {target.other_token}"}
        async with httpx.AsyncClient(base_url=target.http, headers=head, timeout=60) as client:
            customer = {"displayName": CANARY, "currency": "CNY"}
            made = (await client.post("/v1/customers", json=customer)).raise_for_status().json()
        await target.look_around(made["name"])
        target.before = await target.snapshot()
        yield target


def memory(installation: Installation) -> dict[str, int]:
    """The resident bytes of everything that runs, by name."""
    found = {}
    for name, pid in installation.state().items():
        told = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        found[name] = int(told["VmRSS"].split()[0]) * 1024
    return found


def held(installation: Installation, journal: Journal, before: Mapping[str, int]) -> None:
    """Nothing has grown, nothing was started again, and nothing speaks of an error of its own."""
    for name, most in memory(installation).items():
        print(f"  {name:16} {before[name] / 2**20:6.0f} → {most / 2**20:6.0f} MiB", flush=True)
        if most > MOST_BYTES or most > before[name] * MOST_GROWTH:
            journal.fault(f"{name} has grown from {before[name]:,} to {most:,} bytes")
    for process in files.read_json(installation.home / "state.json")["processes"]:
        if process["restarts"]:
            journal.fault(f"{process['name']} was started again {process['restarts']} times")
    for process in layout.PROCESSES:
        log = (installation.home / "logs" / f"{process}.log").read_text("utf-8", "replace")
        told = [line for line in log.splitlines() if '"level": "error"' in line]
        for line in told[:5]:
            journal.fault(f"{process} logs an error: {json.loads(line)}"[:3000])


async def beside_noise(target: Installed, journal: Journal) -> None:
    """The quiet are served while one organization asks for twenty times as much."""
    await target.snapshot()
    failed, said = await abuse.noisy(target, per_second=5, seconds=10)
    print(f"  {said}", flush=True)
    if failed:
        journal.fault(f"beside a noisy organization: {said}")


def attack(
    journal: Journal, seed: int, everything: Callable[[Installed], Awaitable[None]], *flags: str
) -> None:
    """Everything against an installation of its own, started with these flags; its first company is hit."""

    async def run() -> None:
        async with doors_of(installation) as target:
            # What a process learns at the first use of a method is no growth.
            await calls.run(target, journal, seed + 1, len(KINDS))
            before = memory(installation)
            await everything(target)
            held(installation, journal, before)
            await beside_noise(target, journal)

    with installed(*flags, **RATES) as installation:
        asyncio.run(run())
