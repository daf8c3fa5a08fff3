"""Read models follow from the facts alone: delivered twice, late, in another order or all over again."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from tradewind.analytics.v1 import deals_pb2

from chassis.call import Call
from chassis.laws import verify
from chassis.outbox import part_of
from services.analytics.store import AnalyticsStore
from tests.analytics import facts
from tests.analytics.facts import deliver, shuffled
from tests.platform import settle

VERIFY = {"reports.read": "all", "platform.verify": "all"}
WAY = [("potential", "2026-01-01"), ("bidding", "2026-01-11")]
HISTORY = [
    facts.pipeline("pipelines/1"),
    facts.team("teams/1", "East", region="East"),
    facts.user("users/a", "Anna"),
    facts.customer("customers/1", "Acme", region="North"),
    facts.product("products/1", "Chai", reorder=3),
    facts.deal("opportunities/1", amount=100, owner="users/a", customer="customers/1", history=WAY[:1]),
    facts.deal(
        "opportunities/1",
        amount=120,
        version=2,
        stage="bidding",
        owner="users/a",
        customer="customers/1",
        history=WAY,
        lines=[("products/1", 50), ("products/2", 70)],
    ),
    facts.deal(
        "opportunities/1",
        amount=120,
        version=3,
        state="WON",
        stage="bidding",
        closed="2026-02-01",
        opened="2026-01-01",
        customer="customers/1",
        team="teams/1",
        history=WAY,
        lines=[("products/1", 120)],
    ),
    facts.deal("opportunities/2", amount=7, customer="customers/1"),
    facts.deal("opportunities/2", amount=7, version=2, state="LOST", closed="2026-03-01"),
    facts.order("orders/1", [("products/1", "18", 10, "171")], state="DRAFT"),
    facts.order("orders/1", [("products/1", "18", 10, "171")], version=2, freight="3"),
    facts.order(
        "orders/1", [("products/1", "18", 10, "171")], version=3, state="SHIPPED", shipped="2026-11-09"
    ),
    facts.order("orders/2", [("products/1", "18", 1, "18")]),
    facts.order("orders/2", [("products/1", "18", 1, "18")], version=2, state="CANCELLED"),
    facts.stock("stock/1", "products/1", 5),
    facts.stock("stock/1", "products/1", 4, version=2),
    facts.invoice("invoices/1", "60", due="2026-11-20"),
    facts.invoice("invoices/1", "20", due="2026-11-20", version=2, state="PARTLY_PAID"),
    facts.customer("customers/1", "Acme AG", region="South", version=2),
]


async def sums(analytics, tenant):
    return await analytics.as_(permissions=VERIFY, tenant=tenant).GetReadModelChecksum()


async def after(analytics, events):
    """The read models of a new organization in which this happened."""
    boss = analytics.as_(permissions=VERIFY)
    await deliver(analytics, boss.tenant, *events)
    return await sums(analytics, boss.tenant)


@pytest.mark.parametrize("seed", range(4))
async def test_another_order_between_records_leaves_the_same(analytics, seed):
    one, other = await after(analytics, HISTORY), await after(analytics, shuffled(HISTORY, seed))
    assert other.tables == one.tables and other.checksum == one.checksum
    assert {table.table: table.rows for table in one.tables}["deals"] == 2


async def test_facts_that_are_told_again_change_nothing(analytics):
    """A producer that was restored tells everything anew, at new positions."""
    boss = analytics.as_(permissions=VERIFY)
    await deliver(analytics, boss.tenant, *HISTORY)
    once = await sums(analytics, boss.tenant)
    await deliver(analytics, boss.tenant, *HISTORY, *HISTORY[::-1])
    assert (await sums(analytics, boss.tenant)).tables == once.tables


@pytest.mark.parametrize("seed", range(3))
async def test_delivered_twice_late_and_in_any_order_counts_as_once_in_order(analytics, seed):
    """Whatever the broker does with the facts: its holes are closed, and nothing counts twice."""
    told = await after(analytics, HISTORY)
    boss, chance = analytics.as_(permissions=VERIFY), random.Random(seed)
    part, last = part_of(boss.tenant), Counter()
    placed = []
    for event in HISTORY:
        source = event.DESCRIPTOR.full_name.split(".")[1]
        if source not in last:
            last[source] = (await analytics.runtime.consumer.cursor(source, part))[1]
        last[source] += 1
        placed.append((event, last[source]))

    async def standing():
        return {source: (await analytics.runtime.consumer.cursor(source, part))[1] for source in last}

    while await standing() != last:
        for event, position in chance.sample(placed, len(placed)):
            await analytics.deliver(event, tenant=boss.tenant, position=position)
    for event, position in chance.choices(placed, k=2 * len(placed)):
        await analytics.deliver(event, tenant=boss.tenant, position=position)
    assert await standing() == last
    found = await sums(analytics, boss.tenant)
    assert found.tables == told.tables and found.checksum == told.checksum


async def test_an_event_delivered_twice_counts_once(analytics):
    boss = analytics.as_(permissions=VERIFY)
    event = facts.deal("opportunities/1", amount=5)
    for position in (0, 1, 1):
        await analytics.deliver(event, tenant=boss.tenant, **({"position": 1} if position else {}))
    assert (await boss.GetWinRate()).total == 1


async def test_a_checksum_tells_read_models_apart(analytics):
    one = await after(analytics, HISTORY)
    other = await after(analytics, [*HISTORY, facts.deal("opportunities/2", amount=8, version=3)])
    different = [a.table for a, b in zip(one.tables, other.tables, strict=True) if a != b]
    assert different == ["deals", "deals_by_month", "deals_by_product"]
    assert one.checksum != other.checksum


async def test_names_that_arrive_after_the_facts_are_found(analytics):
    boss = analytics.as_(permissions=VERIFY)
    ask = {"group_by": [deals_pb2.QueryDealsRequest.OWNER, deals_pb2.QueryDealsRequest.CUSTOMER_REGION]}
    await deliver(
        analytics, boss.tenant, facts.deal("opportunities/1", owner="users/a", customer="customers/1")
    )
    (row,) = (await boss.QueryDeals(**ask)).rows
    assert [key.title for key in row.keys] == ["users/a", ""]
    await deliver(analytics, boss.tenant, HISTORY[2], HISTORY[3])
    (row,) = (await boss.QueryDeals(**ask)).rows
    assert [key.title for key in row.keys] == ["Anna", "North"]
    await deliver(analytics, boss.tenant, HISTORY[-1])
    (row,) = (await boss.QueryDeals(**ask)).rows
    assert row.keys[1].title == "South"


async def test_cells_are_held_to_the_facts(analytics):
    boss = analytics.as_(permissions=VERIFY)
    await deliver(analytics, boss.tenant, *HISTORY)
    laws = analytics.service.checks

    async def broken():
        verdicts = await verify("analytics", analytics.store, laws, most=1000)
        return {v.name: v.broken for v in verdicts if v.name in {law.name for law in laws} and v.broken}

    assert await broken() == {}
    call = Call(tenant=boss.tenant, user="services/analytics")
    async with analytics.store.begin(call) as tx:
        await tx.run("UPDATE deals_by_product SET amount = amount + 1 WHERE tenant_id = %s", [boss.tenant])
        await tx.run("UPDATE sales_by_customer SET net = net + 1 WHERE tenant_id = %s", [boss.tenant])
    assert set(await broken()) == {"deals in cells", "revenue in cells"}
    async with analytics.store.begin(call) as tx:
        await tx.run("UPDATE deals_by_product SET amount = amount - 1 WHERE tenant_id = %s", [boss.tenant])
        await tx.run("UPDATE sales_by_customer SET net = net - 1 WHERE tenant_id = %s", [boss.tenant])
    assert await broken() == {}


async def test_a_rebuild_from_the_first_fact_gives_the_same_bytes(opportunity, analytics):
    await analytics.runtime.consumer.rebuild()  # whatever other tests told it
    boss = opportunity.as_()
    made = (await boss.ListPipelines()).pipelines
    if not made:
        stages = [
            {"key": "potential", "display_name": "Potential", "success_rate": {"value": "50"}},
            {"key": "bidding", "display_name": "Bidding", "success_rate": {"value": "80"}},
        ]
        await boss.CreatePipeline(pipeline={"display_name": "Sales", "stages": stages})
    for at in range(5):
        deal = await boss.CreateOpportunity(
            opportunity={"title": f"Deal {at}", "amount": {"currency_code": "CNY", "units": 100 * at}}
        )
        if at % 2:
            await boss.LoseOpportunity(name=deal.name, outcome="price", winning_competitor="nobody")
    await settle(opportunity, analytics)
    before = await sums(analytics, boss.tenant)
    assert {t.table: t.rows for t in before.tables}["deals"] == 5
    await analytics.runtime.consumer.rebuild()
    assert not sum(t.rows for t in (await sums(analytics, boss.tenant)).tables)
    await settle(opportunity, analytics)
    after = await sums(analytics, boss.tenant)
    assert after.tables == before.tables and after.checksum == before.checksum


def test_every_table_is_told_by_one_source() -> None:
    told = [rows.name for tables in AnalyticsStore.sources.values() for rows in tables]
    assert sorted(told) == sorted(rows.name for rows in AnalyticsStore.rows)
