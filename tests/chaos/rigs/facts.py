"""Facts on their way while many write and connections are cut: each heard once, in order."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import sql
from tradewind.inventory.v1 import events_pb2, product_pb2

from chassis import migrate
from chassis.call import Call, new_id
from chassis.database import Database
from chassis.events import Consumer, on
from chassis.outbox import part_of
from chassis.store import Tx
from services.inventory.domain.product import Product
from services.inventory.jobs import show_product
from tests.chaos.rigs.kills import Killer
from tests.chaos.rigs.twins import Shop, Twins, receipt, together
from tests.chaos.rigs.verdict import Verdict
from tests.chassis.notes import NoteStore
from tests.servers import Servers

LISTENER = "rig_listener"
WRITERS = 12
RECORDS = 4
QUIET_SECONDS = 180.0


class Heard:
    """A reactions module that writes down, in its transaction, what it was told."""

    def __init__(self, pause: float = 0.0) -> None:
        @on(events_pb2.ProductUpdated, events_pb2.StockReceived)
        async def remember(event: Any, tx: Tx) -> None:
            fact = tx.call.event
            tx.writes.raw(
                "INSERT INTO told (tenant_id, record, version, event_id) VALUES (%s, %s, %s, %s) RETURNING 1",
                [tx.call.tenant, fact.record, fact.record_version, fact.event_id],
            )
            if pause:
                await asyncio.sleep(random.uniform(0, pause))

        self.remember = remember


class Listener:
    """A service of its own that only listens."""

    def __init__(self, consumer: Consumer, admin_url: str, app_url: str) -> None:
        self.consumer, self.admin_url, self.app_url = consumer, admin_url, app_url

    def told(self, tenant: str) -> list[tuple[str, int, str]]:
        """(record, version, event id) of everything it kept of an organization, in the order of keeping."""
        with psycopg.connect(self.admin_url) as db:
            return db.execute(
                "SELECT record, version, event_id FROM told WHERE tenant_id = %s ORDER BY at", (tenant,)
            ).fetchall()


def prepare(servers: Servers, name: str = LISTENER) -> tuple[str, str]:
    """The listener's database, empty: how a superuser and the listener reach it."""
    owner_url, app_url = servers.database(name)
    migrate.upgrade("tests.chassis.notes", owner_url, app_url)
    with psycopg.connect(owner_url) as db:
        db.execute("DROP TABLE IF EXISTS told")
        db.execute(
            "CREATE TABLE told (at bigint GENERATED ALWAYS AS IDENTITY, tenant_id uuid, record text,"
            " version bigint, event_id text)"
        )
        app = sql.Identifier(f"{name}_app")
        db.execute(sql.SQL("GRANT SELECT, INSERT ON told TO {}").format(app))
        db.execute(sql.SQL("GRANT USAGE ON SEQUENCE told_at_seq TO {}").format(app))
    return servers.postgres.url(name), app_url


@asynccontextmanager
async def listening(servers: Servers, found: Twins) -> AsyncIterator[Listener]:
    """A consumer of what the twins tell, from the first fact on; the rig moves it."""
    admin_url, app_url = prepare(servers)
    store = NoteStore(Database(app_url, 4))
    clients = found.instances[0].runtime.clients
    consumer = Consumer("listener", store, Heard(), clients)  # type: ignore[arg-type]
    with psycopg.connect(admin_url) as db:
        db.execute("DELETE FROM event_cursor")
    yield Listener(consumer, admin_url, app_url)
    await store.database.close()


async def facts(
    found: Twins, listener: Listener, seed: int, *, writes: int = 400, kills: int = 25
) -> Verdict:
    """Everything that was answered is heard once and in order, whatever is cut on the listener's side."""
    rng, verdict = random.Random(seed), Verdict("facts", seed)
    shop = Shop(found, rng, verdict)
    products = await shop.open(RECORDS)
    over = asyncio.Event()
    relays = [asyncio.create_task(_relay(one.runtime.relay, over)) for one in found.instances]
    hearing = asyncio.create_task(_hear(listener, part_of(shop.tenant), over))
    killer = Killer(listener.admin_url, LISTENER, rng, verdict)
    killing = asyncio.create_task(killer.run(kills))
    left = writes

    async def writer() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await _write(shop, products)

    await together(writer() for _ in range(WRITERS))
    killing.cancel()
    await asyncio.gather(killing, return_exceptions=True)
    await _until_quiet(found, listener, shop)
    over.set()
    await asyncio.gather(*relays, hearing)
    audit(found, listener, shop)
    return verdict


