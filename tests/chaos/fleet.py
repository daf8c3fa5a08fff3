"""A small platform for failover: replicas of the customer service behind gateways, each started by hand."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import psycopg
from grpc_health.v1 import health_pb2

from chassis import migrate
from chassis.identity import make_keys
from chassis.settings import Settings
from gateway import found
from stack import files, launch
from tests.servers import Servers

EMAIL, PASSWORD = "failover@example.com", "a long password for failover"
STARTS_WITHIN, ENDS_WITHIN = 90.0, 60.0
DRAIN = "0.5"  # seconds, instead of 3: enough to hear NOT_SERVING on one machine
SERVES = health_pb2.HealthCheckResponse.SERVING
# A gateway as it would be without what notices a frozen peer, on channels and on its own connections.
DEAF = (
    "from chassis import clients; from gateway import direct; direct.PULSE_WITHIN = 1e9;"
    "clients.OPTIONS[:] = [o for o in clients.OPTIONS if o[0] != 'grpc.http2.ping_timeout_ms'];"
    "from gateway.__main__ import main; main([])"
)


class Replica:
    """One process of a service or a gateway; started again under the same addresses."""

    def __init__(self, name: str, program: list[str], env: dict[str, str], grpc_port: int, log: Path) -> None:
        self.name, self.program, self.env, self.log = name, program, env, log
        self.address = f"127.0.0.1:{grpc_port}"
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Start it; it ends with us."""
        with self.log.open("ab") as log:
            launched = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]
            self.process = subprocess.Popen(
                [*launched, sys.executable, *self.program],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """The process id."""
        assert self.process is not None
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    async def ready(self) -> None:
        """Wait until it says that it serves."""
        deadline = time.monotonic() + STARTS_WITHIN
        while not await self._serves():
            if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not start:\n{self.last_words()}")
            await asyncio.sleep(0.1)

    async def _serves(self) -> bool:
        host, _, port = self.address.rpartition(":")
        if files.is_free(int(port), host):
            return False
        async with grpc.aio.insecure_channel(self.address) as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            try:
                return bool((await check(health_pb2.HealthCheckRequest(), timeout=2)).status == SERVES)
            except grpc.aio.AioRpcError:
                return False

    async def ended(self) -> int:
        """Wait until it has ended; its exit code."""
        assert self.process is not None
        deadline = time.monotonic() + ENDS_WITHIN
        while (code := self.process.poll()) is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not end:\n{self.last_words()}")
            await asyncio.sleep(0.02)
        return code

    def last_words(self, lines: int = 12) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    def kill(self) -> None:
        """End it, however it is."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Fleet:
    """The replicas, the gateways and their databases."""

    def __init__(self, servers: Servers, home: Path) -> None:
        self.servers, self.home = servers, home
        self.urls: dict[str, tuple[str, str]] = {}
        self.replicas: list[Replica] = []
        self.gateways: list[Replica] = []
        self.http: dict[str, int] = {}

    async def prepare(self) -> None:
        """Keys, databases of our own, and an organization with one administrator."""
        make_keys(self.home / "keys", ["gateway", "customer"])
        for name, package in (("access", "gateway"), ("customer", "services.customer")):
            self.urls[name] = self.servers.database(f"failover_{name}")
            await asyncio.to_thread(migrate.upgrade, package, *self.urls[name])
        settings = Settings.from_env("gateway", database="access", env=self._env("access"))
        await found.found(settings, display_name="Failover Ltd", email=EMAIL, password=PASSWORD)

    def _env(self, database: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DATABASE_", "TRADEWIND_", "NATS_"))}
        return kept | {
            "TRADEWIND_HOME": str(self.home), "TRADEWIND_KEYS": str(self.home / "keys"),
            "TRADEWIND_DRAIN": DRAIN, "TRADEWIND_LOG_LEVEL": "INFO", "PYTHONUNBUFFERED": "1",
            "NATS_URL": self.servers.nats_url, "DATABASE_URL": self.urls[database][1],
        }  # fmt: skip

    def add_replica(self) -> Replica:
        """One more process of the customer service."""
        name, port = f"customer-{len(self.replicas) + 1}", files.free_port()
        env = self._env("customer") | {"TRADEWIND_LISTEN": f"127.0.0.1:{port}"}
        made = Replica(name, ["-m", "services.customer"], env, port, self.home / f"{name}.log")
        self.replicas.append(made)
        return made

    def add_gateway(self, *, deaf: bool = False, peers: str = "") -> Replica:
        """A gateway in front of all replicas; a *deaf* one does not notice that a peer is frozen."""
        name = f"gateway-{len(self.gateways) + 1}"
        grpc_port, self.http[name] = files.free_port(), files.free_port()
        env = self._env("access") | {
            "TRADEWIND_LISTEN": f"127.0.0.1:{files.free_port()}",
            "TRADEWIND_GRPC_PORT": str(grpc_port), "TRADEWIND_HTTP_PORT": str(self.http[name]),
            "TRADEWIND_DRAIN": "2",  # enough to ask /readyz meanwhile
            "TRADEWIND_LIMIT_CONNECTIONS_EACH": "10000",  # all who wait for a gateway have one address here
            "TRADEWIND_ADDRESS_CUSTOMER": peers or ",".join(one.address for one in self.replicas),
        }  # fmt: skip
        program = ["-c", DEAF] if deaf else ["-m", "gateway"]
        made = Replica(name, program, env, grpc_port, self.home / f"{name}.log")
        self.gateways.append(made)
        return made

    async def start(self) -> None:
        """Start everything that was added."""
        for one in (*self.replicas, *self.gateways):
            one.spawn()
        for one in (*self.replicas, *self.gateways):
            await one.ready()

    async def rows(self, statement: str, *values: object) -> list[tuple]:
        """What the customer database holds, as its server sees it."""
        url = self.servers.postgres.url("failover_customer")
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            return await (await connection.execute(statement, values)).fetchall()

    async def leases(self, pid: int) -> list[tuple]:
        """The leases that a process still holds."""
        return await self.rows(
            "SELECT 'partition ' || part FROM outbox_head"
            " WHERE owner LIKE %s AND lease_until > clock_timestamp()"
            " UNION ALL"
            " SELECT 'job ' || name FROM jobs WHERE owner LIKE %s AND lease_until > clock_timestamp()",
            f"%/{pid}/%", f"%/{pid}/%",
        )  # fmt: skip


@asynccontextmanager
async def fleet(
    servers: Servers, home: Path, *, gateways: tuple[bool, ...] = (False,), replicas: int = 2
) -> AsyncIterator[Fleet]:
    """Replicas of the customer service and gateways before them (True: a deaf one), running."""
    made = Fleet(servers, home)
    await made.prepare()
    for _ in range(replicas):
        made.add_replica()
    for deaf in gateways:
        made.add_gateway(deaf=deaf)
    try:
        await made.start()
        yield made
    finally:
        for one in (*made.gateways, *made.replicas):
            one.kill()
