"""The short form of the fault rig: a minute and a half of everything that may happen, and nothing is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

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
