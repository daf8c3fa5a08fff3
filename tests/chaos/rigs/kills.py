"""Connections are cut at every moment, in a COMMIT too; whoever asks again is answered once."""

from __future__ import annotations

import asyncio
import random

import psycopg

from chassis.call import new_id
from tests.chaos.rigs.twins import Shop, Twins, receipt
from tests.chaos.rigs.verdict import Verdict

PRODUCTS = 8
WORKERS = 12
# Someone who works right now; asked for twice as often when about to commit.
_VICTIM = """
SELECT pid, query, wait_event FROM pg_stat_activity
WHERE datname = %s AND usename = %s AND state <> 'idle' AND pid <> pg_backend_pid()
ORDER BY random() * (CASE WHEN query = 'COMMIT' THEN 0.5 ELSE 1 END) LIMIT 1
"""


class Killer:
    """Terminates backends of one database's service until it has had enough."""

    def __init__(self, url: str, database: str, rng: random.Random, verdict: Verdict) -> None:
        self.url, self.database, self.rng, self.verdict = url, database, rng, verdict
        self.kills = 0

    async def run(self, most: int, patience: int = 2000) -> None:
        """Terminate *most* backends; give up after *patience* looks at nobody."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as db:
            nobody = 0
            while self.kills < most and nobody < patience:
                await asyncio.sleep(self.rng.uniform(0, 0.012))
                cursor = await db.execute(_VICTIM, (self.database, f"{self.database}_app"))
                victim = await cursor.fetchone()
                if victim is None:
                    nobody += 1
                    continue
                nobody = 0
                gone = await db.execute("SELECT pg_terminate_backend(%s)", (victim[0],))
                if (await gone.fetchone() or (False,))[0]:
                    self.kills += 1
                    self.verdict.count("kills")
                    if victim[1] == "COMMIT" or victim[2] in ("WalSync", "WALSync", "WalWrite", "WALWrite"):
                        self.verdict.count("kills in a COMMIT")


async def ambiguous(found: Twins, seed: int, *, kills: int = 500, database: str = "rig_inventory") -> Verdict:
    """Exactly one effect per request_id, and the same bytes however often it is asked again."""
    rng, verdict = random.Random(seed), Verdict("kills", seed)
    shop = Shop(found, rng, verdict)
    products = await shop.open(PRODUCTS)
    killer = Killer(found.admin_url, database, rng, verdict)
    over = asyncio.Event()
    received: dict[str, bytes] = {}

    async def work() -> None:
        while not over.is_set():
            request = receipt(rng.choice(products), 1, new_id())
            answer = await shop.ask("ReceiveStock", request, timeout=5)
            if isinstance(answer, str):
                verdict.find(f"a first request was refused: {answer}")
                continue
            said = answer.SerializeToString(deterministic=True)
            received[answer.reason] = said
            again = await shop.ask("ReceiveStock", request, timeout=5)
            if isinstance(again, str) or again.SerializeToString(deterministic=True) != said:
                verdict.find(f"asked again, {answer.name} is answered {again}")
            verdict.count("requests")

    async def kill() -> None:
        try:
            await killer.run(kills)
        finally:
            over.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(kill())
        for _ in range(WORKERS):
            group.create_task(work())
    _audit(found, shop, received)
    await found.laws(verdict)
    return verdict


def _audit(found: Twins, shop: Shop, received: dict[str, bytes]) -> None:
    """Ask the tables what there is for each request: one movement, one fact, one answer."""
    verdict, tenant = shop.verdict, shop.tenant
    rows = found.ask_below(
        "SELECT reason, count(*) FROM movements WHERE tenant_id = %s GROUP BY reason", tenant
    )
    effects = dict(rows)
    for reason in received:
        if effects.get(reason, 0) != 1:
            verdict.find(f"the request {reason} was answered and has {effects.get(reason, 0)} effects")
    for reason in effects.keys() - received.keys():
        verdict.find(f"{reason} has an effect that nobody was told of")
    (facts,) = found.ask_below(
        "SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (SELECT 1 FROM movements m WHERE"
        " m.tenant_id = o.tenant_id AND 'movements/' || m.id = o.record)) FROM outbox o"
        " WHERE tenant_id = %s AND type LIKE %s", tenant, "%.StockReceived",
    )  # fmt: skip
    verdict.expect("facts of what never happened", facts[1], 0)
    verdict.expect("facts", facts[0], len(received))
