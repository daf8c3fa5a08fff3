"""The reports, each asked in one transaction that only reads."""

from __future__ import annotations

from typing import Any

from tradewind.analytics.v1 import dashboard_pb2, deals_pb2, funnel_pb2, report_pb2, revenue_pb2

from chassis.call import Call
from chassis.rpc import Rpc
from services.analytics.rpc import checksum, dashboard, deals, funnel, revenue
from services.analytics.rpc.days import report_day


class ReportRpc(Rpc):
    """What a sales organization asks."""

    service = "tradewind.analytics.v1.ReportService"

    async def GetFunnel(self, request: Any, call: Call) -> funnel_pb2.Funnel:
        """Customers, deals and value per stage."""
        async with self.store.begin(call) as tx:
            return await funnel.funnel(tx, request, await report_day(tx, request))

    async def GetPipelineValue(self, request: Any, call: Call) -> funnel_pb2.PipelineValue:
        """Open deals, raw and weighted."""
        async with self.store.begin(call) as tx:
            return await funnel.pipeline_value(tx, request)

    async def GetStageStatistics(self, request: Any, call: Call) -> funnel_pb2.StageStatistics:
        """Conversion and time in stage."""
        async with self.store.begin(call) as tx:
            return await funnel.stage_statistics(tx, request)

    async def GetLadderForecast(self, request: Any, call: Call) -> funnel_pb2.LadderForecast:
        """Stage values × rates in the coming months."""
        async with self.store.begin(call) as tx:
            return await funnel.forecast(tx, request, await report_day(tx, request))

    async def GetWinRate(self, request: Any, call: Call) -> deals_pb2.WinRate:
        """Won of closed and won of all."""
        async with self.store.begin(call) as tx:
            return await deals.win_rate(tx, request)

    async def QueryDeals(self, request: Any, call: Call) -> deals_pb2.QueryDealsResponse:
        """Deals by dimensions."""
        async with self.store.begin(call) as tx:
            return await deals.query_deals(tx, request)

    async def QueryRevenue(self, request: Any, call: Call) -> revenue_pb2.QueryRevenueResponse:
        """Revenue by dimensions."""
        async with self.store.begin(call) as tx:
            return await revenue.query_revenue(tx, request)

    async def GetOrderFigures(self, request: Any, call: Call) -> revenue_pb2.OrderFigures:
        """How the orders stand."""
        async with self.store.begin(call) as tx:
            return await revenue.order_figures(tx, await report_day(tx, request))

    async def GetStockFigures(self, request: Any, call: Call) -> revenue_pb2.StockFigures:
        """How the stock stands."""
        async with self.store.begin(call) as tx:
            return await revenue.stock_figures(tx, request.limit)

    async def GetDashboard(self, request: Any, call: Call) -> dashboard_pb2.Dashboard:
        """The headline figures."""
        async with self.store.begin(call) as tx:
            return await dashboard.dashboard(tx, request, await report_day(tx, request))

    async def GetReadModelChecksum(self, request: Any, call: Call) -> report_pb2.ReadModelChecksum:
        """A sum over every read model."""
        async with self.store.begin(call) as tx:
            return await checksum.checksum(tx)
