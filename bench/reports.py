"""Reports over a million order lines, beside the same over ten thousand."""

from __future__ import annotations

import time
from datetime import date
from typing import Any

from google.type import date_pb2
from tradewind.analytics.v1 import dashboard_pb2, deals_pb2, funnel_pb2, revenue_pb2

from bench.alone import service, superuser, timed
from bench.harness import Bench, Sample
from bench.rig import Rig, rig
from chassis.call import Call, new_id
from chassis.service import Runtime
from services.analytics.rpc.report import ReportRpc

FEW, MANY = 10_000, 1_000_000  # order lines, three to an order
TODAY = date(2026, 11, 15)
Revenue = revenue_pb2.QueryRevenueRequest
# Two years of orders of 20 people in 5 teams, over 40 products and 400 customers: groups that small firms
# fill as well as large ones.
_ORDERS = """
INSERT INTO orders (tenant_id, name, version, customer, owner, team, collaborators, state, currency,
net, gross, quantity, freight, order_date, counted, sold) SELECT %(tenant)s, 'orders/' || n, 1,
'customers/' || n %% 400, 'users/' || n %% 20, 'teams/' || n %% 5, CASE WHEN n %% 50 = 0 THEN
jsonb_build_array('users/' || (n + 1) %% 20) ELSE '[]' END, CASE WHEN n <= 300 THEN 'CONFIRMED' ELSE
'SETTLED' END, 'CNY', 3000000, 3300000, 60000, 0, DATE '2026-11-14' - (n %% 700)::int, true,
jsonb_build_array(jsonb_build_object('product', 'products/' || n %% 40, 'net', 1000000, 'gross',
1100000, 'quantity', 20000), jsonb_build_object('product', 'products/' || (n + 7) %% 40, 'net', 2000000,
'gross', 2200000, 'quantity', 40000)) FROM generate_series(1, %(orders)s) AS n"""
_DEALS = """
INSERT INTO deals (tenant_id, name, version, customer, owner, team, collaborators, pipeline, stage,
state, category, amount, amount_currency, probability, open_date, close_date, shares, passages) SELECT
%(tenant)s, 'opportunities/' || n, 1, 'customers/' || n %% 400, 'users/' || n %% 20, 'teams/' || n %% 5,
'[]', 'pipelines/1', 'potential', 'OPEN', 'PIPELINE', 10000000, 'CNY', 500000, DATE '2026-10-01', DATE
'2026-12-01', '[]', '[]' FROM generate_series(1, 1000) AS n"""
_PIPELINE = """
INSERT INTO pipelines (tenant_id, name, version, title, stages) VALUES (%(tenant)s, 'pipelines/1', 1,
'Sales', '[{"key": "potential", "title": "Potential", "success_rate": 500000, "allowed_days": 30}]')"""


async def measure(bench: Bench) -> None:
    """The dashboard with all its reports, for the whole company and for one team."""
    with rig(broker=False) as found:
        async with service(found, "analytics") as runtime:
            small, large = new_id(), new_id()
            began = time.monotonic()
            for tenant, lines in ((small, FEW), (large, MANY // 10 if bench.quick else MANY)):
                fill(found, tenant, lines)
            print(f"  filled in {time.monotonic() - began:.0f} s", flush=True)
            for scope in ("all", "team"):
                await _measure(bench, found, runtime, (small, large), scope)


def fill(found: Rig, tenant: str, lines: int) -> None:
    """Orders of so many lines as they would have been told of, and a thousand open deals."""
    with superuser(found, "analytics") as db:
        db.execute("SET synchronous_commit TO off; SET work_mem TO '256MB'")
        for text in (_ORDERS, _DEALS, _PIPELINE):
            db.execute(text, {"tenant": tenant, "orders": lines // 3})
        db.execute("VACUUM ANALYZE")


async def _measure(bench: Bench, found: Rig, runtime: Runtime, tenants: tuple[str, str], scope: str) -> None:
    rpc: Any = next(one for one in runtime.rpcs if isinstance(one, ReportRpc))

    def company(tenant: str) -> Any:
        async def once() -> int:
            for _ in range(3):
                await ask(rpc, Call(tenant=tenant, user="users/3", team="teams/3", scope=scope))
            return 3

        async def sample() -> Sample:
            return await timed(found, once)

        return sample

    runs = await bench.interleave(small=company(tenants[0]), large=company(tenants[1]))
    bench.row(f"dashboard over 1,000,000 order lines (scope {scope})", "over 10,000",
              runs.ratio("large", "small", lambda s: s.seconds / s.count), ("at most", 1.5),
              f"{runs.of('large', lambda s: s.seconds / s.count * 1000)} ms for headline figures, funnel,"
              " pipeline value, win rate and two revenue cubes")  # fmt: skip
    bench.costs_of(f"that dashboard (scope {scope})", runs, "large")


async def ask(rpc: Any, call: Call) -> None:
    """What a dashboard shows."""
    today = date_pb2.Date(year=TODAY.year, month=TODAY.month, day=TODAY.day)
    await rpc.GetDashboard(dashboard_pb2.GetDashboardRequest(report_date=today), call)
    await rpc.GetFunnel(funnel_pb2.GetFunnelRequest(pipeline="pipelines/1", report_date=today), call)
    await rpc.GetPipelineValue(funnel_pb2.GetPipelineValueRequest(), call)
    await rpc.GetWinRate(deals_pb2.GetWinRateRequest(), call)
    await rpc.QueryRevenue(Revenue(group_by=[Revenue.MONTH, Revenue.OWNER, Revenue.TEAM]), call)
    await rpc.QueryRevenue(Revenue(group_by=[Revenue.PRODUCT, Revenue.MONTH, Revenue.OWNER]), call)
