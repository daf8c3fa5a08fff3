"""The same request from many callers at once, through two processes, with impostors among them."""

from __future__ import annotations

import asyncio
import random

from tests.chaos.rigs.twins import Shop, Twins, receipt
from tests.chaos.rigs.verdict import Verdict

PRODUCTS = 10
IMPOSTORS = 8  # of the callers of one key ask for something else under it


async def storm(found: Twins, seed: int, *, keys: int = 50, callers: int = 64) -> Verdict:
    """One effect per key, one answer for all who asked for it, REQUEST_ID_REUSED for everybody else."""
    rng, verdict = random.Random(seed), Verdict("storm", seed)
    shop = Shop(found, rng, verdict)
    products = await shop.open(PRODUCTS)
    for nth in range(keys):
        await _one_key(shop, products[nth % PRODUCTS], nth, callers)
    rows = found.ask_below(
        "SELECT reason, count(*) FROM movements WHERE tenant_id = %s GROUP BY reason", shop.tenant
    )
    verdict.expect("keys with an effect", len({reason.partition("/")[0] for reason, _ in rows}), keys)
    for reason, effects in rows:
        verdict.expect(f"effects of key {reason}", effects, 1)
    facts = found.ask_below(
        "SELECT count(*) FROM outbox WHERE tenant_id = %s AND type LIKE %s", shop.tenant, "%%.StockReceived"
    )
    verdict.expect("facts", facts[0][0], keys)
    await found.laws(verdict)
    return verdict


async def _one_key(shop: Shop, product: str, nth: int, callers: int) -> None:
    verdict = shop.verdict
    genuine = receipt(product, 1, f"{nth}/genuine")
    other = receipt(product, 1000, f"{nth}/other")
    other.request_id = genuine.request_id
    asked = [genuine] * (callers - IMPOSTORS) + [other] * IMPOSTORS
    shop.rng.shuffle(asked)
    answers = await asyncio.gather(*(shop.ask("ReceiveStock", request) for request in asked))
    verdict.count("calls", len(asked))
    heard = {False: set[bytes](), True: set[bytes]()}
    for request, answer in zip(asked, answers, strict=True):
        said = answer.encode() if isinstance(answer, str) else answer.SerializeToString(deterministic=True)
        heard[request is other].add(said)
    refused = b"REQUEST_ID_REUSED"
    if sorted(refused in said for said in heard.values()) != [False, True] or any(
        len(said) != 1 for said in heard.values()
    ):
        verdict.find(f"key {nth}: who asked for the one heard {heard[False]}, for the other {heard[True]}")
    verdict.count("refused", sum(answer == "REQUEST_ID_REUSED" for answer in answers))
