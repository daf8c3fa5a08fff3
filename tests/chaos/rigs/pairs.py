"""Two processes of the inventory service that tell, and two of a listening service that hear."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg

from chassis import migrate
from chassis.identity import Signer, make_keys
from chassis.service import Runtime
from chassis.settings import Settings
from services.inventory.service import SERVICE
from stack import files
from stack.nats import Nats
from tests.chaos.fleet import STARTS_WITHIN, Replica
from tests.chaos.rigs import hearer
from tests.chaos.rigs.facts import Listener, prepare
from tests.chaos.rigs.twins import Twins
from tests.platform import NAMES, Running
from tests.servers import Servers

TELLING, HEARING = "rig_pair_inventory", "rig_pair_listener"
ROOT = Path(__file__).parents[3]


class Pairs:
    """The four processes, as seen from outside."""

    def __init__(self, home: Path, nats_url: str, urls: dict[str, str]) -> None:
        self.home, self.nats_url, self.urls = home, nats_url, urls
        self.tellers: list[Replica] = []
        self.hearers: list[Replica] = []
        self.callable: list[Running] = []  # the tellers, in the same order
        self.twins = Twins([], urls["owner"], urls["admin"])
        self.listener = Listener(None, urls["listener admin"], urls["listener"])  # type: ignore[arg-type]

    def head(self, part: int) -> tuple[int, str]:
        """The last position of a partition, and who leads its relay."""
        asked = "SELECT pos, coalesce(owner, '') FROM outbox_head WHERE part = %s"
        position, owner = self.twins.ask_below(asked, part)[0]
        return position, owner

    def heard(self, part: int) -> int:
        """How far the listeners have come."""
        asked = "SELECT pos FROM event_cursor WHERE source = 'inventory' AND part = %s"
        with psycopg.connect(self.listener.admin_url) as db:
            row = db.execute(asked, (part,)).fetchone()
        return row[0] if row else 0

    def leader(self, part: int) -> Replica:
        """The process that leads the relay of a partition."""
        owner = self.head(part)[1]
        return next(one for one in self.tellers if f"/{one.pid}/" in owner)

    def env(self, **more: str) -> dict[str, str]:
        """What every process is told, and more."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DATABASE_", "TRADEWIND_", "NATS_"))}
        return kept | more | {
            "TRADEWIND_HOME": str(self.home), "TRADEWIND_KEYS": str(self.home / "keys"),
            "NATS_URL": self.nats_url, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1",
        }  # fmt: skip

    def hire(self, planted: str) -> None:
        """Add and start all four; the hearers with a bug, where one is named."""
        peers = []
        for nth in (1, 2):
            port = files.free_port()
            env = self.env(DATABASE_URL=self.urls["inventory"], TRADEWIND_LISTEN=f"127.0.0.1:{port}")
            log = self.home / f"teller-{nth}.log"
            self.tellers.append(Replica(f"teller-{nth}", ["-m", "services.inventory"], env, port, log))
            self.tellers[-1].spawn()
            peers.append(self.tellers[-1].address)
        for nth in (1, 2):
            env = self.env(DATABASE_URL=self.urls["listener"], TRADEWIND_ADDRESS_INVENTORY=",".join(peers))
            program = ["-m", hearer.__name__, *([planted] if planted else [])]
            self.hearers.append(Replica(f"hearer-{nth}", program, env, 0, self.home / f"hearer-{nth}.log"))
            self.hearers[-1].spawn()

    async def ready(self) -> None:
        """Wait until all of them are at work."""
        deadline = time.monotonic() + STARTS_WITHIN
        for one in self.tellers:
            await one.ready()
        while any(hearer.READY not in one.log.read_text("utf-8", "replace") for one in self.hearers):
            if time.monotonic() > deadline:
                raise RuntimeError("\n".join(one.last_words() for one in self.hearers))
            await asyncio.sleep(0.1)

    async def call(self) -> None:
        """Make the tellers callable, as a Shop calls them."""
        signer, settings = Signer.load(self.home / "keys", "gateway"), Settings.from_env(
            "inventory", env=self.env(DATABASE_URL=self.urls["inventory"]) | {"TRADEWIND_POOL": "4"}
        )  # fmt: skip
        for one in self.tellers:
            port = int(one.address.rpartition(":")[2])
            runtime = Runtime(SERVICE, settings, None)
            self.callable.append(Running(SERVICE, runtime, port, signer, self.urls["owner"]))
        self.twins.instances = list(self.callable)

    async def dismiss(self) -> None:
        """End all four, however they are."""
        for one in (*self.tellers, *self.hearers):
            one.kill()
        for running in self.callable:
            await running.channel.close()
            await running.runtime.close()


@asynccontextmanager
async def pairs(servers: Servers, planted: str = "") -> AsyncIterator[Pairs]:
    """The four of them at work on databases of their own, with a broker of their own."""
    home = Path(tempfile.mkdtemp(prefix="tradewind-pairs-"))
    make_keys(home / "keys", list(NAMES))
    owner, app = servers.database(TELLING)
    migrate.upgrade("services.inventory", owner, app)
    listener_admin, listener = prepare(servers, HEARING)
    with psycopg.connect(listener_admin, autocommit=True) as db:
        db.execute("TRUNCATE event_cursor, parked_events")
    broker = Nats(home)
    urls = {
        "owner": owner, "inventory": app, "admin": servers.postgres.url(TELLING),
        "listener": listener, "listener admin": listener_admin,
    }  # fmt: skip
    made = None
    try:
        broker.start()
        made = Pairs(home, broker.url(), urls)
        made.hire(planted)
        await made.ready()
        await made.call()
        yield made
    finally:
        if made is not None:
            await made.dismiss()
        broker.stop()
        shutil.rmtree(home, ignore_errors=True)
