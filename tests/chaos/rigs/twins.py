"""The inventory service at work twice on a database of its own, and callers that ask until they know."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import psycopg
from google.protobuf.message import Message
from tradewind.inventory.v1 import product_pb2, warehouse_pb2

from chassis import laws, migrate
from chassis.call import new_id
from chassis.identity import Signer, make_keys
from chassis.reasons import reason_of
from chassis.settings import Settings
from services.inventory.service import SERVICE
from stack.api import BUSY
from tests.chaos.rigs.verdict import Verdict
from tests.messages import decimal, money
from tests.platform import NAMES, Running
from tests.servers import Servers

DATABASE = "rig_inventory"
PATIENCE = 120.0  # seconds one request is asked for: rigs run on busy machines


class Twins:
    """Several instances of one service that know nothing of each other but their database."""

    def __init__(self, instances: list[Running], owner_url: str, admin_url: str) -> None:
        self.instances, self.owner_url, self.admin_url = instances, owner_url, admin_url

    def ask_below(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """What the tables themselves say, of all organizations."""
        with psycopg.connect(self.admin_url, autocommit=True) as db:
            return db.execute(sql, params or None).fetchall()

    def deadlocks(self) -> int:
        """How many rings of waiting transactions PostgreSQL had to break so far."""
        return int(
            self.ask_below("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0]
        )

    async def let_go(self) -> None:
        """Close every pooled connection: what the sessions counted becomes visible, nothing is left over."""
        for one in self.instances:
            await one.store.database.let_go()

    async def laws(self, verdict: Verdict) -> None:
        """Find every conservation law that is broken."""
        for said in await laws.verify("inventory", self.instances[0].store, SERVICE.checks):
            for row in said.broken:
                verdict.find(f"{said.name}: {row}")


@asynccontextmanager
async def twins(
    servers: Servers, home: Path, count: int = 2, pool: int = 10, database: str = DATABASE
) -> AsyncIterator[Twins]:
    """Instances at work; relays, consumers, jobs and sagas are left to the rig."""
    keys = home / "keys"
    if not keys.exists():
        make_keys(keys, list(NAMES))
    owner_url, app_url = servers.database(database)
    migrate.upgrade("services.inventory", owner_url, app_url)
    admin_url = servers.postgres.url(database)
    with psycopg.connect(admin_url, autocommit=True) as db:
        # A ring is broken, and counted, soon: transactions of rigs are short.
        db.execute(f"ALTER DATABASE {database} SET deadlock_timeout = '200ms'")
    settings = Settings.from_env("inventory", env={
        "DATABASE_URL": app_url, "TRADEWIND_KEYS": str(keys), "TRADEWIND_HOME": str(home),
        "TRADEWIND_LISTEN": "127.0.0.1:0", "TRADEWIND_POOL": str(pool),
    })  # fmt: skip
    async with AsyncExitStack() as stack:
        instances = []
        for _ in range(count):
            runtime, port = await stack.enter_async_context(
                SERVICE.running(settings, address="127.0.0.1:0", background=False)
            )
            instances.append(Running(SERVICE, runtime, port, Signer.load(keys, "gateway"), owner_url))
            stack.push_async_callback(instances[-1].channel.close)
        for one in instances:
            one.runtime.clients.addresses["inventory"] = instances[0].address
        yield Twins(instances, owner_url, admin_url)


class Shop:
    """One organization's administrator, who asks whichever instance chance names until they know."""

    def __init__(self, found: Twins, rng: random.Random, verdict: Verdict) -> None:
        self.twins, self.rng, self.verdict = found, rng, verdict
        self.tenant, self.user = new_id(), f"users/{new_id()}"
        self.caller = found.instances[0].as_(tenant=self.tenant, user=self.user)

    def _stub(self, method: str) -> Any:
        return self.rng.choice(self.twins.instances).method(method, self.caller.token)

    async def once(self, method: str, request: Message, timeout: float = 10.0) -> Any:
        """The answer, or the reason of a refusal as text ("UNAVAILABLE" when nobody answered)."""
        try:
            return await self._stub(method)(request, timeout=timeout)
        except grpc.aio.AioRpcError as problem:
            reason = reason_of(problem)[0]
            if not reason and problem.code() in (
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.DEADLINE_EXCEEDED,
            ):
                reason = "UNAVAILABLE"
            if reason in ("INTERNAL", ""):
                self.verdict.find(f"{method} answered {problem.code().name}: {problem.details()}")
                return "INTERNAL"
            return reason

    async def ask(self, method: str, request: Message, timeout: float = 10.0) -> Any:
        """Ask again, under the same request_id, until the answer or the reason of the refusal is final."""
        until = time.monotonic() + PATIENCE
        while True:
            answer = await self.once(method, request, timeout)
            if not isinstance(answer, str) or answer not in BUSY:
                return answer
            self.verdict.count("asked again")
            if time.monotonic() > until:
                self.verdict.find(f"{method} is not answered within {PATIENCE:.0f} s: {answer}")
                return answer
            await asyncio.sleep(self.rng.uniform(0.01, 0.1))

    async def open(self, products: int, stock: int = 0) -> list[str]:
        """A warehouse and so many products with so much in stock; the names of the products."""
        await self.expect("CreateWarehouse", _warehouse())
        names = []
        for _ in range(products):
            product = product_pb2.Product(
                sku=f"SKU-{new_id()[-12:]}", display_name="Pump", list_price=money(1)
            )
            request = product_pb2.CreateProductRequest(product=product, request_id=new_id())
            names.append((await self.expect("CreateProduct", request)).name)
            if stock:
                await self.expect("ReceiveStock", receipt(names[-1], stock, "opening stock"))
        return names

    async def expect(self, method: str, request: Message) -> Any:
        """The answer of what a rig cannot do without."""
        answer = await self.ask(method, request)
        if isinstance(answer, str):
            raise AssertionError(f"{method} was refused: {answer}")
        return answer


def _warehouse() -> Message:
    made = warehouse_pb2.Warehouse(code="SHA", display_name="Shanghai")
    return warehouse_pb2.CreateWarehouseRequest(warehouse=made, request_id=new_id())


def receipt(product: str, quantity: int, reason: str) -> Any:
    """So much of a product comes in."""
    from tradewind.inventory.v1 import stock_pb2

    return stock_pb2.ReceiveStockRequest(
        product=product, quantity=decimal(quantity), reason=reason, request_id=new_id()
    )


async def together(works: Iterable[Any]) -> None:
    """Run all of these at once; the first failure ends the others."""
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(work)


async def by_turns(works: Iterable[Any], clients: int) -> None:
    """Run all of these, so many at a time; the first failure ends the others."""
    left = iter(works)

    async def client() -> None:
        for work in left:
            await work

    await together(client() for _ in range(clients))
