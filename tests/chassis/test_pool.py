"""Connections that serve one organization after the other: none leaves anything behind for the next."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import psycopg
import pytest

from chassis.call import Call, new_id
from chassis.database import Database
from chassis.kernel.refusals import Refused
from tests.chaos.planted.code import session_level_tenant
from tests.chassis.notes import Note, NoteStore

ORGANIZATIONS, REQUESTS, CONNECTIONS, AT_ONCE = 20, 10_000, 3, 12
# No organization in the question: what it answers, row-level security alone has chosen.
_EVERYTHING = "SELECT tenant_id::text AS tenant, title, pg_backend_pid() AS pid FROM notes"
_WHO = "SELECT pg_backend_pid() AS pid, (SELECT count(*) FROM notes) AS seen"


@dataclass
class Seen:
    """What a run came upon."""

    foreign: list[str] = field(default_factory=list)
    served: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))  # backend → whom
    did: Counter[str] = field(default_factory=Counter)


class TurnedBack(Exception):
    """Somebody changes their mind in the middle."""


async def interleave(store: NoteStore, requests: int, seed: int) -> Seen:
    """Many requests of many organizations at once: reads, writes, refusals, rollbacks, broken-off calls."""
    rng, seen, left = random.Random(seed), Seen(), requests
    tenants = [new_id() for _ in range(ORGANIZATIONS)]
    for tenant in tenants:
        async with store.begin(call(tenant)) as tx:
            tx.add(Note(id=new_id(), title=f"of {tenant}"))

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await one(store, rng, rng.choice(tenants), seen)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return seen


def call(tenant: str, *, dry: bool = False) -> Call:
    return Call(tenant=tenant, user="users/ann", validate_only=dry)


async def one(store: NoteStore, rng: random.Random, tenant: str, seen: Seen) -> None:
    """One request, which ends well or badly."""
    end = rng.choices(("read", "write", "dry", "refuse", "break", "cancel", "nobody"),
                      (50, 6, 10, 12, 12, 2, 8))[0]  # fmt: skip
    seen.did[end] += 1
    if end == "nobody":
        async with store.database.connection() as connection:
            pid, rows = await (await connection.execute(_WHO)).fetchone() or (0, 0)
            seen.served[pid].add("")
            if rows:
                seen.foreign.append(f"{rows} rows for nobody")
        return
    asking = asyncio.create_task(transaction(store, rng, tenant, end, seen))
    if end == "cancel":
        await asyncio.sleep(rng.random() * 0.004)
        asking.cancel()
    results = await asyncio.gather(asking, return_exceptions=True)
    for problem in results:
        expected = (Refused, TurnedBack, asyncio.CancelledError)
        if isinstance(problem, BaseException) and not isinstance(problem, expected):
            raise problem


async def transaction(store: NoteStore, rng: random.Random, tenant: str, end: str, seen: Seen) -> None:
    async with store.begin(call(tenant, dry=end == "dry")) as tx:
        if end in ("write", "dry"):
            tx.add(Note(id=new_id(), title=f"of {tenant} {rng.random()}"))
        if end == "cancel":
            await tx.rows("SELECT pg_sleep(0.002)")
        for row in await tx.rows(_EVERYTHING):
            seen.served[row["pid"]].add(tenant)
            if row["tenant"] != tenant or not row["title"].startswith(f"of {tenant}"):
                seen.foreign.append(f"{tenant} reads {row['tenant']}")
        if end == "refuse":
            await tx.get(Note, "notes/none")
        if end == "break":
            raise TurnedBack


@pytest.fixture
async def narrow(notes_urls: tuple[str, str]):
    store = NoteStore(Database(notes_urls[1], CONNECTIONS))
    yield store
    await store.database.close()


@pytest.mark.req("X-25")
async def test_ten_thousand_requests_of_twenty_organizations_over_three_connections(
    narrow: NoteStore,
) -> None:
    seen = await interleave(narrow, REQUESTS, seed=6)
    assert not seen.foreign, seen.foreign[:10]
    assert sum(seen.did.values()) == REQUESTS and min(seen.did.values()) > 100
    # Backends were used again: but for those whose call was broken off, each has served nearly everybody.
    assert len(seen.served) <= seen.did["cancel"] + CONNECTIONS
    assert max(map(len, seen.served.values())) == ORGANIZATIONS + 1
    assert sum(len(whom) for whom in seen.served.values()) > 5 * len(seen.served)


async def test_an_organization_that_stays_in_a_connection_is_found(narrow: NoteStore) -> None:
    """Planted: the setting outlives the transaction."""
    with session_level_tenant():
        seen = await interleave(narrow, 400, seed=7)
    assert any("for nobody" in line for line in seen.foreign)


async def test_a_query_without_an_organization_is_refused(narrow: NoteStore) -> None:
    with pytest.raises(RuntimeError, match="needs an organization"):
        async with narrow.begin(call("")):
            pass
    async with narrow.database.connection() as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(
                "INSERT INTO settings (tenant_id, id, version) VALUES (%s, 'x', 1)", (new_id(),)
            )
