"""More people want the goods than there are, in every order of lines, while promises lapse."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from tradewind.inventory.v1 import order_pb2, reservation_pb2

from chassis.call import new_id
from services.inventory.jobs import expire_reservations
from tests.chaos.rigs.twins import Shop, Twins, by_turns, together
from tests.chaos.rigs.verdict import Verdict
from tests.messages import decimal

SAMPLE_SECONDS = 0.05
PRODUCTS = 6
UNIT = 10_000  # quantities are kept in ten-thousandths
_SOLD_OVER = """
SELECT product, on_hand, reserved FROM stock
WHERE tenant_id = %s AND NOT (0 <= reserved AND reserved <= on_hand)
"""
_PROMISED = """
SELECT s.product, s.reserved, coalesce(p.promised, 0) FROM stock s LEFT JOIN (
  SELECT product, sum(quantity) AS promised FROM reservations WHERE tenant_id = %(tenant)s AND state = 'HELD'
  GROUP BY product) AS p ON p.product = s.product
WHERE s.tenant_id = %(tenant)s AND s.reserved <> coalesce(p.promised, 0)
"""


class Sampler:
    """Looks at every balance from a connection of its own, again and again."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    async def run(self) -> None:
        """Look until cancelled."""
        verdict, tenant = self.shop.verdict, self.shop.tenant
        async with await psycopg.AsyncConnection.connect(self.shop.twins.admin_url, autocommit=True) as db:
            while True:
                for row in await (await db.execute(_SOLD_OVER, (tenant,))).fetchall():
                    verdict.find(f"sold over: {row}")
                for row in await (await db.execute(_PROMISED, {"tenant": tenant})).fetchall():
                    verdict.find(f"reserved is not what is promised: {row}")
                verdict.count("samples")
                await asyncio.sleep(SAMPLE_SECONDS)


async def oversell(
    found: Twins, seed: int, *, calls: int = 1200, units: int = 300, clients: int = 200, orders: int = 80
) -> Verdict:
    """Exactly *units* are granted; then orders and promises that lapse fight for the goods."""
    rng, verdict = random.Random(seed), Verdict("oversell", seed)
    shop = Shop(found, rng, verdict)
    products = await shop.open(PRODUCTS, units)
    before = found.deadlocks()
    sampler = asyncio.create_task(Sampler(shop).run())
    try:
        await _reserve(shop, products[0], calls, units, clients)
        await _orders(shop, products[1:], orders, clients)
        await _lapse(shop, products[1], calls // 6, clients)
    finally:
        sampler.cancel()
        await asyncio.gather(sampler, return_exceptions=True)
    if not sampler.cancelled() and (problem := sampler.exception()):
        raise problem
    await found.let_go()
    verdict.expect("deadlocks", found.deadlocks() - before, 0)
    await found.laws(verdict)
    return verdict


def _promise(product: str, quantity: int = 1, seconds: float = 0.0) -> Any:
    request = reservation_pb2.ReserveStockRequest(
        product=product, quantity=decimal(quantity), request_id=new_id()
    )
    if seconds:
        request.expire_time.FromDatetime(datetime.now(UTC) + timedelta(seconds=seconds))
    return request


async def _reserve(shop: Shop, product: str, calls: int, units: int, clients: int) -> None:
    """Every unit is asked for several times over."""
    left, granted, verdict = calls, 0, shop.verdict

    async def client() -> None:
        nonlocal left, granted
        while left > 0:
            left -= 1
            answer = await shop.ask("ReserveStock", _promise(product))
            verdict.count("reserve calls")
            if not isinstance(answer, str):
                granted += 1
            elif answer != "STOCK_SHORT":
                verdict.find(f"ReserveStock was refused for {answer}")

    await together(client() for _ in range(clients))
    verdict.count("granted", granted)
    verdict.expect("units granted", granted, min(units, calls))
    (held,) = shop.twins.ask_below(
        "SELECT coalesce(sum(quantity), 0) FROM reservations WHERE tenant_id = %s AND product = %s",
        shop.tenant, product,
    )  # fmt: skip
    verdict.expect("units promised", int(held[0]), granted * UNIT)


async def _orders(shop: Shop, products: list[str], orders: int, clients: int) -> None:
    """Orders of the same few products, each naming them in an order of its own; half are cancelled."""
    verdict, customer = shop.verdict, f"customers/{new_id()}"
    names = []
    for _ in range(orders):
        made = order_pb2.Order(customer=customer, currency="CNY")
        for product in shop.rng.sample(products, shop.rng.randint(2, len(products))):
            made.lines.add(product=product, quantity=decimal(shop.rng.randint(1, 3)))
        request = order_pb2.CreateOrderRequest(order=made, request_id=new_id())
        names.append((await shop.expect("CreateOrder", request)).name)

    async def confirm(name: str) -> None:
        request = order_pb2.ConfirmOrderRequest(name=name, request_id=new_id())
        answer = await shop.ask("ConfirmOrder", request)
        verdict.count("orders confirmed")
        if isinstance(answer, str) and answer != "STOCK_SHORT":
            verdict.find(f"ConfirmOrder was refused for {answer}")
        if not isinstance(answer, str) and shop.rng.random() < 0.5:
            undo = order_pb2.CancelOrderRequest(name=name, reason="changed my mind", request_id=new_id())
            said = await shop.ask("CancelOrder", undo)
            if isinstance(said, str):
                verdict.find(f"CancelOrder was refused for {said}")

    await by_turns((confirm(name) for name in names), clients)


async def _lapse(shop: Shop, product: str, promises: int, clients: int) -> None:
    """Promises lapse while they are given back by hand: each ends once, one way or the other."""
    verdict = shop.verdict

    async def client() -> None:
        made = await shop.ask("ReserveStock", _promise(product, seconds=shop.rng.uniform(0.2, 1.0)))
        if isinstance(made, str):
            verdict.expect("the reason of a refused promise", made in ("STOCK_SHORT", "FIELD_INVALID"), True)
            return
        await asyncio.sleep(shop.rng.uniform(0, 1.2))
        undo = reservation_pb2.ReleaseReservationRequest(name=made.name, request_id=new_id())
        answer = await shop.ask("ReleaseReservation", undo)
        verdict.count("given back" if not isinstance(answer, str) else "lapsed")
        if isinstance(answer, str) and answer != "STATE_FORBIDS":
            verdict.find(f"ReleaseReservation was refused for {answer}")

    async def expire() -> None:
        while True:
            for one in shop.twins.instances:
                await one.runtime.jobs.carry_out(expire_reservations)
            await asyncio.sleep(0.05)

    jobs = asyncio.create_task(expire())
    await by_turns((client() for _ in range(promises)), clients)
    jobs.cancel()
    ended = (await asyncio.gather(jobs, return_exceptions=True))[0]
    if isinstance(ended, Exception):
        verdict.find(f"the job that lets promises lapse failed: {ended!r}")
