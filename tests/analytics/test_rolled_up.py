"""Sums rolled up from orders answer as the orders do, for everybody, and whoever wrote the orders."""

from __future__ import annotations

import random
from datetime import date

import psycopg
import pytest
from tradewind.analytics.v1 import revenue_pb2

from chassis.call import Call
from services.analytics.rpc import revenue
from services.analytics.rpc.cube import choose
from tests.analytics import facts
from tests.analytics.facts import deliver

Revenue = revenue_pb2.QueryRevenueRequest
TEAMS = [f"teams/{n}" for n in range(3)]
MEASURES = [Revenue.NET, Revenue.GROSS, Revenue.ORDERS, Revenue.QUANTITY]
PEOPLE = [f"users/{n}" for n in range(4)]


def orders(seed: int) -> list:
    """Orders that change hands, products, months and states, and are shared now and then."""
    chance, events = random.Random(seed), []
    for n in range(14):
        for version in range(1, chance.randint(2, 4)):
            lines = [
                (f"products/{chance.randrange(3)}", str(chance.randint(1, 90)), chance.randint(1, 5), "7.5")
                for _ in range(chance.randint(1, 3))
            ]
            events.append(facts.order(
                f"orders/{n}", lines, version=version, owner=chance.choice(PEOPLE), team=chance.choice(TEAMS),
                state=chance.choice(["CONFIRMED", "CONFIRMED", "SHIPPED", "CANCELLED", "DRAFT"]),
                currency=chance.choice(["CNY", "EUR"]),
                ordered=str(date(2026, chance.randint(1, 3), chance.randint(1, 28))), freight="1.5",
                customer=f"customers/{chance.randrange(2)}", required="2026-02-01", shipped="2026-02-03",
            ))  # fmt: skip
            events[-1].order.collaborators.extend(chance.sample(PEOPLE, chance.choice([0, 0, 1, 2])))
    return events


@pytest.mark.parametrize("seed", range(2))
async def test_cells_answer_everybody_as_the_orders_do(analytics, monkeypatch, seed):
    boss = analytics.as_(permissions={"reports.read": "all"})
    await deliver(analytics, boss.tenant, *orders(seed))
    asked = [[], [Revenue.MONTH], [Revenue.OWNER], [Revenue.TEAM, Revenue.QUARTER], [Revenue.PRODUCT],
             [Revenue.PRODUCT, Revenue.OWNER, Revenue.MONTH]]  # fmt: skip
    for scope in ("own", "team", "subtree", "all"):
        me = analytics.as_(permissions={"reports.read": scope}, tenant=boss.tenant, user=PEOPLE[0],
                           team=TEAMS[0], teams=tuple(TEAMS[:2]))  # fmt: skip
        told = {}
        for sources in (revenue.SOURCES, revenue.SOURCES[-2:]):
            monkeypatch.setattr(revenue, "SOURCES", sources)
            for group in asked:
                answer = await me.QueryRevenue(group_by=group, measures=MEASURES)
                assert told.setdefault(tuple(group), answer) == answer, (scope, group)
        monkeypatch.undo()
        assert told[()].rows


def test_whoever_sees_less_than_everything_is_answered_from_cells_too():
    mine = Call(tenant="t", user=PEOPLE[0], scope="own")
    plain = revenue.question_of(Revenue(group_by=[Revenue.OWNER, Revenue.MONTH]))
    assert choose(plain, revenue.SOURCES, mine).table.startswith("sales_by_month ")
    goods = revenue.question_of(Revenue(group_by=[Revenue.PRODUCT, Revenue.OWNER, Revenue.MONTH]))
    assert choose(goods, revenue.SOURCES, mine).table.startswith("product_sales_by_month ")


async def test_cells_follow_orders_that_were_written_past_this_release(analytics):
    """A process of the release before knows nothing of these cells, and writes the orders it is told of."""
    boss = analytics.as_(permissions={"reports.read": "all"})
    await deliver(analytics, boss.tenant, *orders(9))
    with psycopg.connect(analytics.owner_url) as db:
        db.execute("UPDATE orders SET net = net + 70000, owner = 'users/new', counted = true"
                   " WHERE tenant_id = %s AND name < 'orders/3'", [boss.tenant])  # fmt: skip
        db.execute("DELETE FROM orders WHERE tenant_id = %s AND name > 'orders/7'", [boss.tenant])
    with psycopg.connect(analytics.owner_url) as db:
        same = db.execute(
            "SELECT (SELECT sum(net) FROM orders WHERE tenant_id = %(t)s AND counted)"
            " = (SELECT sum(net) FROM sales_by_month WHERE tenant_id = %(t)s),"
            " (SELECT count(*) FROM orders WHERE tenant_id = %(t)s AND counted AND owner = 'users/new')"
            " = (SELECT sum(orders) FROM sales_by_month WHERE tenant_id = %(t)s AND owner = 'users/new')",
            {"t": boss.tenant},
        ).fetchone()
        assert same == (True, True)
        for table in (
            "orders",
            "sales_by_month",
            "product_sales_by_month",
            "sales_by_customer",
            "sales_by_product",
        ):
            db.execute(
                f"DELETE FROM {table} WHERE tenant_id = %s", [boss.tenant]
            )  # leave no broken law behind
