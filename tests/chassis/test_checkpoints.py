"""Services sign where their chains stand, and others keep it, each service's at least twice."""

from __future__ import annotations

import importlib
from collections import Counter

import psycopg
import pytest
from tradewind.customer.v1 import customer_pb2
from tradewind.type.v1 import audit_pb2

from chassis.audit.checkpoints import is_true, sign
from stack import layout
from tests.platform import Running, settle


def kept(holder: Running, source: str) -> list[tuple[int, int]]:
    """(partition, position) of every checkpoint of *source* in the holder's database."""
    with psycopg.connect(holder.owner_url) as db:
        rows = db.execute("SELECT part, pos FROM checkpoints WHERE source = %s ORDER BY pos", [source])
        return [(part, pos) for part, pos in rows]


def test_the_checkpoints_of_every_service_are_kept_by_two_others_who_may_ask_it() -> None:
    found: Counter[str] = Counter()
    for process in layout.PROCESSES:
        wiring = importlib.import_module(f"{layout.module_of(process)}.service").SERVICE
        assert layout.database_of(process) not in wiring.keeps
        found.update(wiring.keeps)
        for source in wiring.keeps:
            asked = layout.GATEWAY if source == "access" else source
            callers = importlib.import_module(f"{layout.module_of(asked)}.service").SERVICE.callers
            assert process in callers, f"{process} may not ask {source}"
    assert set(found) == {layout.database_of(process) for process in layout.PROCESSES}
    assert min(found.values()) >= 2


async def test_a_keeper_keeps_what_is_signed_once_and_refuses_what_is_not(
    customer: Running, contract: Running
) -> None:
    boss = customer.as_()
    await boss.CreateCustomer(customer=customer_pb2.Customer(display_name="Acme"))
    await settle(customer)
    keeper = contract.runtime.keeper
    assert "customer" in keeper.sources
    await keeper.keep("customer")
    before = kept(contract, "customer")
    await keeper.keep("customer")
    assert before and kept(contract, "customer") == before  # nothing has happened since
    await boss.CreateCustomer(customer=customer_pb2.Customer(display_name="Bolts"))
    await settle(customer)
    known, keeper.keys = keeper.keys, {**keeper.keys, "customer": keeper.keys["contract"]}
    assert await keeper.keep("customer") == 0
    keeper.keys = known
    assert await keeper.keep("customer") >= 1 and len(kept(contract, "customer")) > len(before)
    assert await keeper.keep("nobody") == 0  # who does not answer is asked again later


@pytest.mark.parametrize("field", ["service", "partition", "epoch", "position", "hash", "sign_time"])
async def test_a_signature_is_over_all_that_is_said(customer: Running, field: str) -> None:
    keys = customer.runtime.validator.keys
    point = (await sign(customer.store, "customer", customer.runtime.signer))[0]
    assert is_true(point, keys)
    other = audit_pb2.Checkpoint(
        service="contract", partition=3, epoch="other", position=point.position + 1, hash=b"x"
    )
    other.sign_time.FromMicroseconds(point.sign_time.ToMicroseconds() + 1)
    changed = audit_pb2.Checkpoint()
    changed.CopyFrom(point)
    changed.ClearField(field)  # type: ignore[arg-type]
    getattr(changed, field).CopyFrom(other.sign_time) if field == "sign_time" else setattr(
        changed, field, getattr(other, field)
    )
    assert not is_true(changed, keys)


async def test_after_a_month_the_last_of_a_day_stands_for_it(inventory: Running) -> None:
    with psycopg.connect(inventory.owner_url, autocommit=True) as db:
        db.execute(
            "INSERT INTO checkpoints SELECT 'old', 0, '00000000-0000-0000-0000-000000000001', n, '', "
            " date_trunc('day', now()) - interval '40 days' + n * interval '6 hours', '' FROM"
            " generate_series(0, 7) n"
        )
        await inventory.runtime.jobs.tidy("forget_checkpoints")
    assert [pos for _, pos in kept(inventory, "old")] == [3, 7]
