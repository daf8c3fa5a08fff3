"""Any page of customers costs what the first one costs: PostgreSQL begins to read where it begins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tradewind.customer.v1 import customer_pb2

from chassis import listing
from chassis.call import Call
from services.customer.store import CustomerStore
from tests.platform import Running

ALL = {"customers.read": "all", "customers.write": "all"}
TOKENS = listing.Tokens(b"pages")


@pytest.mark.parametrize(
    ("order", "filter", "condition"),
    [
        ("", "", "(id > "),
        ("name desc", "", "(id < "),
        ("display_name", "", "(ROW(display_name, id) > ROW("),
        ("display_name desc", 'state = PROSPECT AND region = ""', "(ROW(display_name, id) < ROW("),
        ("update_time desc", "", "(ROW(update_time, id) < ROW("),
        ("display_name, update_time desc", "", "(display_name >= "),
    ],
)
@pytest.mark.parametrize("scope", ["all", "team"])
async def test_a_later_page_begins_inside_the_index(
    customer: Running, order: str, filter: str, condition: str, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    boss = customer.as_(permissions=ALL, user="users/boss", team="teams/a")
    for n in range(3):
        await boss.CreateCustomer(customer=customer_pb2.Customer(display_name=f"Page {n}"))
    call = Call(tenant=boss.tenant, user="users/boss", team="teams/a", scope=scope)
    asked = SimpleNamespace(page_size=1, page_token="", order_by=order, filter=filter, show_deleted=False)
    async with customer.store.begin(call) as tx:
        first, asked.page_token = await listing.page(tx, CustomerStore.customers, asked, TOKENS)
        said: list[Any] = []
        ask = tx.pipe.ask
        monkeypatch.setattr(tx.pipe, "ask", lambda *asked: [said.append(asked), ask(*asked)][1])
        second, _ = await listing.page(tx, CustomerStore.customers, asked, TOKENS)
        monkeypatch.undo()
        # So few rows would rather be read whole and sorted; the shape is that of a million.
        tx.pipe.ask("SELECT set_config('enable_seqscan', 'off', true),"
                                    " set_config('enable_sort', 'off', true),"
                                    " set_config('enable_bitmapscan', 'off', true)")  # fmt: skip
        plan = [row["QUERY PLAN"] for row in await tx.rows(f"EXPLAIN (COSTS OFF) {said[0][0]}", said[0][1])]
    assert first[0].id != second[0].id
    # What is shared with the caller, and what they collaborate on, is found before, by indexes of its own.
    at = next(at for at, line in enumerate(plan) if " on customers" in line)
    begun = next(line for line in plan[at:] if "Index Cond" in line)
    assert condition in begun and "tenant_id" in begun, "\n".join(plan)
    assert not any("Sort" in line for line in plan) or ", " in order, "\n".join(plan)