async def _write(shop: Shop, products: list[str]) -> None:
    product, chance = shop.rng.choice(products), shop.rng.random()
    if chance < 0.2:
        await _unhurried(shop, product)
        return
    if chance < 0.6:
        answer = await shop.ask("ReceiveStock", receipt(product, 1, "fact"))
    else:
        # Without an etag the last word counts; a race is lost all the same, and the update asked for anew.
        changed = product_pb2.Product(name=product, description=new_id())
        request = product_pb2.UpdateProductRequest(product=changed, request_id=new_id())
        request.update_mask.paths.append("description")
        answer = await shop.ask("UpdateProduct", request)
    shop.verdict.count("writes" if not isinstance(answer, str) else "lost races")


async def _unhurried(shop: Shop, product: str) -> None:
    """A transaction that has sent its fact and takes its time until the COMMIT, as a long job does."""
    call = Call(shop.tenant, "services/inventory", deadline=time.monotonic() + 30)
    try:
        async with shop.rng.choice(shop.twins.instances).store.begin(call) as tx:
            found = await tx.get(Product, product, lock=True)
            made = tx.save(replace(found, description=new_id()))
            tx.emit(events_pb2.ProductUpdated(product=show_product(made)))
            tx.flush()
            await tx.rows("SELECT pg_sleep(%s)", [shop.rng.uniform(0, 0.05)])
        shop.verdict.count("unhurried writes")
    except psycopg.errors.LockNotAvailable:
        shop.verdict.count("lost races")


async def _relay(relay: Any, over: asyncio.Event) -> None:
    while not over.is_set():
        await relay.step()
        await asyncio.sleep(0)


async def _hear(listener: Listener, part: int, over: asyncio.Event) -> None:
    while not over.is_set():
        try:
            await listener.consumer.catch_up("inventory", part)
        except Exception:  # a cut connection: as in the product's own loop, the next round goes on
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.005)


async def _until_quiet(found: Twins, listener: Listener, shop: Shop) -> None:
    """Until the listener has reached the producer's last position twice in a row."""
    part, quiet = part_of(shop.tenant), 0
    async with asyncio.timeout(QUIET_SECONDS):
        while quiet < 2:
            numbered = found.ask_below("SELECT pos FROM outbox_head WHERE part = %s", part)[0][0]
            with psycopg.connect(listener.admin_url) as db:
                rows = db.execute(
                    "SELECT pos FROM event_cursor WHERE source = 'inventory' AND part = %s", (part,)
                ).fetchall()
            quiet = quiet + 1 if rows and rows[0][0] >= numbered else 0
            await asyncio.sleep(0.25)


def audit(found: Twins, listener: Listener, shop: Shop) -> None:
    """What was told, against what is in the tables of the producer: both say the same, once and in order."""
    verdict, tenant = shop.verdict, shop.tenant
    told = listener.told(tenant)
    verdict.count("facts heard", len(told))
    versions: dict[str, list[int]] = {}
    for record, version, _ in told:
        versions.setdefault(record, []).append(version)
    kept = found.ask_below("SELECT 'products/' || id, version FROM products WHERE tenant_id = %s", tenant)
    kept += found.ask_below("SELECT 'movements/' || id, version FROM movements WHERE tenant_id = %s", tenant)
    for record, version in kept:
        first = 2 if record.startswith("products/") else 1  # nobody listens to ProductCreated
        heard = versions.pop(record, [])
        if heard != list(range(first, version + 1)):
            verdict.find(f"{record} is at version {version}, and heard were {heard}")
    for record in versions:
        verdict.find(f"{record} was heard of, and is not there")
    pending = found.ask_below("SELECT count(*) FROM outbox WHERE tenant_id = %s AND pos IS NULL", tenant)
    verdict.expect("facts without a position", pending[0][0], 0)
