"""Many organizations over few connections, with refusals and broken-off calls: nobody sees another's rows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import psycopg
from tradewind.inventory.v1 import product_pb2

from chassis.call import new_id
from tests.chaos.rigs.twins import Shop, Twins, together
from tests.chaos.rigs.verdict import Verdict
from tests.messages import money

_FOREIGN = """
INSERT INTO number_series (tenant_id, series, last) VALUES (%s, 'foreign', 1)
"""


async def tenants(found: Twins, seed: int, *, organizations: int = 20, calls: int = 400) -> Verdict:
    """Each reads exactly what it wrote; a connection between two transactions belongs to nobody."""
    rng, verdict = random.Random(seed), Verdict("tenants", seed)
    shops = [Shop(found, rng, verdict) for _ in range(organizations)]
    written: dict[str, set[str]] = {shop.tenant: set() for shop in shops}
    left = calls

    async def client() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await _one_call(rng.choice(shops), written)

    await together(client() for _ in range(12))
    for shop in shops:
        seen = {name async for name in _products(shop)}
        missing, foreign = written[shop.tenant] - seen, {name for t in written if t != shop.tenant
                                                         for name in written[t]} & seen  # fmt: skip
        verdict.expect(f"products {shop.tenant} misses", missing, set())
        verdict.expect(f"products of others that {shop.tenant} reads", foreign, set())
    await _between(found, shops, verdict)
    return verdict


async def _products(shop: Shop) -> AsyncIterator[str]:
    """The names of all it lists, page by page."""
    request = product_pb2.ListProductsRequest(page_size=200)
    while True:
        answer = await shop.ask("ListProducts", request)
        for product in answer.products:
            yield product.name
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


async def _one_call(shop: Shop, written: dict[str, set[str]]) -> None:
    rng, verdict = shop.rng, shop.verdict
    chance = rng.random()
    verdict.count("calls")
    if chance < 0.5:
        product = product_pb2.Product(sku=new_id(), display_name="Pump", list_price=money(1))
        answer = await shop.ask(
            "CreateProduct", product_pb2.CreateProductRequest(product=product, request_id=new_id())
        )
        if isinstance(answer, str):
            verdict.find(f"CreateProduct was refused for {answer}")
        else:
            written[shop.tenant].add(answer.name)
    elif chance < 0.7:  # a refusal in the middle of a transaction
        answer = await shop.ask("GetProduct", product_pb2.GetProductRequest(name=f"products/{new_id()}"))
        verdict.expect("the reason of a miss", answer, "NOT_FOUND")
    elif chance < 0.85:  # the caller gives up
        await shop.once("ListProducts", product_pb2.ListProductsRequest(), timeout=rng.uniform(0.001, 0.01))
    else:
        others = [name for tenant, names in written.items() if tenant != shop.tenant for name in names]
        if others:
            answer = await shop.ask("GetProduct", product_pb2.GetProductRequest(name=rng.choice(others)))
            if not isinstance(answer, str):
                verdict.find(f"{shop.tenant} reads {answer.name} of another organization")


async def _between(found: Twins, shops: list[Shop], verdict: Verdict) -> None:
    """Take every pooled connection as it lies, and try what no transaction was told to do."""
    for one in found.instances:
        database = one.store.database
        async with asyncio.TaskGroup() as group:
            for _ in range(database.size):
                group.create_task(_probe(database, shops, verdict))


async def _probe(database: object, shops: list[Shop], verdict: Verdict) -> None:
    async with database.connection() as connection:  # type: ignore[attr-defined]
        verdict.count("connections")
        cursor = await connection.execute(
            "SELECT current_setting('app.tenant_id', true), count(*) FROM products"
        )
        left, visible = await cursor.fetchone() or ("", 0)
        verdict.expect("the organization left in a connection", left or "", "")
        verdict.expect("rows that nobody in particular sees", visible, 0)
        mine, other = shops[0].tenant, shops[1].tenant
        try:
            async with connection.transaction(force_rollback=True):
                await connection.execute("SELECT set_config('app.tenant_id', %s, true)", (mine,))
                await connection.execute(_FOREIGN, (other,))
            verdict.find("a row of another organization could be written")
        except psycopg.errors.InsufficientPrivilege:
            pass
        await asyncio.sleep(0.05)  # hold it, so that the others take the rest of the pool
