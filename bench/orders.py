"""Orders of three lines: through everything there is, beside the same nine statements sent by pgbench."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench import load, nine, pgbench
from bench.company import Company, companies, creating, turns
from bench.cpu import own_cpu, since
from bench.harness import Bench, Sample
from bench.rig import Rig, rig

CLIENTS = 24
SECONDS = 6.0


async def measure(bench: Bench) -> None:
    """Their rate, their CPU, and how long one takes at half the load that there could be."""
    async with collector() as traces:
        with rig("inventory", "gateway", OTEL_EXPORTER_OTLP_ENDPOINT=traces) as found:
            await _measure(bench, found, await asyncio.to_thread(companies, found, 8))


async def _measure(bench: Bench, found: Rig, firms: list[Company]) -> None:
    make = turns([creating("/v1/orders", firm, firm.order()) for firm in firms])
    await load.http(found.http, make, clients=8, seconds=1.5)
    found.analyze("inventory")
    scripts = nine.scripts(found)
    seconds = bench.seconds(SECONDS)

    async def ours() -> Sample:
        return await _load(found, make, seconds)

    async def theirs() -> Sample:
        return await pgbench.run(found, found.url("inventory"), scripts, seconds=seconds)

    runs = await bench.interleave(tradewind=ours, pgbench=theirs)
    bench.row("orders of 3 lines per second, everything on", "pgbench, the same nine statements",
              runs.ratio("tradewind", "pgbench"), ("at least", 0.40),
              f"{runs.of('tradewind')} a second against {runs.of('pgbench')}")  # fmt: skip
    bench.row("CPU of service and PostgreSQL per order", "CPU of pgbench and PostgreSQL",
              runs.ratio("tradewind", "pgbench", lambda s: s.cost("inventory", "postgres"), Sample.cost),
              ("at most", 2.0))  # fmt: skip
    bench.costs_of("an order through the gateway", runs, "tradewind")
    bench.costs_of("the nine statements in pgbench", runs, "pgbench")
    await _half_load(bench, found, make, runs.of("tradewind").median / 2)


async def _half_load(bench: Bench, found: Rig, make: Any, rate: float) -> None:
    async def half() -> Sample:
        return await _load(found, make, bench.seconds(SECONDS), rate)

    runs = await bench.interleave(half=half)
    p50, p99 = (runs.of("half", lambda s, q=q: s.quantile(q) * 1000) for q in (0.5, 0.99))
    bench.row("p99 of an order at half load", "its p50",
              runs.ratio("half", "half", lambda s: s.quantile(0.99), lambda s: s.quantile(0.5)),
              ("at most", 4.0), f"p50 {p50} ms, p99 {p99} ms at {rate:.0f} a second")  # fmt: skip


async def _load(found: Rig, make: Any, seconds: float, rate: float = 0.0) -> Sample:
    before, own = found.cpu("gateway", "inventory"), own_cpu()
    done = await load.http(found.http, make, clients=CLIENTS, seconds=seconds, rate=rate)
    spent = since(before, found.cpu("gateway", "inventory"))
    return Sample(done.count, done.seconds, spent | {"client": own_cpu() - own}, done.times)


@asynccontextmanager
async def collector() -> AsyncIterator[str]:
    """Where sampled traces are sent: somebody who takes them and says thanks."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r")[0]))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
