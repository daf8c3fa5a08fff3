"""Deals counted and summed by any dimension: from cells and from facts, over gRPC."""

from __future__ import annotations

import pytest
from tradewind.analytics.v1 import deals_pb2

from tests.analytics import facts
from tests.analytics.facts import day, deliver, table

Deals = deals_pb2.QueryDealsRequest
READ = {"reports.read": "all", "platform.verify": "all"}
WON = [
    facts.team("teams/top", "Sales", manager="users/ceo", region="World"),
    facts.team("teams/east", "East", parent="teams/top", manager="users/m1", region="East"),
    facts.team("teams/crew", "Crew", parent="teams/east"),
    facts.user("users/m1", "Cara Losch"),
    facts.user("users/a", "Anna", team="teams/crew"),
    facts.customer("customers/1", "Acme", industry="retail", region="North"),
    facts.product("products/1", "GTX Pro", category="GTX"),
    facts.product("products/2", "MG Special", category="MG"),
    facts.deal(
        "opportunities/1",
        state="WON",
        amount="100",
        opened="2017-01-01",
        closed="2017-03-01",
        owner="users/a",
        customer="customers/1",
        lines=[("products/1", 60), ("products/2", 40)],
    ),
    facts.deal(
        "opportunities/2",
        state="WON",
        amount="31",
        opened="2017-04-01",
        closed="2017-04-11",
        owner="users/a",
        team="teams/crew",
        lines=[("products/1", 31)],
    ),
    facts.deal(
        "opportunities/3",
        state="LOST",
        amount="50",
        opened="2017-04-01",
        closed="2017-04-06",
        team="teams/top",
    ),
    facts.deal("opportunities/4", amount="9"),
]


@pytest.mark.req("ANA-14")
async def test_deals_are_counted_by_any_dimension(analytics):
    boss = analytics.as_(permissions=READ)
    await deliver(analytics, boss.tenant, *WON)

    async def by(*dimensions, measures=(Deals.COUNT, Deals.AMOUNT), **filters):
        answer = await boss.QueryDeals(
            group_by=dimensions, measures=measures, filter=deals_pb2.DealFilter(**filters)
        )
        return table(answer, *(Deals.Measure.Name(m).lower() for m in measures))

    won = {"states": ["WON"]}
    assert await by(Deals.STATE) == {("WON",): (2, "131"), ("LOST",): (1, "50"), ("OPEN",): (1, "9")}
    assert await by(Deals.MANAGER, **won) == {("Cara Losch",): (2, "131")}
    assert await by(Deals.REGION) == {("East",): (2, "131"), ("World",): (1, "50"), ("",): (1, "9")}
    assert await by(Deals.PRODUCT, **won) == {("GTX Pro",): (2, "91"), ("MG Special",): (1, "40")}
    assert await by(Deals.PRODUCT_CATEGORY, Deals.INDUSTRY, **won) == {
        ("GTX", "retail"): (1, "60"),
        ("GTX", ""): (1, "31"),
        ("MG", "retail"): (1, "40"),
    }
    assert await by(Deals.QUARTER, **won) == {("2017-Q1",): (1, "100"), ("2017-Q2",): (1, "31")}
    assert await by(products=["products/2"]) == {(): (1, "40")}
    assert await by(close_from_date=day("2017-04-06"), close_before_date=day("2017-04-11")) == {(): (1, "50")}
    figures = (Deals.AVERAGE, Deals.MEDIAN, Deals.WON_COUNT, Deals.LOST_COUNT)
    assert await by(measures=figures, **won) == {(): ("65.5", "65.5", 2, 0)}
    days = await boss.QueryDeals(measures=[Deals.DAYS_TO_CLOSE], filter=deals_pb2.DealFilter(**won))
    assert days.rows[0].days_to_close.value == "34.50"
    top = await boss.QueryDeals(group_by=[Deals.OWNER], order_by=Deals.WON_AMOUNT, limit=1)
    assert top.truncated and top.rows[0].keys[0].title == "Anna"


