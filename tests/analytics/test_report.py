"""Reports over facts that came through the real consumer: asked over gRPC, answered by PostgreSQL."""

from __future__ import annotations

import pytest
from tradewind.analytics.v1 import deals_pb2, funnel_pb2, revenue_pb2

from tests.analytics import facts
from tests.analytics.facts import day, deliver, shown, table
from tests.platform import refused

Deals, Revenue = deals_pb2.QueryDealsRequest, revenue_pb2.QueryRevenueRequest
TODAY = day("2026-11-21")
READ = {"reports.read": "all", "platform.verify": "all"}
FUNNEL = [
    facts.pipeline("pipelines/1"),
    facts.deal("opportunities/1", stage="potential", amount=500_000, customer="customers/1"),
    facts.deal("opportunities/2", stage="bidding", amount=150_000, customer="customers/1"),
    facts.deal("opportunities/3", stage="bidding", amount=100_000, customer="customers/2"),
    facts.deal("opportunities/4", stage="negotiation", amount=200_000, customer="customers/3"),
]


@pytest.mark.req("ANA-10")
async def test_the_classic_funnel_forecasts_the_same_for_three_months(analytics):
    boss = analytics.as_(permissions=READ)
    await deliver(analytics, boss.tenant, *FUNNEL)
    forecast = await boss.GetLadderForecast(pipeline="pipelines/1", report_date=TODAY)
    assert [(m.month.year, m.month.month, shown(m.expected)) for m in forecast.months] == [
        (2026, 12, "180000"),
        (2027, 1, "180000"),
        (2027, 2, "180000"),
    ]
    assert [step.win_percent.value for step in forecast.steps] == ["36", "72", "90"]
    assert forecast.currency == "CNY" and shown(forecast.later) == "0"


@pytest.mark.req("ANA-11")
async def test_the_funnel_shows_customers_and_value_and_warns_of_a_thin_month(analytics):
    boss = analytics.as_(permissions=READ)
    await deliver(analytics, boss.tenant, *FUNNEL)
    funnel = await boss.GetFunnel(pipeline="pipelines/1", report_date=TODAY)
    assert [(s.title, s.customers, s.deals, shown(s.value), shown(s.expected)) for s in funnel.stages] == [
        ("Potential", 1, 1, "500000", "180000"),
        ("Bidding", 2, 2, "250000", "180000"),
        ("Negotiation", 1, 1, "200000", "180000"),
    ]
    assert not funnel.warnings
    funnel = await boss.GetFunnel(pipeline="pipelines/1", report_date=TODAY, needed=facts.money(300_000))
    assert [(month.thin, shown(month.missing)) for month in funnel.months] == [(True, "120000")] * 3
    said = await refused(
        boss.GetFunnel(pipeline="pipelines/1", needed=facts.money(1, "USD")), "FIELD_INVALID"
    )
    assert said["field"] == "needed"
    await deliver(
        analytics, boss.tenant, facts.deal("opportunities/1", state="LOST", version=2, closed="2026-11-20")
    )
    funnel = await boss.GetFunnel(pipeline="pipelines/1", report_date=TODAY)
    (warning,) = funnel.warnings
    assert (warning.month.year, warning.month.month, warning.stage) == (2027, 2, "potential")
    assert shown(warning.missing) == "120000"
    assert shown(warning.value_needed) == "333333.33"
    assert "2027-02" in warning.sentence and "Potential" in warning.sentence


