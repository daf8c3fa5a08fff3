"""Events that kept failing, and the later ones of their records: shown, and applied again once they can be.

The platform may be running meanwhile: whoever tries again holds the cursor, so that no batch which saw the
record parked can put a later event of it behind the last one, where nobody would look for it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from tradewind.type.v1 import feed_pb2

from chassis.call import Call
from chassis.events import Consumer

log = logging.getLogger(__name__)
ATTEMPTS = 5  # to get hold of a cursor that is busy

_PARKED = """
SELECT tenant_id::text AS organization, source, part, pos, record, event, problem, parked_at
FROM parked_events WHERE tenant_id = %s AND %s::text IN ('', source) AND %s::text IN ('', record)
ORDER BY source, part, pos
"""
_FIRST = """
DELETE FROM parked_events p WHERE tenant_id = %s AND source = %s AND part = %s AND pos = (
  SELECT min(pos) FROM parked_events
  WHERE tenant_id = p.tenant_id AND source = p.source AND part = p.part AND record = %s)
RETURNING event
"""


@dataclass(frozen=True)
class Parked:
    """An event that waits for a person, or for an earlier one of its record."""

    organization: str
    source: str
    part: int
    position: int
    record: str
    type: str
    version: int
    problem: str
    since: datetime

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Parked:
        """From a row of parked_events."""
        event = feed_pb2.FeedEvent.FromString(bytes(row["event"]))
        return cls(
            row["organization"], row["source"], row["part"], row["pos"], row["record"], event.type,
            event.record_version, row["problem"], row["parked_at"],
        )  # fmt: skip

    @property
    def place(self) -> tuple[str, str, int, str]:
        """What is tried again as one: a record of an organization, as one source tells of it."""
        return (self.organization, self.source, self.part, self.record)


async def parked(consumer: Consumer, source: str = "", record: str = "") -> list[Parked]:
    """What waits, in order; of one source or one record where they are named."""
    async with consumer.store.database.connection() as connection:
        rows = await connection.execute("SELECT DISTINCT organization FROM parked()")
        waiting = sorted(row[0] for row in await rows.fetchall())
    found: list[Parked] = []
    for organization in waiting:
        async with consumer.store.begin(Call(organization, f"services/{consumer.service}")) as tx:
            found += map(Parked.of, await tx.rows(_PARKED, [organization, source, record]))
    return found


async def retry(consumer: Consumer, source: str = "", record: str = "") -> tuple[int, list[Parked]]:
    """Apply what waits again, in order per record; how many were, and those that still wait."""
    applied = 0
    for place in dict.fromkeys(one.place for one in await parked(consumer, source, record)):
        try:
            while await _next(consumer, *place):
                applied += 1
        except Exception as problem:
            log.warning("%s still fails: %s: %s", place[-1], type(problem).__name__, problem)
    return applied, await parked(consumer, source, record)


async def _next(consumer: Consumer, organization: str, source: str, part: int, record: str) -> bool:
    """Apply the first parked event of a record; whether there was one."""
    for attempt in range(ATTEMPTS):
        try:
            return await _apply_first(consumer, organization, source, part, record)
        except psycopg.errors.LockNotAvailable:
            if attempt + 1 == ATTEMPTS:
                raise
    return False


async def _apply_first(consumer: Consumer, organization: str, source: str, part: int, record: str) -> bool:
    async with consumer.store.begin(Call(organization, f"services/{consumer.service}")) as tx:
        held = "SELECT 1 AS held FROM event_cursor WHERE source = %s AND part = %s FOR UPDATE"
        await tx.rows(held, [source, part])
        rows = await tx.rows(_FIRST, [organization, source, part, record])
        for row in rows:
            event = feed_pb2.FeedEvent.FromString(bytes(row["event"]))
            tx.call, tx.batch = consumer.call_for(event), [event]
            await consumer.react(event, tx)
    return bool(rows)
