"""A handler with a bug: the others go on, its record waits, and catches up in order once it is mended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from tradewind.contract.v1 import events_pb2
from tradewind.customer.v1 import customer_pb2

from chassis.call import new_id
from stack import layout
from tests.platform import Platform, Running, settle

CREATED, UPDATED = (f"tradewind.customer.v1.Customer{verb}" for verb in ("Created", "Updated"))
ALL = {"customers.read": "all", "customers.write": "all"}


class Poisoned:
    """The contract service with a bug in what it does about customers of one name."""

    def __init__(self, contract: Running) -> None:
        self.reactions = contract.runtime.consumer.reactions
        self.proper = {kind: self.reactions[kind] for kind in (CREATED, UPDATED)}
        self.tried: list[str] = []

    def plant(self) -> None:
        """From now on the bug is there."""
        for kind, (message, functions) in self.proper.items():
            self.reactions[kind] = (message, [self._with_bug, *functions])

    def mend(self) -> None:
        """The bug is gone."""
        self.reactions.update(self.proper)

    async def _with_bug(self, event: Any, tx: Any) -> None:
        self.tried.append(event.customer.name)
        if event.customer.display_name == "Poison":
            raise ZeroDivisionError("a defect of this release")


@pytest_asyncio.fixture
async def poisoned(contract: Running) -> AsyncIterator[Poisoned]:
    """The bug, and the proper reactions at the end."""
    found = Poisoned(contract)
    yield found
    found.mend()


@pytest.fixture
def tradewind(platform: Platform, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line, on the databases of the services under test."""
    servers = platform.servers
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DATABASE_", "NATS_", "TRADEWIND_"))}
    env |= {f"DATABASE_URL_{name.upper()}": servers.database(name)[1] for name in layout.DATABASES} | {
        "NATS_URL": servers.nats_url,
        "TRADEWIND_HOME": str(tmp_path),
        "TRADEWIND_KEYS": str(platform.keys),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stack", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)

    return run


def terms_told(platform: Platform, customer: str) -> list[int]:
    """The payment terms of a customer in the facts of the contract service, in their order."""
    with psycopg.connect(platform.servers.postgres.url("contract")) as db:
        rows = db.execute(
            "SELECT payload FROM outbox WHERE type LIKE '%%.CreditExposureChanged' AND record LIKE %s"
            " ORDER BY id", (f"%/{customer.partition('/')[2]}",),
        ).fetchall()  # fmt: skip
    told = [events_pb2.CreditExposureChanged.FromString(row[0]) for row in rows]
    return [event.credit_exposure.payment_terms_days for event in told]


async def test_a_poison_event_stops_its_record_and_nobody_else(
    platform: Platform, customer: Running, contract: Running, poisoned: Poisoned, tradewind: Any
) -> None:
    boss = customer.as_(permissions=ALL)

    async def make(name: str, days: int) -> Any:
        made = customer_pb2.Customer(display_name=name, payment_terms_days=days)
        return await boss.CreateCustomer(customer=made)

    async def grant(name: str, days: int) -> Any:
        changed = customer_pb2.Customer(name=name, payment_terms_days=days)
        return await boss.UpdateCustomer(customer=changed, update_mask={"paths": ["payment_terms_days"]})

    poisoned.plant()
    first, bad = await make(f"First {new_id()}", 7), await make("Poison", 10)
    await grant(bad.name, 20)
    later = await make(f"Later {new_id()}", 7)
    await grant(bad.name, 30)
    await settle(customer, contract)
    # Once with its batch, four times alone; then it waits, and its later events are not even tried.
    assert poisoned.tried.count(bad.name) == 5
    told = [terms_told(platform, one.name) for one in (first, later, bad)]
    assert told == [[7], [7], []]
    said = tradewind("events", "list", "contract", "--record", bad.name)
    assert said.returncode == 0 and said.stdout.count(bad.name) == 3, said
    assert "a defect of this release" in said.stdout and "3 events wait for a person." in said.stdout
    poisoned.mend()
    said = tradewind("events", "retry", "contract", "--record", bad.name)
    assert (said.returncode, said.stdout) == (0, "contract: 3 applied, 0 still waiting.\n"), said
    assert terms_told(platform, bad.name) == [10, 20, 30]
    said = tradewind("events", "retry", "contract", "--record", bad.name)
    assert (said.returncode, said.stdout) == (0, "No event waits for a person.\n"), said