@pytest.mark.req("ANA-12")
async def test_conversion_and_time_in_stage_come_from_own_history(analytics):
    boss = analytics.as_(permissions=READ)
    won = [("potential", "2026-01-01"), ("bidding", "2026-01-11"), ("negotiation", "2026-01-31")]
    back = [("potential", "2026-01-01"), ("bidding", "2026-01-03"), ("potential", "2026-01-04")]
    await deliver(
        analytics,
        boss.tenant,
        facts.deal("opportunities/1", state="WON", stage="negotiation", closed="2026-02-10", history=won),
        facts.deal("opportunities/2", state="LOST", stage="potential", closed="2026-01-06", history=back),
        facts.deal("opportunities/3", history=[("potential", "2026-03-01")]),
        facts.pipeline("pipelines/1"),
    )
    potential, bidding, negotiation = (await boss.GetStageStatistics(pipeline="pipelines/1")).stages
    assert (potential.entered, potential.passed, potential.dropped, potential.present) == (4, 2, 1, 1)
    assert (potential.success_percent.value, potential.average_days.value) == ("66.67", "4.67")
    assert (bidding.passed, bidding.returned, bidding.average_days.value) == (1, 1, "10.50")
    assert (negotiation.success_percent.value, negotiation.stated_percent.value) == ("100.00", "90")
    own = analytics.as_(permissions={"reports.read": "own"}, tenant=boss.tenant)
    assert [s.entered for s in (await own.GetStageStatistics(pipeline="pipelines/1")).stages] == [0, 0, 0]


@pytest.mark.req("ANA-12")
async def test_a_stage_that_nothing_ever_passed_is_expected_to_bring_nothing(analytics):
    boss = analytics.as_(permissions=READ)
    lost = [
        facts.deal(
            f"opportunities/{n}",
            state="LOST",
            stage="negotiation",
            closed="2026-02-01",
            history=[("negotiation", "2026-01-01")],
        )
        for n in range(10, 13)
    ]
    await deliver(analytics, boss.tenant, *FUNNEL, *lost)
    ask = {"pipeline": "pipelines/1", "report_date": TODAY, "rates": funnel_pb2.HISTORY}
    forecast = await boss.GetLadderForecast(**ask)
    # Of the first two stages nothing is known: the pipeline's own rates hold there.
    assert [step.success_percent.value for step in forecast.steps] == ["50", "80", "0"]
    assert [shown(month.expected) for month in forecast.months] == ["0", "0", "0"]


async def test_durations_place_the_same_income_by_the_days_of_own_history(analytics):
    boss = analytics.as_(permissions=READ)
    slow = [("potential", "2026-01-01"), ("bidding", "2026-04-01"), ("negotiation", "2026-04-02")]
    await deliver(
        analytics,
        boss.tenant,
        *FUNNEL,
        facts.deal("opportunities/9", state="WON", stage="negotiation", closed="2026-04-03", history=slow),
    )
    ask = {"pipeline": "pipelines/1", "report_date": TODAY, "method": funnel_pb2.DURATIONS, "months": 2}
    forecast = await boss.GetLadderForecast(**ask)
    assert [(m.month.month, shown(m.expected)) for m in forecast.months] == [
        (11, "360000"),
        (12, "0"),
        (1, "0"),
    ]
    assert shown(forecast.later) == "180000"
    assert [step.days.value for step in forecast.steps] == ["90.00", "1.00", "1.00"]


async def test_open_deals_are_worth_their_probability(analytics):
    boss = analytics.as_(permissions=READ)
    await deliver(
        analytics,
        boss.tenant,
        facts.deal("opportunities/1", amount="100.01", probability="33.3333", category=3),
        facts.deal("opportunities/2", amount="100", probability="10"),
        facts.deal("opportunities/3", amount="7", currency="USD", probability="50"),
        facts.deal("opportunities/4", amount="1000", probability="100", state="WON", closed="2026-11-01"),
    )
    value = await boss.GetPipelineValue()
    assert [
        (c.category, c.deals, shown(c.raw), shown(c.weighted), c.raw.currency_code) for c in value.categories
    ] == [
        ("COMMIT", 1, "100.01", "33.3366", "CNY"),
        ("PIPELINE", 1, "100", "10", "CNY"),
        ("PIPELINE", 1, "7", "3.5", "USD"),
    ]
    assert [(t.deals, shown(t.weighted)) for t in value.totals] == [(2, "43.3366"), (1, "3.5")]


