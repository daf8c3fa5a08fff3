"""Whoever reaches little of much reads little: lists within a scope begin at what indexes find."""

from __future__ import annotations

import os
import re
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from chassis import listing
from chassis.call import Call
from services.customer.store import CustomerStore
from tests.customer.test_customer_service import make
from tests.platform import Running

# As many as a large house has: TRADEWIND_CROWD=300000.
MANY = int(os.environ.get("TRADEWIND_CROWD", "12000"))
TOKENS = listing.Tokens(b"pages")
WHO = "users/sharer"


@pytest_asyncio.fixture(scope="module")
async def crowd(customer: Running) -> Any:
    """An organization with so many customers: a few are the caller's own, shared with them or helped with."""
    boss = customer.as_()
    tenant, like = boss.tenant, (await make(boss)).name.removeprefix("customers/")
    cells = {column.name: f'c."{column.name}"' for column in CustomerStore.customers.table.columns} | {
        "id": "'c' || lpad(n::text, 8, '0')", "number": "'N-' || n", "name_key": "''", "tax_id": "''",
        "owner": f"CASE WHEN mod(n, {MANY // 6}) = 1 THEN '{WHO}' ELSE 'users/' || mod(n, 997) END",
        "team": "'teams/' || mod(n, 97)", "update_time": "now() - make_interval(secs => n)",
        "collaborators": f"CASE WHEN mod(n, {MANY // 5}) = 2 THEN '[\"{WHO}\"]'::jsonb ELSE '[]' END",
    }  # fmt: skip
    listed = ", ".join(f'"{name}"' for name in cells)
    with psycopg.connect(customer.owner_url, autocommit=True) as db:
        db.execute(
            f"INSERT INTO customers ({listed}) SELECT {', '.join(cells.values())}"
            f" FROM customers AS c, generate_series(1, {MANY}) AS n WHERE c.tenant_id = %s AND c.id = %s",
            [tenant, like],
        )
        db.execute(
            "INSERT INTO shares (tenant_id, id, version, creator, updater, record, grantee, access, reason)"
            f" SELECT '{tenant}', 's' || n, 1, '', '',"
            f" 'customers/c' || lpad((n * {MANY // 9})::text, 8, '0'),"
            f" CASE WHEN n % 2 = 0 THEN '{WHO}' ELSE 'teams/x' END, 'READ', ''"
            " FROM generate_series(1, 8) AS n"
        )
        db.execute("ANALYZE customers, shares, collaborations")
        yield tenant
        for name in ("customers", "shares", "collaborations", "number_series"):
            db.execute(f"DELETE FROM {name} WHERE tenant_id = %s", [tenant])


@pytest.mark.parametrize("order", ["", "update_time desc"])
@pytest.mark.parametrize("scope", ["own", "team"])
async def test_a_caller_with_a_few_shares_among_many_does_not_scan(
    customer: Running, crowd: str, order: str, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Call(tenant=crowd, user=WHO, team="teams/x", scope=scope, permission="customers.read")
    asked = SimpleNamespace(page_size=50, page_token="", order_by=order, filter="", show_deleted=False)
    async with customer.store.begin(call) as tx:
        said: list[Any] = []
        ask = tx.pipe.ask
        monkeypatch.setattr(tx.pipe, "ask", lambda *asked: [said.append(asked), ask(*asked)][1])
        found, _ = await listing.page(tx, CustomerStore.customers, asked, TOKENS)
        monkeypatch.undo()
        explained = await tx.rows(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {said[0][0]}", said[0][1])
    plan = "\n".join(row["QUERY PLAN"] for row in explained)
    assert len(found) == 6 + 5 + 8, plan
    assert "Seq Scan on customers" not in plan, plan
    assert "Rows Removed by Filter" not in plan or max(
        int(rows) for rows in re.findall(r"Rows Removed by Filter: (\d+)", plan)
    ) < 100, plan  # fmt: skip
    (pages,) = re.findall(r"Buffers: shared hit=(\d+)(?: read=\d+)?", plan)[:1]
    assert int(pages) < 500, plan
