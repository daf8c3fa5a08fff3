"""A service process: wires store, rpcs, reactions, jobs and sagas together, and runs them on one loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

# Measured: a third less CPU per call than with the event engine (set before grpc is imported).
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener,-event_engine_client")

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from chassis import telemetry
from chassis.audit.checkpoints import Keeper
from chassis.bus import Bus
from chassis.clients import Clients
from chassis.database import Database
from chassis.events import Consumer
from chassis.feed import feed_of
from chassis.gauges import Gauges
from chassis.identity import Signer, Validator
from chassis.jobs import Jobs
from chassis.kernel.share import Share
from chassis.laws import Law, Watch
from chassis.listing import Tokens
from chassis.outbox import Relay
from chassis.personal.keys import Keys
from chassis.personal.persons import personal_data_of, tells
from chassis.personal.sealing import check_declared
from chassis.personal.veil import check_veiled
from chassis.reasons import Reasons
from chassis.rpc import Rpc, Server
from chassis.sagas import Saga, Sagas
from chassis.settings import Settings
from chassis.shapes import SHAPES
from chassis.shares import end_run_out_shares, shares_of
from chassis.store import Store
from chassis.tls import Guard, Identity

log = logging.getLogger(__name__)
SERVER_OPTIONS = [
    ("grpc.max_connection_age_ms", 300_000),
    ("grpc.max_connection_age_grace_ms", 30_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    # Peers ask every 10 s whether we live, also between calls: that is no abuse.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.max_metadata_size", 16_384),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.so_reuseport", 0),
]
CONCURRENT = 500  # calls at once; more are told RESOURCE_EXHAUSTED
KEEPS_EVERY = 10.0  # seconds: a stream that the broker has lost is there again so much later
GRACE_SECONDS = 15  # for calls under way when the process has to end
LET_GO_SECONDS = 3  # for leases to be given back, and as much again for connections to close


# gRPC tells of every answer that found its caller gone, as an error with a stack trace: nothing is wrong.
logging.getLogger("grpc._cython.cygrpc").addFilter(
    lambda record: not record.getMessage().startswith("ExecuteBatchError")
)


class Runtime:
    """What the parts of a running service share."""

    def __init__(self, service: Service, settings: Settings, bus: Bus | None) -> None:
        self.service, self.settings, self.bus = service, settings, bus
        self.identity = service.identity(settings)
        self.signer = Signer.load(settings.keys, service.key or service.name)
        self.store = service.opened(settings, settings.pool)
        self.validator = Validator.load(settings.keys)
        self.tokens = Tokens(self.signer.secret("page tokens"))
        self.clients = Clients(service.name, self.signer, dict(settings.peers), self.identity)
        self.reasons = Reasons(service.name)
        self.relay = Relay(service.name, self.store, bus)
        self.consumer = Consumer(service.name, self.store, service.reactions, self.clients, service.repairs)
        self.jobs = Jobs(service.name, self.store, service.jobs, self.clients, settings.outbox_days)
        self.sagas = Sagas(service.name, self.store, service.sagas, self.clients, self.reasons)
        common = [feed_of(service.name)]
        if Share in self.store.collections:
            common.append(shares_of(service.name))
            self.jobs.also(end_run_out_shares)
        if tells(service.store) and service.name == service.process:
            common.append(personal_data_of(service.name))
        self.rpcs = [rpc(self) for rpc in (*service.rpcs, *common)]
        for shape in SHAPES:
            if (kept := self.store.collections.get(shape.record)) is not None:
                check_declared(shape, kept.sealed)
                check_veiled(shape.message.DESCRIPTOR, kept.veil)
        self.server = Server(service.name, self.store, self.validator, self.clients)
        self.watch = Watch(service.name, self.store, service.checks, self.jobs)
        self.trail = self.server.recorder.trail
        self.store.places.key = self.signer.secret("places")
        self.store.places.seal_key = self.signer.secret("places, sealed")
        self.keeper = Keeper(
            service.name, self.store, service.keeps, self.clients, self.jobs, self.validator.keys
        )
        self.gauges = Gauges(self)
        self.health = health.aio.HealthServicer()
        self.port = 0  # where it listens, once it does
        self.leaving = asyncio.Event()  # set once the process is to end: streams end then

    async def leave(self, seconds: float = 0.0) -> None:
        """Say NOT_SERVING and go on for *seconds*, until whoever sends calls has gone elsewhere."""
        self.leaving.set()
        await self.health.enter_graceful_shutdown()
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Let go of everything, the database last; what does not answer is not waited for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LET_GO_SECONDS):
                await self.clients.close()
                if self.bus is not None:
                    await self.bus.close()
                await self.store.database.close()


@dataclass(frozen=True)
class Service:
    """The wiring of one service."""

    name: str
    store: type[Store]
    rpcs: Sequence[type[Rpc]]
    reactions: ModuleType | None = None
    repairs: ModuleType | None = None
    jobs: ModuleType | None = None
    sagas: tuple[Saga, ...] = ()
    checks: Sequence[Law] = ()
    seed: Any = None
    callers: Sequence[str] = ()  # the processes that ask it, or are told its facts: the arrows towards it
    keeps: Sequence[str] = ()  # whose checkpoints it keeps: each service's are kept by two others
    key: str = ""  # the process it is part of and whose signing key it uses, when not of its own name
    package: str = field(default="")

    def opened(self, settings: Settings, pool: int) -> Store:
        """Its store, on a database and with the keys that the settings name."""
        keys = Keys.load(settings.keys, self.key or self.name) if self.store.seals else None
        return self.store(Database(settings.database_url, pool), keys)

    @property
    def module(self) -> str:
        """The package its migrations lie in."""
        return self.package or f"services.{self.name}"

    @property
    def process(self) -> str:
        """The process that answers for it."""
        return self.key or self.name

    def identity(self, settings: Settings) -> Identity | None:
        """Who its process is among processes; nobody where they speak in plain."""
        return Identity(settings.tls, self.process, settings.trust_domain) if settings.tls else None

    @asynccontextmanager
    async def running(
        self, settings: Settings, *, address: str = "", background: bool = True
    ) -> AsyncIterator[tuple[Runtime, int]]:
        """The service at work, and the port it listens on; *background* off leaves relay, consumers,
        jobs and sagas to the caller."""
        bus = None
        if settings.nats_url and background:
            bus = Bus(settings.nats_url, settings.stream_replicas, self.name, self.identity(settings))
        runtime = Runtime(self, settings, bus)
        server, port = _server(runtime, address or settings.listen)
        runtime.port = port
        names = [rpc.service for rpc in runtime.rpcs]
        tasks: list[asyncio.Task[None]] = []
        if background:
            tasks = [asyncio.create_task(part) for part in self._background(runtime)]
        await server.start()
        collectors = [runtime.gauges.collect]
        if runtime.identity is not None:
            collectors.append(runtime.identity.measure)
        telemetry.METRICS.collectors += collectors
        for name in ("", *names):
            await runtime.health.set(name, health_pb2.HealthCheckResponse.SERVING)
        try:
            yield runtime, port
        finally:
            for collect in collectors:
                telemetry.METRICS.collectors.remove(collect)
            await runtime.leave()
            runtime.consumer.stopping = True
            await server.stop(GRACE_SECONDS)
            for task in tasks:
                task.cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LET_GO_SECONDS):
                    await asyncio.gather(*tasks, return_exceptions=True)
            await runtime.trail.stop()
            await runtime.close()

    def _background(self, runtime: Runtime) -> list[Any]:
        return [
            _connected(runtime),
            runtime.relay.run(),
            runtime.consumer.run(runtime.bus),
            runtime.jobs.run(),
            runtime.sagas.run(),
            runtime.watch.run(),
            runtime.trail.run(),
            runtime.keeper.run(),
        ]

    def main(self) -> None:
        """Run as a process until SIGTERM or SIGINT; exit 0 when everything under way is finished."""
        settings = Settings.from_env(self.name).require("database_url")
        run(self._serve(settings))

    async def _serve(self, settings: Settings) -> None:
        telemetry.start_logging(self.name, settings.log_level)
        telemetry.start_tracing(self.name, settings.traces, settings.trace_ratio)
        async with self.running(settings) as (runtime, port), metrics_server(settings, runtime):
            log.info("%s listens on port %d", self.name, port)
            await until_told()
            log.info("%s finishes what is under way", self.name)
            await runtime.leave(settings.drain)
        telemetry.stop_tracing()


def _server(runtime: Runtime, address: str) -> tuple[grpc.aio.Server, int]:
    """The gRPC server, not yet started, and its port."""
    methods = {path: found for rpc in runtime.rpcs for path, found in rpc.handlers().items()}
    guards = []
    if runtime.identity is not None:
        guards.append(Guard(runtime.identity, runtime.service.callers, runtime.reasons))
    server = grpc.aio.server(
        options=SERVER_OPTIONS, maximum_concurrent_rpcs=CONCURRENT, interceptors=guards or None
    )
    server.add_generic_rpc_handlers((runtime.server.generic_handler(methods),))
    health_pb2_grpc.add_HealthServicer_to_server(runtime.health, server)
    names = [rpc.service for rpc in runtime.rpcs]
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    if runtime.identity is None:
        return server, server.add_insecure_port(address)
    return server, server.add_secure_port(address, runtime.identity.server_credentials())


async def _connected(runtime: Runtime) -> None:
    """Connect to the broker in the background, and keep our stream there: the service works without it."""
    while runtime.bus is not None:
        try:
            await runtime.bus.connect()
            break
        except Exception as problem:
            log.warning("the broker is not there: %s", problem)
            await asyncio.sleep(0.5)
    while runtime.bus is not None:
        await runtime.bus.keep(runtime.service.name)
        await asyncio.sleep(KEEPS_EVERY)


async def until_told() -> None:
    """Until SIGTERM or SIGINT."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()


def run(main: Any) -> None:
    """Run a coroutine on uvloop to its end."""
    import uvloop

    uvloop.run(main)


@asynccontextmanager
async def metrics_server(settings: Settings, runtime: Runtime) -> AsyncIterator[None]:
    """Where the settings name an address: `/metrics` for Prometheus, and for a cluster's probes, which show
    no certificate, `/healthz` and `/readyz`."""
    if not settings.metrics_listen:
        yield
        return
    host, _, port = settings.metrics_listen.rpartition(":")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            writer.write(await _page(head.split(b" ", 2)[1].partition(b"?")[0].decode("latin-1"), runtime))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, host.strip("[]"), int(port))
    try:
        yield
    finally:
        server.close()


async def _page(path: str, runtime: Runtime) -> bytes:
    status, kind, body = "200 OK", "text/plain", "ok\n"
    if path == "/readyz" and runtime.leaving.is_set():
        status, body = "503 Service Unavailable", "leaving\n"
    elif path not in ("/healthz", "/readyz"):
        kind, body = "text/plain; version=0.0.4", await telemetry.METRICS.collected()
    said = body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(said)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + said