async def test_currencies_never_add_up(analytics):
    boss = analytics.as_(permissions=READ)
    await deliver(
        analytics,
        boss.tenant,
        facts.deal("opportunities/1", amount="1"),
        facts.deal("opportunities/2", amount="2", currency="USD"),
    )
    answer = await boss.QueryDeals()
    assert [(row.currency, shown(row.amount)) for row in answer.rows] == [("CNY", "1"), ("USD", "2")]
    counted = await boss.QueryDeals(measures=[Deals.COUNT])
    assert [row.count for row in counted.rows] == [2]


NORTH = [
    facts.customer("customers/1", "QUICK-Stop", region="DE", industry="food"),
    facts.product("products/1", "Chai", category="Beverages", price="18", reorder=10),
    facts.product("products/2", "Ikura", category="Seafood", price="31.005", reorder=5),
    facts.product("products/3", "Gone", category="Seafood", price="99", discontinued=True),
    facts.user("users/p", "Peacock"),
    facts.order(
        "orders/1",
        [("products/1", "18", 10, "171"), ("products/2", "31.005", 2, "62.01")],
        customer="customers/1",
        owner="users/p",
        freight="7.5",
        ordered="1996-07-04",
        required="1996-08-01",
    ),
    facts.order(
        "orders/2",
        [("products/1", "18", 1, "18")],
        customer="customers/2",
        owner="users/p",
        freight="1",
        ordered="1997-01-15",
        required="1997-01-20",
    ),
    facts.order("orders/3", [("products/1", "18", 100, "1800")], state="DRAFT"),
]


@pytest.mark.req("ANA-13")
@pytest.mark.req("ANA-18")
async def test_revenue_is_asked_by_product_region_agent_and_period(analytics):
    boss = analytics.as_(permissions=READ)
    await deliver(analytics, boss.tenant, *NORTH)

    async def by(*dimensions, measures=(Revenue.NET, Revenue.ORDERS), **filters):
        answer = await boss.QueryRevenue(
            group_by=dimensions, measures=measures, filter=revenue_pb2.RevenueFilter(**filters)
        )
        return table(answer, *(Revenue.Measure.Name(m).lower() for m in measures))

    assert await by() == {(): ("251.01", 2)}
    assert await by(measures=[Revenue.FREIGHT]) == {(): ("8.5",)}
    assert await by(Revenue.PRODUCT_CATEGORY) == {("Beverages",): ("189", 2), ("Seafood",): ("62.01", 1)}
    assert await by(Revenue.PRODUCT, Revenue.CUSTOMER_REGION, Revenue.OWNER, Revenue.YEAR) == {
        ("Chai", "DE", "Peacock", "1996"): ("171", 1),
        ("Ikura", "DE", "Peacock", "1996"): ("62.01", 1),
        ("Chai", "", "Peacock", "1997"): ("18", 1),
    }
    assert await by(Revenue.DAY, products=["products/1"]) == {
        ("1996-07-04",): ("171", 1),
        ("1997-01-15",): ("18", 1),
    }
    assert await by(from_date=day("1996-07-05")) == {(): ("18", 1)}
    assert await by(Revenue.CUSTOMER, customers=["customers/1"]) == {("QUICK-Stop",): ("233.01", 2 - 1)}
    whole = await boss.QueryRevenue()
    assert (shown(whole.rows[0].gross), shown(whole.rows[0].discount), whole.rows[0].quantity.value) == (
        "260.01",
        "9",
        "13",
    )


async def test_freight_cannot_be_divided_by_product(analytics):
    boss = analytics.as_(permissions=READ)
    said = await refused(
        boss.QueryRevenue(group_by=[Revenue.PRODUCT], measures=[Revenue.FREIGHT]), "MEASURE_NOT_DIVISIBLE"
    )
    assert said == {"measure": "FREIGHT", "whole": "orders", "dimension": "product"}


