"""Processes that are frozen until others have their work, and then go on: nothing is lost or done twice.

In turn the leader of the relay, a listener, and both at once stand still for longer than their lease, while
goods are received through the other process. Facts have to go on being heard meanwhile.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from itertools import pairwise

import nats
import psycopg
from nats.errors import TimeoutError as NothingMore
from nats.js.api import AckPolicy, ConsumerConfig
from tradewind.inventory.v1 import product_pb2
from tradewind.type.v1 import feed_pb2

from chassis.bus import stream_name
from chassis.call import new_id
from chassis.outbox import LEASE_SECONDS, part_of
from tests.chaos.rigs.facts import RECORDS, _until_quiet, audit
from tests.chaos.rigs.pairs import Pairs, pairs
from tests.chaos.rigs.twins import Shop, receipt
from tests.chaos.rigs.verdict import Verdict
from tests.servers import Servers

TURNS = (("relay",), ("listener",), ("relay", "listener"))
# PostgreSQL ends the transaction of a frozen listener after three seconds: that is all it holds.
STILL_SECONDS = {"relay": LEASE_SECONDS + 1.0, "listener": 4.0}
PATIENCE = 120.0  # seconds for the others to take over: how long it took is printed
WRITERS = 6
BLINKS = 30  # each finds a leader that keeps a lock open between two statements every tenth time


async def zombies(servers: Servers, seed: int, *, rounds: int, planted: str = "") -> Verdict:
    """So many rounds; *planted* names a bug of the listeners."""
    rng, verdict = random.Random(seed), Verdict("zombies", seed)
    async with pairs(servers, planted) as found:
        shop = Shop(found.twins, rng, verdict)
        products = await shop.open(RECORDS)
        over = asyncio.Event()
        writers = [asyncio.create_task(_write(shop, products, over)) for _ in range(WRITERS)]
        await _passed(found, part_of(shop.tenant), found.head(part_of(shop.tenant))[0] + 20)
        await _blink(found, shop)
        for nth in range(rounds):
            await _freeze(found, shop, TURNS[nth % len(TURNS)])
        over.set()
        await asyncio.gather(*writers)
        await _until_quiet(found.twins, found.listener, shop)
        audit(found.twins, found.listener, shop)
        await _stream(found, shop)
        kept = found.twins.ask_below("SELECT count(*) FROM movements WHERE tenant_id = %s", shop.tenant)
        verdict.expect("goods received", kept[0][0], verdict.counters.get("receipts", 0))
        await found.twins.laws(verdict)
    return verdict


async def _write(shop: Shop, products: list[str], over: asyncio.Event) -> None:
    while not over.is_set():
        product = shop.rng.choice(products)
        if shop.rng.random() < 0.5:
            answer = await shop.ask("ReceiveStock", receipt(product, 1, "zombies"))
            shop.verdict.count("lost races" if isinstance(answer, str) else "receipts")
        else:
            changed = product_pb2.Product(name=product, description=new_id())
            request = product_pb2.UpdateProductRequest(product=changed, request_id=new_id())
            request.update_mask.paths.append("description")
            answer = await shop.ask("UpdateProduct", request)
            shop.verdict.count("lost races" if isinstance(answer, str) else "updates")
        await asyncio.sleep(shop.rng.uniform(0.01, 0.1))


async def _blink(found: Pairs, shop: Shop) -> None:
    """Freeze the leader for a moment, again and again: it never keeps the others from leading meanwhile."""
    part = part_of(shop.tenant)
    for _ in range(BLINKS):
        await asyncio.sleep(shop.rng.uniform(0, 0.05))
        leader = found.leader(part)
        leader.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(0.03)  # what had been sent to PostgreSQL is over
            with psycopg.connect(found.twins.admin_url, options="-c lock_timeout=500") as db:
                db.execute("SELECT 1 FROM outbox_head WHERE part = %s FOR UPDATE", (part,))
        except psycopg.errors.LockNotAvailable:
            shop.verdict.find("a leader that stands still holds the lock that leads")
        finally:
            leader.send(signal.SIGCONT)
    shop.verdict.count("moments", BLINKS)


async def _freeze(found: Pairs, shop: Shop, who: tuple[str, ...]) -> None:
    """One round: freeze, wait until the others have taken over, thaw."""
    part, verdict = part_of(shop.tenant), shop.verdict
    await asyncio.sleep(shop.rng.uniform(0.5, 1.0))  # any moment of their work
    leader = found.leader(part)
    victims = [leader] if "relay" in who else []
    victims += [shop.rng.choice(found.hearers)] if "listener" in who else []
    began = time.monotonic()
    for one in victims:
        one.send(signal.SIGSTOP)
    try:
        if "relay" in who:
            found.twins.instances = [
                one for one in found.callable if one.address != leader.address
            ]  # fmt: skip
        await asyncio.sleep(0.5)  # what had been sent to PostgreSQL is over
        position, _ = found.head(part)
        passed = await _passed(found, part, position + 1)
        took = time.monotonic() - began
        led = found.head(part)[1]
        if not passed or ("relay" in who and f"/{leader.pid}/" in led):
            verdict.find(f"while {' and '.join(who)} stood still nobody took over within {PATIENCE:.0f} s")
        print(f"  {' and '.join(who)} frozen: facts are heard again after {took:.1f} s", flush=True)
        await asyncio.sleep(max(0.0, began + max(STILL_SECONDS[one] for one in who) - time.monotonic()))
    finally:
        for one in victims:
            one.send(signal.SIGCONT)
        found.twins.instances = list(found.callable)
    verdict.count("rounds")


async def _passed(found: Pairs, part: int, position: int) -> bool:
    """Whether the listeners come to a position in time."""
    until = time.monotonic() + PATIENCE
    while found.heard(part) < position:
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.1)
    return True


async def _stream(found: Pairs, shop: Shop) -> None:
    """Every position once and in order in the broker's stream, up to the last."""
    part, positions = part_of(shop.tenant), []
    client = await nats.connect(found.nats_url)
    try:
        last, _ = found.head(part)
        # Read without acknowledging: a broker waits for the words of a reader before it sends the 1,001st,
        # and sends everything anew that nobody has spoken for.
        pull = await client.jetstream().pull_subscribe(
            f"tradewind.inventory.v1.*.{part}", stream=stream_name("inventory"),
            config=ConsumerConfig(ack_policy=AckPolicy.NONE),
        )  # fmt: skip
        while not positions or positions[-1] < last:
            try:
                messages = await pull.fetch(500, timeout=5)
            except (NothingMore, TimeoutError):
                break
            positions += [feed_pb2.FeedEvent.FromString(message.data).position for message in messages]
    finally:
        await client.close()
    shop.verdict.count("facts in the stream", len(positions))
    if not positions or positions != list(range(positions[0], last + 1)):
        odd = [b for a, b in pairwise(positions) if b != a + 1][:5]
        shop.verdict.find(f"the stream does not hold every position once up to {last}: wrong at {odd}")
