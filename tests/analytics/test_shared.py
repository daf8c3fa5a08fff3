"""Every report counts what the lists of the same person show: by scope, by help, by territory, by shares, no
longer than they last."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from tradewind.analytics.v1 import deals_pb2, revenue_pb2
from tradewind.contract.v1 import events_pb2 as contract_events
from tradewind.inventory.v1 import events_pb2 as inventory_events
from tradewind.opportunity.v1 import events_pb2 as opportunity_events

from chassis.call import Call, new_id
from chassis.kernel.pricing import Totals
from chassis.kernel.share import Access, Share
from chassis.kernel.values import Money, Quantity
from chassis.shapes import read_money
from chassis.shares import ShareShape
from services.contract.domain.invoice import Invoice
from services.contract.domain.invoice import State as InvoiceState
from services.contract.rpc.shown import show_invoice
from services.inventory.domain.order import Order
from services.inventory.domain.order import State as OrderState
from services.inventory.domain.order_line import OrderLine
from services.inventory.store import show_order
from services.opportunity.domain.history import ClosingSummary, StageVisit, State
from services.opportunity.domain.opportunity import Opportunity
from services.opportunity.rpc.opportunity import show as show_deal
from tests.analytics.facts import day
from tests.platform import Running, settle

Deals, Revenue = deals_pb2.QueryDealsRequest, revenue_pb2.QueryRevenueRequest
TODAY = date(2026, 6, 20)
TEAMS = [f"teams/{n}" for n in range(4)]  # me, beside me, below me, elsewhere
PEOPLE = ["users/me", "users/mate", "users/low", "users/far"]
# Who asks → their scope, team and the teams below it.
ASKERS = {
    "own": ("own", TEAMS[0], TEAMS[:1]),
    "team": ("team", TEAMS[0], TEAMS[:1]),
    "subtree": ("subtree", TEAMS[0], [TEAMS[0], TEAMS[2]]),
    "territory": ("territory", TEAMS[0], [TEAMS[0], TEAMS[2]]),
    "all": ("all", TEAMS[0], TEAMS[:1]),
    "partner": ("own", "", []),
}
READS = ("reports.read", "opportunities.read", "orders.read", "invoices.read")
LISTS = {"opportunity": "ListOpportunities", "inventory": "ListOrders"}
EVENTS = {
    "opportunity": opportunity_events,
    "inventory": inventory_events,
    "contract": contract_events,
}


class House:
    """An organization whose deals, orders and invoices lie in many hands, and are shared with some."""

    def __init__(self, services: dict[str, Running]) -> None:
        self.services, self.chance = services, random.Random(7)
        self.boss = services["opportunity"].as_()
        self.pipeline = ""
        self.records: dict[str, list[str]] = {"opportunity": [], "inventory": [], "contract": []}
        self.shares: dict[str, list[str]] = {"opportunity": [], "inventory": [], "contract": []}

    def call(self) -> Call:
        return Call(tenant=self.boss.tenant, user="services/tests")

    def hands(self) -> dict[str, Any]:
        """Whose a record is: in one case of three somebody helps as well."""
        at = self.chance.randrange(4)
        helpers = tuple(self.chance.sample([*PEOPLE, "users/partner"], self.chance.choice([0, 0, 1])))
        return {"owner": PEOPLE[at], "team": TEAMS[at], "collaborators": helpers, "id": new_id()}

    def day(self) -> date:
        return date(2026, self.chance.randint(1, 6), self.chance.randint(1, 20))

    def hear_from_now_on(self) -> None:
        """Others have told analytics by hand what no service has told: its cursors go back to what is."""
        with psycopg.connect(self.services["analytics"].owner_url) as figures:
            for source, one in self.services.items():
                with psycopg.connect(one.owner_url) as db:
                    heads = db.execute("SELECT part, epoch, pos FROM outbox_head").fetchall()
                for part, epoch, position in heads:
                    figures.execute(
                        "UPDATE event_cursor SET pos = CASE WHEN epoch = %s THEN LEAST(pos, %s) ELSE 0 END,"
                        " epoch = %s WHERE source = %s AND part = %s",
                        [epoch, position, epoch, source, part],
                    )

    async def fill(self) -> None:
        self.hear_from_now_on()
        stages = [{"key": key, "display_name": key, "success_rate": {"value": "50"}} for key in ("a", "b")]
        for one in self.services.values():  # as the customer service would have told
            with psycopg.connect(one.owner_url) as db:
                db.execute("INSERT INTO customer_territories VALUES (%s, 'customers/1', 'territories/1')",
                           [self.boss.tenant])  # fmt: skip
        made = await self.boss.CreatePipeline(pipeline={"display_name": "Ours", "stages": stages})
        self.pipeline = made.name
        for service, make, show, event in (
            ("opportunity", self.deal, show_deal, opportunity_events.OpportunityCreated),
            ("inventory", self.order, show_order, inventory_events.OrderConfirmed),
            ("contract", self.invoice, show_invoice, contract_events.InvoicePosted),
        ):
            async with self.services[service].store.begin(self.call()) as tx:
                for _ in range(40):
                    kept = tx.add(make(), scoped=False)
                    shown = show(kept)
                    self.records[service].append(shown.name)
                    tx.emit(event(**{event.DESCRIPTOR.fields[0].name: shown}))
            for record in self.chance.sample(self.records[service], 16):
                await self.share(service, record)
        await self.settle()

    async def share(self, service: str, record: str, **more: Any) -> str:
        """With one of those that ask: a user, a team of theirs or one below it."""
        grantee = more.pop("grantee", "") or self.chance.choice(["users/me", *TEAMS[:3], "users/partner"])
        access = self.chance.choice(list(Access))
        shown = ShareShape(service)
        async with self.services[service].store.begin(self.call()) as tx:
            kept = tx.add(Share(id=new_id(), record=record, grantee=grantee, access=access, **more))
            tx.emit(EVENTS[service].RecordShared(share=shown(kept)))
            self.shares[service].append(shown(kept).name)
        return self.shares[service][-1]

    def deal(self) -> Opportunity:
        opened, state = self.day(), self.chance.choice([State.OPEN, State.OPEN, State.WON, State.LOST])
        at = datetime(opened.year, opened.month, opened.day, tzinfo=UTC)
        first = StageVisit(stage="a", enter_time=at, leave_time=at + timedelta(days=2))
        over = state is not State.OPEN
        return Opportunity(
            **self.hands(), title="Deal", customer=f"customers/{self.chance.randrange(3)}", state=state,
            amount=Money.of(self.chance.randint(1, 900), "CNY"), currency="CNY", pipeline=self.pipeline,
            stage="b", stage_history=(first, StageVisit(stage="b", enter_time=at + timedelta(days=2))),
            open_date=opened, close_date=opened + timedelta(days=5) if over else None,
            closing=ClosingSummary(outcome="so") if over else None,
        )  # fmt: skip

    def order(self) -> Order:
        lines = [
            OrderLine(
                product=f"products/{self.chance.randrange(3)}", quantity=Quantity.of(2),
                unit_price=Money.of(self.chance.randint(1, 90), "CNY"),
            )
            for _ in range(self.chance.randint(1, 3))
        ]  # fmt: skip
        return Order(
            **self.hands(), customer=f"customers/{self.chance.randrange(3)}", currency="CNY",
            lines=tuple(lines), order_date=self.day(),
            state=self.chance.choice([OrderState.CONFIRMED, OrderState.SHIPPED, OrderState.DRAFT]),
        ).priced()  # fmt: skip

    def invoice(self) -> Invoice:
        owed = Money.of(self.chance.randint(1, 900), "CNY")
        nothing = Money.zero("CNY")
        return Invoice(
            **self.hands(), customer="customers/1", currency="CNY", base_currency="CNY",
            due_date=self.day(), open_amount=owed, paid_amount=nothing,
            state=self.chance.choice([InvoiceState.POSTED, InvoiceState.DRAFT]),
            totals=Totals(gross=owed, discount=nothing, net=owed, tax=nothing, total=owed),
        )  # fmt: skip

    async def settle(self) -> None:
        await settle(*self.services.values())

    def asker(self, word: str) -> dict[str, Any]:
        """Somebody at every service."""
        scope, team, teams = ASKERS[word]
        user = "users/partner" if word == "partner" else "users/me"
        return {
            name: one.as_(tenant=self.boss.tenant, user=user, team=team, teams=tuple(teams),
                          permissions=dict.fromkeys(READS, scope), territories=("territories/1",))
            for name, one in self.services.items()
        }  # fmt: skip


@pytest_asyncio.fixture(scope="module")
async def house(
    opportunity: Running, inventory: Running, contract: Running, analytics: Running
) -> AsyncIterator[House]:
    services = {
        "opportunity": opportunity, "inventory": inventory, "contract": contract, "analytics": analytics,
    }  # fmt: skip
    made = House(services)
    await made.fill()
    yield made
    # No law is left broken: these papers were put down as they are, without what leads to them.
    for one in services.values():
        with psycopg.connect(one.owner_url) as db:
            for rows in one.store.metadata.tables:
                db.execute(f"DELETE FROM {rows} WHERE tenant_id = %s", [made.boss.tenant])


async def listed(ask: Any, **more: Any) -> list[Any]:
    found, token = [], ""
    while True:
        page = await ask(page_size=200, page_token=token, **more)
        found += getattr(page, page.DESCRIPTOR.fields[0].name)
        token = page.next_page_token
        if not token:
            return found


def total(messages: Any) -> int:
    return sum(read_money(message).amount for message in messages)


async def same_deals(me: dict[str, Any], house: House) -> int:
    """Every report of deals against the list of deals; how many there are."""
    deals = await listed(me["opportunity"].ListOpportunities)
    ask = me["analytics"]
    open_ones = [deal for deal in deals if deal.state == deal.OPEN]
    won = [deal for deal in deals if deal.state == deal.WON]
    lost = [deal for deal in deals if deal.state == deal.LOST]
    answer = await ask.QueryDeals(measures=[Deals.COUNT, Deals.AMOUNT, Deals.WON_COUNT, Deals.LOST_COUNT])
    assert [(row.count, read_money(row.amount).amount, row.won_count, row.lost_count) for row in answer.rows]\
        == [(len(deals), total(deal.amount for deal in deals), len(won), len(lost))]  # fmt: skip
    by_owner = await ask.QueryDeals(group_by=[Deals.OWNER, Deals.MONTH], measures=[Deals.COUNT])
    counted: Counter[str] = Counter()
    for row in by_owner.rows:
        counted[row.keys[0].value] += row.count
    assert counted == Counter(deal.owner for deal in deals)
    rate = await ask.GetWinRate()
    assert (rate.won, rate.lost, rate.total) == (len(won), len(lost), len(deals))
    funnel = await ask.GetFunnel(pipeline=house.pipeline, report_date=day(TODAY), currency="CNY")
    customers = {deal.customer for deal in open_ones}
    assert [(stage.stage, stage.deals, stage.customers, read_money(stage.value).amount)
            for stage in funnel.stages] == [
        ("a", 0, 0, 0), ("b", len(open_ones), len(customers), total(deal.amount for deal in open_ones))
    ]  # fmt: skip
    ladder = await ask.GetLadderForecast(pipeline=house.pipeline, report_date=day(TODAY), currency="CNY")
    assert total(step.value for step in ladder.steps) == total(deal.amount for deal in open_ones)
    value = await ask.GetPipelineValue()
    assert sum(each.deals for each in value.totals) == len(open_ones)
    assert total(each.raw for each in value.totals) == total(deal.amount for deal in open_ones)
    stages = (await ask.GetStageStatistics(pipeline=house.pipeline)).stages
    assert [stage.entered for stage in stages] == [len(deals)] * 2
    board = await ask.GetDashboard(report_date=day(TODAY), currency="CNY")
    assert (board.open_deals, read_money(board.open_pipeline).amount) == (
        len(open_ones), total(deal.amount for deal in open_ones)
    )  # fmt: skip
    assert board.won_this_year.count == len(won)
    assert read_money(board.won_this_year.amount).amount == total(deal.amount for deal in won)
    return len(deals)


async def same_orders(me: dict[str, Any]) -> int:
    """Every report of orders against the list of orders."""
    orders = [one for one in await listed(me["inventory"].ListOrders) if one.state != one.DRAFT]
    ask, sold = me["analytics"], total(one.totals.net for one in orders)
    measures = [Revenue.NET, Revenue.ORDERS]
    answer = await ask.QueryRevenue(measures=measures)
    assert [(read_money(row.net).amount, row.orders) for row in answer.rows] == [(sold, len(orders))]
    # Each way to ask is answered from other tables: cells by month, cells of goods, the orders themselves.
    for group in ([Revenue.MONTH], [Revenue.PRODUCT, Revenue.MONTH], [Revenue.CUSTOMER], [Revenue.DAY],
                  [Revenue.CUSTOMER, Revenue.PRODUCT]):  # fmt: skip
        rows = (await ask.QueryRevenue(group_by=group, measures=measures)).rows
        assert total(row.net for row in rows) == sold, group
        if Revenue.PRODUCT not in group:
            assert sum(row.orders for row in rows) == len(orders), group
    goods = await ask.QueryRevenue(group_by=[Revenue.PRODUCT], measures=measures)
    assert Counter({row.keys[0].value: row.orders for row in goods.rows}) == Counter(
        product for one in orders for product in {line.product for line in one.lines}
    )
    figures = await ask.GetOrderFigures(report_date=day(TODAY))
    assert sum(year.orders for year in figures.years) == len(orders)
    unshipped = sum(1 for one in orders if one.state == one.CONFIRMED)
    assert figures.unshipped == unshipped
    board = await ask.GetDashboard(report_date=day(TODAY), currency="CNY")
    assert board.unshipped_orders == unshipped
    assert (board.revenue_this_year.count, read_money(board.revenue_this_year.amount).amount) == (
        len(orders), sold
    )  # fmt: skip
    return len(orders)


async def same_invoices(me: dict[str, Any]) -> int:
    """What is owed against the list of invoices."""
    owed = [one for one in await listed(me["contract"].ListInvoices) if one.state == one.POSTED]
    board = await me["analytics"].GetDashboard(report_date=day(TODAY), currency="CNY")
    assert read_money(board.receivables).amount == total(one.open_amount for one in owed)
    return len(owed)


@pytest.mark.parametrize("word", ASKERS)
async def test_every_report_adds_up_to_the_lists_of_who_asks(house: House, word: str) -> None:
    me = house.asker(word)
    counts = [await same_deals(me, house), await same_orders(me), await same_invoices(me)]
    assert all(counts), "nothing was compared"
    if word == "territory":
        narrower = house.asker("subtree")
        assert counts > [await same_deals(narrower, house), await same_orders(narrower)]


async def test_what_is_no_longer_shared_leaves_the_figures(house: House) -> None:
    me = house.asker("partner")
    before = await same_deals(me, house), await same_orders(me)
    until = datetime.now(UTC) + timedelta(hours=1)
    lent = {}
    for service in ("opportunity", "inventory"):
        theirs = await listed(getattr(me[service], LISTS[service]))
        others = [name for name in house.records[service] if name not in {one.name for one in theirs}]
        for name in others:
            lent[name] = await house.share(service, name, grantee="users/partner", expire_time=until)
    await house.settle()
    more = await same_deals(me, house), await same_orders(me)
    assert more[0] > before[0] and more[1] > before[1]
    for service in ("opportunity", "inventory"):
        owner = house.services[service].as_(tenant=house.boss.tenant)
        for name in list(lent.values()):
            if name.startswith(f"shares/{service}/"):
                await owner.RevokeShare(name=name)
    await house.settle()
    assert (await same_deals(me, house), await same_orders(me)) == before
