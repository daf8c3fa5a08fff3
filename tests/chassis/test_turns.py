"""Facts are numbered by one process at a time, and a look that finds none to number leaves nothing behind."""

from __future__ import annotations

import psycopg
import pytest

from chassis import outbox
from chassis.outbox import PARTS, Relay
from tests.platform import Running


def versions(customer: Running) -> list[tuple[object, ...]]:
    """Who wrote and who locked each head last, and whose it is."""
    with psycopg.connect(customer.owner_url) as db:
        return db.execute("SELECT part, xmin, xmax, owner, pos FROM outbox_head ORDER BY part").fetchall()


async def test_a_look_that_finds_nothing_neither_writes_nor_locks(customer: Running) -> None:
    leader, other = (Relay("customer", customer.store, None) for _ in range(2))
    await customer.runtime.relay._release()
    while await leader.step():
        pass
    before = versions(customer)
    assert {owner for *_, owner, _ in before} == {leader.who}
    for relay in (leader, other, leader):
        await relay.step()
    assert versions(customer) == before

    await customer.as_().CreateCustomer(customer={"display_name": "News"})
    await other.step()
    assert versions(customer) == before, "only the leader numbers"
    await leader.step()
    numbered = sum(int(str(row[-1])) for row in versions(customer))
    assert numbered > sum(int(str(row[-1])) for row in before)
    await leader._release()


async def test_a_lease_is_renewed_before_it_ends(customer: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    leader = Relay("customer", customer.store, None)
    await customer.runtime.relay._release()
    await leader.step()
    before = versions(customer)
    monkeypatch.setattr(outbox, "LEASE_SECONDS", 4 * outbox.LEASE_SECONDS)  # less than half of it is left
    await leader.step()
    after = versions(customer)
    assert len(after) == PARTS and not set(before) & set(after)
    await leader._release()
