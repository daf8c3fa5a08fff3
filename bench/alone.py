"""One service in this process, on the rig's PostgreSQL: what is measured without gRPC around it."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg

from bench.cpu import own_cpu, since
from bench.harness import Sample
from bench.rig import Rig
from chassis import migrate
from chassis.service import Runtime, Service
from chassis.settings import Settings
from stack import layout


@asynccontextmanager
async def service(found: Rig, name: str) -> AsyncIterator[Runtime]:
    """The service with nothing going on in the background."""
    module = layout.module_of(name)
    migrate.upgrade(module, found.url(name, owner=True), found.url(name))
    made: Service = importlib.import_module(f"{module}.service").SERVICE
    settings = Settings.from_env(name, env=found.servers.environment(name))
    async with made.running(settings, address="127.0.0.1:0", background=False) as (runtime, _):
        yield runtime


def superuser(found: Rig, name: str) -> psycopg.Connection:
    """Into a service's database past row-level security, to fill it."""
    assert found.servers.postgres
    return psycopg.connect(found.servers.postgres.url(name), autocommit=True)


async def timed(found: Rig, work: Callable[[], Awaitable[int]]) -> Sample:
    """How often *work* says it was done, in which time, at the expense of this process and PostgreSQL."""
    before, own, began = found.cpu(), own_cpu(), time.perf_counter()
    count = await work()
    seconds = time.perf_counter() - began
    return Sample(count, seconds, {"service": own_cpu() - own} | since(before, found.cpu()))


async def clients(number: int, seconds: float, ask: Callable[[], Awaitable[object]]) -> int:
    """So many clients who ask again as soon as they were answered; how often that was."""
    until = time.perf_counter() + seconds

    async def client() -> int:
        count = 0
        while time.perf_counter() < until:
            await ask()
            count += 1
        return count

    return sum(await asyncio.gather(*(client() for _ in range(number))))