@pytest.mark.req("ANA-18")
async def test_a_cancelled_order_is_no_revenue(analytics):
    boss = analytics.as_(permissions=READ)
    await deliver(analytics, boss.tenant, *NORTH)
    await deliver(
        analytics,
        boss.tenant,
        facts.order("orders/1", [("products/1", "18", 10, "171")], state="CANCELLED", version=2),
    )
    answer = await boss.QueryRevenue(measures=[Revenue.NET, Revenue.ORDERS])
    assert table(answer, "net", "orders") == {(): ("18", 1)}
    years = (await boss.GetOrderFigures(report_date=TODAY)).years
    assert [(y.year, y.orders, shown(y.net), shown(y.freight)) for y in years] == [(1997, 1, "18", "1")]


@pytest.mark.req("ORD-06")
async def test_orders_are_unshipped_late_or_overdue(analytics):
    boss = analytics.as_(permissions=READ)
    lines = [("products/1", "18", 1, "18")]
    late = {"state": "SHIPPED", "required": "2026-11-10"}
    await deliver(
        analytics,
        boss.tenant,
        facts.order("orders/1", lines, required="2026-11-20"),
        facts.order("orders/2", lines, required="2026-11-21"),
        facts.order("orders/3", lines, shipped="2026-11-11", **late),
        facts.order("orders/4", lines, shipped="2026-11-10", **late),
        facts.order("orders/5", lines, state="DRAFT", required="2026-11-01"),
    )
    figures = await boss.GetOrderFigures(report_date=TODAY)
    assert (figures.unshipped, figures.late, figures.overdue) == (2, 1, 1)


async def test_stock_is_low_below_its_level_and_worth_its_list_price(analytics):
    boss = analytics.as_(permissions=READ)
    await deliver(
        analytics,
        boss.tenant,
        *NORTH,
        facts.stock("stock/1a", "products/1", 4),
        facts.stock("stock/1b", "products/1", 6),
        facts.stock("stock/2", "products/2", "4.5"),
        facts.stock("stock/3", "products/3", 10),
    )
    figures = await boss.GetStockFigures()
    assert (figures.products, figures.below_reorder_level) == (3, 1)
    assert [(low.title, low.on_hand.value, low.reorder_level.value) for low in figures.low] == [
        ("Ikura", "4.5", "5")
    ]
    assert [(shown(value), value.currency_code) for value in figures.value] == [("319.5225", "CNY")]
    await deliver(analytics, boss.tenant, facts.stock("stock/1b", "products/1", 5, version=2))
    assert (await boss.GetStockFigures()).below_reorder_level == 2


@pytest.mark.req("ANA-01")
async def test_the_dashboard_moves_with_every_fact(analytics):
    boss = analytics.as_(permissions=READ)
    ask = {"report_date": TODAY}
    await deliver(analytics, boss.tenant, facts.deal("opportunities/1", amount=100, probability="25"))
    board = await boss.GetDashboard(**ask)
    assert (board.open_deals, shown(board.open_pipeline), shown(board.weighted_pipeline)) == (1, "100", "25")
    assert board.currency == "CNY" and shown(board.won_this_month.amount) == "0"
    await deliver(
        analytics,
        boss.tenant,
        facts.deal("opportunities/1", amount=100, state="WON", version=2, closed="2026-11-20"),
        facts.deal("opportunities/2", amount=40, state="WON", closed="2025-10-20"),
        facts.deal("opportunities/3", amount=7, state="LOST", closed="2026-01-20"),
        facts.order("orders/1", [("products/1", "18", 10, "171")], ordered="2026-10-02"),
        facts.invoice("invoices/1", "60", due="2026-11-20"),
        facts.invoice("invoices/2", "5.5", due="2026-11-21"),
        facts.invoice("invoices/3", "0", due="2026-11-01", state="PAID"),
    )
    board = await boss.GetDashboard(**ask)
    assert board.open_deals == 0
    assert (board.won_this_month.count, shown(board.won_this_month.amount)) == (1, "100")
    assert shown(board.won_this_quarter.year_before) == "40"
    assert board.won_this_quarter.growth_percent.value == "150.00"
    assert not board.won_this_month.HasField("growth_percent")
    assert (shown(board.revenue_this_month.amount), shown(board.revenue_this_quarter.amount)) == ("0", "171")
    assert board.win_rate_percent.value == "50.00" and board.unshipped_orders == 1
    assert (shown(board.receivables), shown(board.overdue_receivables)) == ("65.5", "60")


