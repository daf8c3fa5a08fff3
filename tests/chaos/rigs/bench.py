"""All focused rigs on one pair of instances: run by name, cleaned up after a bug was planted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg

from tests.chaos.rigs.facts import Listener, facts, listening
from tests.chaos.rigs.histories import histories
from tests.chaos.rigs.kills import ambiguous
from tests.chaos.rigs.oversell import oversell
from tests.chaos.rigs.storm import storm
from tests.chaos.rigs.tenants import tenants
from tests.chaos.rigs.twins import Twins, twins
from tests.chaos.rigs.verdict import Verdict
from tests.chaos.rigs.zombies import zombies
from tests.servers import Servers

ON_TWINS = {
    "storm": storm, "kills": ambiguous, "oversell": oversell, "histories": histories, "tenants": tenants,
}  # fmt: skip
SHORT = {
    "storm": {"keys": 50, "callers": 64},
    "kills": {"kills": 150},
    "oversell": {"calls": 800, "units": 200, "clients": 200, "orders": 60},
    "histories": {"appends": 400},
    "tenants": {"organizations": 20, "calls": 200},
    "facts": {"writes": 200, "kills": 20},
    "zombies": {"rounds": 2},
}
LONG = {
    "storm": {"keys": 500, "callers": 64},
    "kills": {"kills": 5000},
    "oversell": {"calls": 20_000, "units": 5_000, "clients": 200, "orders": 1_000},
    "histories": {"appends": 5_000},
    "tenants": {"organizations": 20, "calls": 10_000},
    "facts": {"writes": 5_000, "kills": 500},
    "zombies": {"rounds": 50},
}


class Rigs:
    """The rigs and what they stand on."""

    def __init__(self, servers: Servers, found: Twins, listener: Listener) -> None:
        self.servers, self.twins, self.listener = servers, found, listener
        self.planted = ""  # the bug that processes start with

    async def run(self, rig: str, seed: int, **sizes: int) -> Verdict:
        """Run one of them."""
        if rig == "facts":
            return await facts(self.twins, self.listener, seed, **sizes)
        if rig == "zombies":
            return await zombies(self.servers, seed, planted=self.planted, **sizes)
        return await ON_TWINS[rig](self.twins, seed, **sizes)

    async def forget(self) -> None:
        """Drop what a planted bug has left: connections, rows that break a law, facts that nobody numbers."""
        await asyncio.sleep(0.2)
        await self.twins.let_go()
        with psycopg.connect(self.twins.admin_url, autocommit=True) as db:
            tables = db.execute(
                "SELECT c.table_name FROM information_schema.columns c JOIN information_schema.tables t"
                " USING (table_schema, table_name) WHERE c.table_schema = 'public'"
                " AND c.column_name = 'tenant_id' AND t.table_type = 'BASE TABLE'"
            ).fetchall()
            db.execute(("TRUNCATE tenants, " + ", ".join(f'"{name}"' for (name,) in tables)).encode())
            db.execute(
                "UPDATE outbox_head SET pos = 0, published = 0, epoch = gen_random_uuid(), owner = NULL,"
                " lease_until = NULL"
            )
        for one in self.twins.instances:
            one.store.known_organizations.clear()
        with psycopg.connect(self.listener.admin_url, autocommit=True) as db:
            db.execute("TRUNCATE event_cursor, parked_events, told")


@asynccontextmanager
async def rigs(servers: Servers, home: Path) -> AsyncIterator[Rigs]:
    """Everything up; relays, consumers and jobs stand still until a rig moves them."""
    async with twins(servers, home) as found, listening(servers, found) as listener:
        yield Rigs(servers, found, listener)