async def test_cells_and_facts_answer_alike(analytics):
    """Whoever sees everything is answered from cells, whoever collaborates on everything from facts."""
    boss, helper = analytics.as_(permissions=READ), "users/helper"
    await deliver(analytics, boss.tenant, *WON, facts.product("products/3", "GTX Basic", category="GTX"))
    changed = [
        facts.deal(
            "opportunities/1",
            state="LOST",
            amount="70",
            opened="2017-01-01",
            closed="2017-05-02",
            version=2,
            owner="users/a",
            lines=[("products/2", 70)],
        ),
        facts.deal(
            "opportunities/4",
            state="WON",
            amount="12.34",
            opened="2017-05-01",
            closed="2017-05-03",
            version=2,
            lines=[("products/1", 10), ("products/3", "2.34")],
        ),
    ]
    for event in changed:
        event.opportunity.collaborators.append(helper)
    await deliver(analytics, boss.tenant, *changed)
    for event in (WON[-3], WON[-2]):
        again = type(event).FromString(event.SerializeToString())
        again.opportunity.etag = "7"
        again.opportunity.collaborators.append(helper)
        await deliver(analytics, boss.tenant, again)
    other = analytics.as_(permissions={"reports.read": "own"}, tenant=boss.tenant, user=helper)
    two = deals_pb2.DealFilter(products=["products/1", "products/3"])
    for dimension in (Deals.STATE, Deals.PRODUCT, Deals.PRODUCT_CATEGORY, Deals.OWNER, Deals.REGION,
                      Deals.MONTH, Deals.STAGE):  # fmt: skip
        for measures in ([Deals.COUNT, Deals.AMOUNT], [Deals.AVERAGE], [Deals.WON_COUNT, Deals.WON_AMOUNT],
                         [Deals.LOST_COUNT], [Deals.DAYS_TO_CLOSE]):  # fmt: skip
            for only in (None, two):
                ask = {"group_by": [dimension], "measures": measures, "filter": only}
                told = await boss.QueryDeals(**ask)
                assert told.rows and told == await other.QueryDeals(**ask), ask
    assert await boss.GetWinRate(filter=two) == await other.GetWinRate(filter=two)


async def test_a_deal_with_two_products_of_a_category_counts_once_in_it(analytics):
    boss = analytics.as_(permissions=READ)
    closed = {"opened": "2017-01-01", "closed": "2017-03-01"}
    await deliver(
        analytics,
        boss.tenant,
        facts.product("products/1", "GTX Pro", category="GTX"),
        facts.product("products/3", "GTX Basic", category="GTX"),
        facts.deal(
            "opportunities/1",
            state="WON",
            amount="100",
            lines=[("products/1", 60), ("products/3", 40)],
            **closed,
        ),
        facts.deal("opportunities/2", state="LOST", amount="50", lines=[("products/1", 50)], **closed),
    )
    measures = [Deals.COUNT, Deals.AMOUNT, Deals.AVERAGE, Deals.WON_COUNT]
    answer = await boss.QueryDeals(group_by=[Deals.PRODUCT_CATEGORY], measures=measures)
    assert table(answer, "count", "amount", "average", "won_count") == {("GTX",): (2, "150", "75", 1)}
    rate = await boss.GetWinRate(filter=deals_pb2.DealFilter(products=["products/1", "products/3"]))
    assert (rate.total, rate.of_closed_percent.value) == (2, "50.00")


async def test_a_win_rate_says_of_what(analytics):
    boss = analytics.as_(permissions=READ)
    await deliver(analytics, boss.tenant, *WON)
    rate = await boss.GetWinRate()
    assert (rate.won, rate.lost, rate.others, rate.total) == (2, 1, 1, 4)
    assert (rate.of_closed_percent.value, rate.of_all_percent.value) == ("66.67", "50.00")
    nothing = await boss.GetWinRate(filter=deals_pb2.DealFilter(owners=["users/nobody"]))
    assert nothing.total == 0 and not nothing.HasField("of_closed_percent")
