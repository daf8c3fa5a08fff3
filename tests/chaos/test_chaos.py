"""The short form of the fault rig: a minute and a half of everything that may happen, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio

from tests.chaos.audit import Audit
from tests.chaos.faults import Fault
from tests.chaos.rig import Platform, Run, started

SEED = int(os.environ.get("CHAOS_SEED", "1"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "75"))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform() -> AsyncIterator[Platform]:
    async with started("short form") as found:
        yield found
    shutil.rmtree(found.folder, ignore_errors=True)


@pytest.mark.timeout(1500)
async def test_with_the_broker_away_every_call_is_answered_and_facts_still_arrive(platform: Platform):
    away = Fault(at=1.0, kind="outage", target="nats", seconds=14.0)
    run = Run(SEED, seconds=9.0, clients=6, script=[away], verify=False, rebuild=False)
    verdict = await run.on(platform)
    print(verdict)
    assert verdict.ok, str(verdict)
    assert not [name for name in verdict.counters if name.startswith("again: ")], str(verdict)
    journal = run.work.companies[0].client.journal
    left = {entry.answer["order"]: entry.at for entry in journal.of("DispatchShipment")}
    by_replay = [
        entry for entry in journal.of("PostInvoice")
        if left[entry.answer["order"]] > away.at and entry.at < away.at + away.seconds
    ]  # fmt: skip
    assert by_replay, "no shipment that left while the broker was away was invoiced before it came back"


@pytest.mark.timeout(1500)
async def test_nothing_is_lost_doubled_or_out_of_order_whatever_dies(platform: Platform):
    verdict = await Run(SEED, seconds=SECONDS).on(platform)
    print(verdict)
    assert verdict.ok, str(verdict)


# Done to the data behind everybody's back → what the judge must call it.
TAMPERED = (
    ("inventory", "UPDATE stock SET reserved = reserved + 1 WHERE reserved < on_hand", {"reservations"}),
    ("inventory", "UPDATE stock SET on_hand = on_hand + 1", {"balances", "read models"}),
    ("inventory", "DELETE FROM movements WHERE reason <> ''", {"balances", "lost"}),
    ("inventory", "UPDATE orders SET external_id = 'twice' WHERE external_id <> ''", {"lost", "duplicated"}),
    ("inventory", "DELETE FROM outbox WHERE type LIKE '%OrderCreated'", {"lost", "order"}),
    ("inventory", "UPDATE outbox SET record_version = 1000 - record_version", {"lost", "order"}),
    ("inventory", "UPDATE sagas SET state = 'STUCK'", {"sagas"}),
    ("contract", "UPDATE journal_entries SET amount = amount + 1 WHERE line_number = 1", {"journals"}),
    ("contract", "UPDATE credit_holds SET held = amount", {"sagas", "balances"}),
    ("contract", "DELETE FROM invoices", {"lost", "read models"}),
    ("analytics", "UPDATE orders SET net = net + 1", {"read models"}),
)


@pytest.mark.timeout(1500)
async def test_the_judge_calls_what_was_tampered_with_by_its_name(platform: Platform):
    run = Run(SEED + 1, seconds=6.0, clients=8, script=[], verify=False, rebuild=False)
    verdict = await run.on(platform)
    assert verdict.ok, str(verdict)
    for database, statement, names in TAMPERED:
        called = await asyncio.to_thread(tampered, run.audit, database, statement)
        assert names <= called, (statement, called)


def tampered(audit: Audit, database: str, statement: str) -> set[str]:
    """What the judge finds after that statement; taken back afterwards."""
    tables = (
        "stock",
        "movements",
        "orders",
        "outbox",
        "sagas",
        "journal_entries",
        "credit_holds",
        "invoices",
    )
    with psycopg.connect(audit.url(database), autocommit=True) as db:
        there = {row[0] for row in db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
        mine = [table for table in tables if table in there]
        for table in mine:
            db.execute(f"CREATE UNLOGGED TABLE kept_{table} AS TABLE {table}")
        db.execute("SET session_replication_role = replica")  # no trigger, no foreign key
        db.execute(statement)
        audit.findings.clear()
        try:
            audit.ask_databases()
        finally:
            for table in mine:
                db.execute(f"DELETE FROM {table}")
                db.execute(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM kept_{table}")
                db.execute(f"DROP TABLE kept_{table}")
    return {finding.name for finding in audit.findings}