def test_every_kind_of_report_limits_whom_it_counts():
    """A report that forgot its scope would be in this list of statements."""
    from services.analytics.rpc import dashboard, funnel, revenue

    scoped = [dashboard._OPEN, dashboard._OWED, dashboard._UNSHIPPED]
    scoped += [funnel._STAGES, funnel._VALUE, funnel._PASSAGES]
    assert all("{scope}" in text for text in scoped)
    limits = ("{deals}", "{cells}", "{shared}", "{invoices}")
    assert dashboard._CURRENCIES.count("WHERE f.tenant_id") == len(limits)
    assert all(limit in dashboard._CURRENCIES for limit in limits)
    assert revenue._STANDING.endswith("f.counted")


@pytest.mark.req("SEC-02")
@pytest.mark.parametrize(("scope", "seen"), [("own", 1), ("team", 2), ("subtree", 3), ("all", 4)])
async def test_a_report_counts_what_the_caller_may_see(analytics, scope, seen):
    boss = analytics.as_(permissions=READ)
    owners = [("users/me", "teams/1"), ("users/b", "teams/1"), ("users/c", "teams/2"), ("users/d", "teams/9")]
    events = [facts.pipeline("pipelines/1")]
    for at, (owner, team) in enumerate(owners):
        whose = {"owner": owner, "team": team}
        events += [
            facts.deal(
                f"opportunities/{at}",
                amount=1,
                probability="100",
                lines=[("products/1", 1)],
                history=[("potential", "2026-01-01")],
                **whose,
            ),
            facts.order(f"orders/{at}", [("products/1", "1", 1, "1")], required="2026-11-01", **whose),
            facts.invoice(f"invoices/{at}", "1", due="2026-11-01", **whose),
        ]
    await deliver(analytics, boss.tenant, *events)
    me = analytics.as_(
        permissions={"reports.read": scope},
        tenant=boss.tenant,
        user="users/me",
        team="teams/1",
        teams=("teams/1", "teams/2"),
    )
    assert (await me.GetWinRate()).total == seen
    for group in ([], [Deals.PRODUCT], [Deals.CUSTOMER]):
        assert sum(row.count for row in (await me.QueryDeals(group_by=group)).rows) == seen
    for group in ([], [Revenue.PRODUCT], [Revenue.CUSTOMER]):
        assert (
            sum(row.orders for row in (await me.QueryRevenue(group_by=group, measures=[Revenue.ORDERS])).rows)
            == seen
        )
    assert sum(stage.deals for stage in (await me.GetFunnel(pipeline="pipelines/1")).stages) == seen
    assert [stage.entered for stage in (await me.GetStageStatistics(pipeline="pipelines/1")).stages] == [
        seen,
        0,
        0,
    ]
    assert shown((await me.GetLadderForecast(pipeline="pipelines/1")).steps[0].value) == str(seen)
    assert [total.deals for total in (await me.GetPipelineValue()).totals] == [seen]
    orders = await me.GetOrderFigures(report_date=TODAY)
    assert (orders.unshipped, orders.overdue, sum(year.orders for year in orders.years)) == (seen, seen, seen)
    board = await me.GetDashboard(report_date=TODAY)
    assert (board.open_deals, board.unshipped_orders, shown(board.receivables)) == (seen, seen, str(seen))


async def test_another_organization_sees_nothing_of_it(analytics):
    boss, stranger = analytics.as_(permissions=READ), analytics.as_(permissions=READ)
    await deliver(analytics, boss.tenant, *FUNNEL, *NORTH)
    assert (await stranger.GetWinRate()).total == 0
    assert not (await stranger.QueryRevenue()).rows
    assert (await stranger.GetStockFigures()).products == 0
    await refused(stranger.GetFunnel(pipeline="pipelines/1"), "NOT_FOUND")
