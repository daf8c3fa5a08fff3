"""A page of 50 customers and a small create: the gateway beside Envoy, and the page beside its SQL."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

import psycopg
from tradewind.customer.v1 import customer_pb2

from bench import load, pgbench
from bench.company import Company, companies, reading, turns
from bench.cpu import since, spent
from bench.envoy import envoy
from bench.harness import Bench, Sample
from bench.rig import Rig, rig
from chassis.identity import Principal
from services.customer.store import CustomerStore

CLIENTS = 16
SECONDS = 4.0
SERVICE = customer_pb2.DESCRIPTOR.services_by_name["CustomerService"].full_name
PAGE = "/v1/customers?pageSize=50"
Request = Callable[[], bytes]


async def measure(bench: Bench) -> None:
    """Envoy gets a principal token and a deadline: all that the service asks of whoever stands before it."""
    with rig("customer", "gateway") as found:
        firms = await asyncio.to_thread(companies, found, 4, 0)
        names = (f"Bench {number}" for number in itertools.count())
        make = turns([_creating(firm.token, names) for firm in firms])
        await load.http(found.http, make, clients=4, seconds=2.0)
        found.analyze("customer")
        with envoy(SERVICE, found.address("customer")) as (door, pid):
            await _measure(bench, found, firms, names, door, pid)


async def _measure(bench: Bench, found: Rig, firms: list[Company], names: Any, door: Any, pid: int) -> None:
    with psycopg.connect(found.all_of("customer")) as db:
        tenants = [row[0] for row in db.execute("SELECT DISTINCT tenant_id::text FROM customers")]
    seconds = bench.seconds(SECONDS)

    def token(tenant: str) -> str:
        allowed = {"customers.read": "all", "customers.write": "all"}
        return found.token(Principal(user="users/bench", tenant=tenant, permissions=allowed))

    def enveloped(make: Callable[[str], Request]) -> Request:
        return turns([make(token(tenant)) for tenant in tenants])

    pages = await bench.interleave(
        gateway=lambda: _load(found, found.http, found.pid("gateway"),
                              turns([reading(PAGE, firm) for firm in firms]), seconds),
        envoy=lambda: _load(found, door, pid, enveloped(_reading), seconds),
        pgbench=lambda: pgbench.run(found, found.url("customer"), _scripts(tenants), seconds=seconds),
    )  # fmt: skip
    creates = await bench.interleave(
        gateway=lambda: _load(found, found.http, found.pid("gateway"),
                              turns([_creating(firm.token, names) for firm in firms]), seconds),
        envoy=lambda: _load(found, door, pid, enveloped(lambda t: _creating(t, names)), seconds),
    )  # fmt: skip
    for work, runs, aim in (("a page of 50 customers", pages, 1.2), ("a small create", creates, 1.3)):
        bench.row(f"CPU of the gateway, {work}", "Envoy's gRPC-JSON transcoder",
                  runs.ratio("gateway", "envoy", lambda s: s.cost("door")), ("at most", aim))  # fmt: skip
        for name in ("gateway", "envoy"):
            bench.costs_of(f"{work} through {name}", runs, name)
    bench.row("a page of 50 customers through the gateway, per second", "pgbench, the same SQL",
              pages.ratio("gateway", "pgbench"), ("at least", 0.15),
              f"{pages.of('gateway')} a second against {pages.of('pgbench')}")  # fmt: skip
    bench.costs_of("the SQL of a page in pgbench", pages, "pgbench")


async def _load(found: Rig, door: tuple[str, int], pid: int, make: Request, seconds: float) -> Sample:
    before, at = found.cpu("customer"), spent(pid)
    done = await load.http(door, make, clients=CLIENTS, seconds=seconds)
    parts = {"door": spent(pid) - at, **since(before, found.cpu("customer"))}
    return Sample(done.count, done.seconds, parts, done.times)


def _reading(token: str) -> Request:
    made = load.request("GET", PAGE, token).replace(b"\r\n\r\n", b"\r\ngrpc-timeout: 10S\r\n\r\n")
    return lambda: made


def _creating(token: str, names: Any) -> Request:
    def make() -> bytes:
        body = json.dumps({"displayName": next(names)}).encode()
        return load.request("POST", "/v1/customers", token, body).replace(
            b"\r\n\r\n", b"\r\ngrpc-timeout: 10S\r\n\r\n", 1
        )

    return make


def _scripts(tenants: list[str]) -> list[str]:
    page = f"{CustomerStore.customers.select} AND delete_time IS NULL ORDER BY id LIMIT 51;"
    return [
        "\n".join([
            "BEGIN;",
            pgbench.filled("SELECT set_config('app.tenant_id', %s, true);", [tenant]),
            pgbench.filled(page, [tenant]),
            "COMMIT;",
        ]) + "\n"
        for tenant in tenants
    ]  # fmt: skip
