"""Conservation laws: what must hold at any moment, asked of the database itself.

A law is SQL that returns the rows that break it, beside SQL that counts what was looked at.
`tradewind verify` asks every service; a broken law names the rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chassis.call import Call
from chassis.jobs import Jobs, organizations
from chassis.store import Store

log = logging.getLogger(__name__)
EVERY_SECONDS = 3600.0


@dataclass(frozen=True)
class Law:
    """`broken` selects what breaks the law (one column says what), `counted` how many rows were looked at.

    Both run inside one organization and may use %(tenant)s.
    """

    name: str
    sentence: str
    broken: str
    counted: str


@dataclass(frozen=True)
class Verdict:
    """What a law said over all organizations."""

    service: str
    name: str
    sentence: str
    counted: int
    broken: tuple[str, ...]


# Holds for every service: what the chassis itself promises.
COMMON = (
    Law(
        "parked events",
        "no event waits for a person",
        "SELECT source || ' ' || pos || ' of ' || record || ': ' || problem FROM parked_events"
        " WHERE tenant_id = %(tenant)s",
        "SELECT count(*) FROM event_cursor",
    ),
    Law(
        "stuck sagas",
        "no saga waits for a person",
        "SELECT type || ' of ' || record FROM sagas WHERE tenant_id = %(tenant)s AND state = 'STUCK'",
        "SELECT count(*) FROM sagas WHERE tenant_id = %(tenant)s",
    ),
)


async def verify(service: str, store: Store, laws: Sequence[Law], most: int = 20) -> list[Verdict]:
    """Ask every law of every organization; at most *most* broken rows are named."""
    found: dict[str, tuple[Law, int, list[str]]] = {law.name: (law, 0, []) for law in (*COMMON, *laws)}
    for organization in await organizations(store):
        call = Call(tenant=organization, user=f"services/{service}")
        async with store.begin(call) as tx:
            for name, (law, counted, broken) in found.items():
                total = await _ask(tx, law.counted, organization)
                named = await _ask(tx, law.broken, organization)
                broken += [" ".join(str(cell) for cell in row.values()) for row in named][:most]
                found[name] = (law, counted + sum(int(next(iter(row.values()))) for row in total), broken)
    return [
        Verdict(service, law.name, law.sentence, counted, tuple(broken[:most]))
        for law, counted, broken in found.values()
    ]


class Watch:
    """Asks the laws of one service once an hour, in one of its processes, and keeps what they said."""

    def __init__(self, service: str, store: Store, laws: Sequence[Law], jobs: Jobs) -> None:
        self.service, self.store, self.laws, self.jobs = service, store, laws, jobs

    async def run(self) -> None:
        """Look every minute whether it is time, until cancelled."""
        while True:
            try:
                await self.jobs.turn("ask_laws", EVERY_SECONDS, self.ask)
            except Exception:
                log.exception("the conservation laws could not be asked; they are when it is time again")
            await asyncio.sleep(60)

    async def ask(self) -> None:
        """Ask every law now and keep the verdicts for the gauges; a broken one is logged with its rows."""
        verdicts = await verify(self.service, self.store, self.laws)
        for verdict in verdicts:
            if verdict.broken:
                log.error("law broken: %s: %s", verdict.sentence, "; ".join(verdict.broken))
        columns = [
            [v.name for v in verdicts],
            [v.counted for v in verdicts],
            [len(v.broken) for v in verdicts],
        ]
        async with self.store.database.connection() as connection:
            await connection.execute(
                "WITH said AS (SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) s(law, n, b)),"
                " gone AS (DELETE FROM law_verdicts WHERE law NOT IN (SELECT law FROM said))"
                " INSERT INTO law_verdicts SELECT law, n, b, clock_timestamp() FROM said"
                " ON CONFLICT (law) DO UPDATE SET counted = EXCLUDED.counted, broken = EXCLUDED.broken,"
                " asked_at = EXCLUDED.asked_at",
                columns,
            )  # fmt: skip


async def _ask(tx: Any, sql: str, organization: str) -> list[dict[str, Any]]:
    count = sql.count("%(tenant)s")
    found: list[dict[str, Any]] = await tx.rows(sql.replace("%(tenant)s", "%s"), [organization] * count)
    return found
