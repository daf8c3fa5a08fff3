"""The store alone: the hot statements of an order from one process, beside pgbench on the identical ones.

Both send the same texts with the same parameters through as many connections, in the pipeline of libpq, on
prepared statements, from one thread. pgbench's values are made beforehand but for what must be unique; the
store makes rows of a record, bytes of messages, ids and a fact for each. Messages are the rpc's work.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tradewind.inventory.v1 import events_pb2

from bench import pgbench
from bench.cpu import own_cpu, since
from bench.harness import Bench, Sample
from bench.nine import ID
from bench.pgbench import Raw, filled, told
from bench.rig import Rig, rig
from chassis.call import Call, new_id
from chassis.database import Database
from chassis.kernel.pricing import NOTHING
from chassis.kernel.values import Money, Quantity
from chassis.personal.keys import Keys
from chassis.pipe import Pipe
from services.inventory.domain.order import Order
from services.inventory.domain.order_line import OrderLine
from services.inventory.store import InventoryStore, show_order

CLIENTS = 8
SECONDS = 5.0


async def measure(bench: Bench) -> None:
    """One transaction of one round trip: the order, its fact and its answer, kept or refused as one."""
    with rig("inventory", broker=False) as found:
        keys = Keys.load(found.servers.home / "keys", "inventory")
        store = InventoryStore(Database(found.url("inventory"), CLIENTS), keys)
        script, variables = _script(await _statements(store))
        seconds = bench.seconds(SECONDS)

        async def ours() -> Sample:
            return await _orders(found, store, seconds)

        async def theirs() -> Sample:
            url = found.url("inventory")
            return await pgbench.run(
                found, url, [script], seconds=seconds, clients=CLIENTS, threads=1, variables=variables
            )

        runs = await bench.interleave(store=ours, pgbench=theirs)
        await store.database.close()
    bench.row("the store alone, one process, an order kept per second", "pgbench, the identical statements",
              runs.ratio("store", "pgbench"), ("at least", 0.70),
              f"{runs.of('store')} a second against {runs.of('pgbench')}")  # fmt: skip
    bench.costs_of("an order kept by the store alone", runs, "store")
    bench.costs_of("the identical statements in pgbench", runs, "pgbench")


TENANT, USER = new_id(), f"users/{new_id()}"


def _order() -> Order:
    price = Money(1_000_000, "CNY")
    line = OrderLine(
        product="products/0198", quantity=Quantity(10_000), unit_price=price, tax_percent=NOTHING,
        net=price, tax=Money.zero("CNY"), sku="PUMP", category="pumps", stocked=True,
    )  # fmt: skip
    return Order(id=new_id(), customer=f"customers/{new_id()}", currency="CNY", lines=(line,) * 3).priced()


async def _keep(store: InventoryStore, order: Order, shown: Any) -> None:
    """What CreateOrder does once it has read what it needs, and made its message."""
    once = new_id()
    call = Call(tenant=TENANT, user=USER, method="/tradewind.inventory.v1.OrderService/CreateOrder",
                request_id=once, request_hash=b"h" * 32, deadline=time.monotonic() + 10)  # fmt: skip
    async with store.begin(call) as tx:
        tx.add(replace(order, id=once, number=once))
        shown.name, shown.number = f"orders/{once}", once
        tx.emit(events_pb2.OrderCreated(order=shown))
        tx.reply(shown)


def _shown(order: Order) -> Any:
    now = datetime.now(UTC)
    return show_order(replace(order, version=1, number=order.id, create_time=now, update_time=now,
                              creator=USER, updater=USER, owner=USER))  # fmt: skip


async def _orders(found: Rig, store: InventoryStore, seconds: float) -> Sample:
    order = _order()
    before, own = found.cpu(), own_cpu()
    began = time.perf_counter()

    async def client() -> int:
        done, shown = 0, _shown(order)
        while time.perf_counter() - began < seconds:
            await _keep(store, order, shown)
            done += 1
        return done

    count = sum(await asyncio.gather(*(client() for _ in range(CLIENTS))))
    took = time.perf_counter() - began
    return Sample(count, took, {"store": own_cpu() - own, **since(before, found.cpu())})


async def _statements(store: InventoryStore) -> list[tuple[str, list[Any]]]:
    """What the store sends for an order of an organization that it knows."""
    seen: list[tuple[str, list[Any]]] = []
    ask = Pipe.ask

    def noted(pipe: Pipe, statement: str, params: Any = ()) -> Any:
        seen.append((statement, list(params)))
        return ask(pipe, statement, params)

    order = _order()
    await _keep(store, order, _shown(order))
    Pipe.ask = noted  # type: ignore[method-assign]
    try:
        await _keep(store, order, _shown(order))
    finally:
        Pipe.ask = ask  # type: ignore[method-assign]
    return seen


def _script(statements: list[tuple[str, list[Any]]]) -> tuple[str, dict[str, str]]:
    """The same for pgbench, and its parameters; only what must be unique is made anew each time."""
    once = statements[2][1][3]  # the request's id, which is the order's too
    event = next(params for text, params in statements if text.startswith("WITH"))
    fresh = {once: ID, f"orders/{once}": Raw(f"('orders/' || {ID.text})")}
    variables: dict[str, str] = {}

    def cell(param: Any) -> Any:
        if param is None or param == "":  # what pgbench has no variable for
            return param
        if isinstance(param, str) and param in fresh:
            return fresh[param]
        name = f"p{len(variables)}"
        variables[name] = told(param)
        return Raw(f":{name}")

    lines = ["\\set n :n + 1", "\\startpipeline"]
    for text, params in statements:
        cells = [cell(param) for param in params]
        if params is event:
            at = text[: text.index("INSERT INTO outbox")].count("%s") + 1  # event_id stands behind part
            cells[at] = Raw("gen_random_uuid()")
        lines.append(filled(text, cells) + ";")
    return "\n".join([*lines, "\\endpipeline"]) + "\n", variables
