"""Everybody appends to the same few records; what was read and what was kept must be one history."""

from __future__ import annotations

import random

from tradewind.inventory.v1 import events_pb2, product_pb2

from chassis.call import new_id
from tests.chaos.rigs.twins import Shop, Twins, together
from tests.chaos.rigs.verdict import Verdict

CLIENTS = 16
MOST = 400  # appends to one record: a description holds so many


async def histories(found: Twins, seed: int, *, appends: int = 600) -> Verdict:
    """Per etag exactly one winner, no append lost, no append of a refused update ever read."""
    rng, verdict = random.Random(seed), Verdict("histories", seed)
    shop = Shop(found, rng, verdict)
    products = await shop.open(max(3, -(-appends // MOST)))
    won: dict[str, dict[int, str]] = {name: {} for name in products}  # version → the token it appended
    reads: dict[str, set[tuple[str, ...]]] = {name: set() for name in products}
    left = appends

    async def client() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            name, token = rng.choice(products), new_id()[-8:]
            seen = await shop.ask("GetProduct", product_pb2.GetProductRequest(name=name))
            reads[name].add(tuple(seen.description.split()))
            seen.description = f"{seen.description} {token}".strip()
            request = product_pb2.UpdateProductRequest(product=seen, request_id=new_id())
            request.update_mask.paths.append("description")
            answer = await shop.ask("UpdateProduct", request)
            if isinstance(answer, str):
                verdict.count("lost races")
                verdict.expect("the reason of a lost race", answer, "ETAG_MISMATCH")
                continue
            verdict.count("appends")
            version = int(answer.etag)
            if version in won[name]:
                verdict.find(f"{name} has two winners of version {version}: {won[name][version]} and {token}")
            won[name].setdefault(version, token)

    await together(client() for _ in range(CLIENTS))
    for name in products:
        await _judge(shop, name, won[name], reads[name])
    return verdict


async def _judge(shop: Shop, name: str, won: dict[int, str], reads: set[tuple[str, ...]]) -> None:
    verdict = shop.verdict
    last = await shop.ask("GetProduct", product_pb2.GetProductRequest(name=name))
    history = [won[version] for version in sorted(won)]
    verdict.expect(f"the text of {name}", last.description.split(), history)
    verdict.expect(f"versions of {name}", int(last.etag), 1 + len(history))
    verdict.expect(f"winners of {name}", sorted(won), list(range(2, 2 + len(history))))
    for read in reads:
        if list(read) != history[: len(read)]:
            verdict.find(f"{name} was read as {read}, which it never was")
    facts = shop.twins.ask_below(
        "SELECT record_version, payload FROM outbox WHERE tenant_id = %s AND record = %s ORDER BY id",
        shop.tenant, name,
    )  # fmt: skip
    told = [(version, events_pb2.ProductUpdated.FromString(payload).product) for version, payload in facts]
    verdict.expect(
        f"facts of {name}",
        [(version, product.description.split()) for version, product in told],
        [(version, history[: version - 1]) for version in range(1, 2 + len(history))],
    )
