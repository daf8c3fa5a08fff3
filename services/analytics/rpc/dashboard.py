"""How the headline figures are gathered: one question for each tile, each of cells or of open records."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from tradewind.analytics.v1 import dashboard_pb2

from chassis import scope
from chassis.kernel.record import replace
from chassis.kernel.values import Money, Period
from chassis.shapes import money_message
from chassis.store import Tx
from services.analytics.domain import figures
from services.analytics.domain.calendar import add_months, month_of, quarter_of, year_of
from services.analytics.rpc import deals, revenue
from services.analytics.rpc.cube import (
    CELLS,
    DEALS,
    INVOICES,
    ORDERS,
    Question,
    Source,
    ask,
    currency_of,
)
from services.analytics.rpc.days import date_message, main_currency
from services.analytics.rpc.deals import MEASURES, decimal

_CURRENCIES = """SELECT currency, sum(n)::bigint AS n FROM (
  SELECT {deal} AS currency, 1 AS n FROM deals AS f WHERE f.tenant_id = %s AND f.state = 'OPEN'{deals}
  UNION ALL SELECT {order}, f.orders FROM sales_by_month AS f
    WHERE f.tenant_id = %s AND f.month >= %s AND f.orders <> 0{cells}
  UNION ALL SELECT {order}, 1 FROM orders AS f
    WHERE f.tenant_id = %s AND f.order_date >= %s AND f.counted{shared}
  UNION ALL SELECT {invoice}, 1 FROM invoices AS f
    WHERE f.tenant_id = %s AND f.state IN ('POSTED', 'PARTLY_PAID'){invoices}
) AS used WHERE currency <> '' GROUP BY currency"""
_OPEN = """SELECT count(*) AS deals, COALESCE(sum(f.amount), 0)::bigint AS amount,
  COALESCE(sum(f.amount::numeric * f.probability), 0) AS weighted
FROM deals AS f WHERE f.tenant_id = %s AND f.state = 'OPEN' AND {currency} = %s{scope}"""
_OWED = """SELECT COALESCE(sum(f.open_amount), 0)::bigint AS owed,
  COALESCE(sum(f.open_amount) FILTER (WHERE f.due_date < %s), 0)::bigint AS overdue
FROM invoices AS f
WHERE f.tenant_id = %s AND f.state IN ('POSTED', 'PARTLY_PAID') AND {currency} = %s{scope}"""
_UNSHIPPED = """SELECT count(*) AS orders FROM orders AS f
WHERE f.tenant_id = %s AND f.counted AND f.state IN ('CONFIRMED', 'PARTLY_SHIPPED'){scope}"""
_WON = {"count": "COALESCE(sum(deals), 0)::bigint", "amount": "COALESCE(sum(amount), 0)::bigint"}
_SOLD = {"count": "COALESCE(sum(orders), 0)::bigint", "amount": "COALESCE(sum(net), 0)::bigint"}


class _Desk:
    """One caller's dashboard in the making: scope, currency and day are the same for every tile."""

    def __init__(self, tx: Tx) -> None:
        self.tx = tx

    async def row(
        self, text: str, params: Sequence[Any], place: scope.Place, column: str = ""
    ) -> dict[str, Any]:
        limits, mine = scope.condition(self.tx.call, place)
        filled = text.format(currency=currency_of(column), scope=limits)
        (found,) = await self.tx.rows(filled, [*params, *mine])
        return found

    async def currencies(self, since: date) -> dict[str, int]:
        """How many open deals, orders since that day and unpaid invoices there are in each currency."""
        here, call = self.tx.call.tenant, self.tx.call
        deals, cells, bills = (scope.condition(call, place) for place in (DEALS, CELLS, INVOICES))
        shared = scope.beyond(call, ORDERS)
        text = _CURRENCIES.format(
            deal=currency_of("f.amount_currency"), order=currency_of("f.currency"),
            invoice=currency_of("f.open_amount_currency"),
            deals=deals[0], cells=cells[0], shared=shared[0], invoices=bills[0],
        )  # fmt: skip
        params = [here, *deals[1], here, since, *cells[1], here, since, *shared[1], here, *bills[1]]
        return {row["currency"]: row["n"] for row in await self.tx.rows(text, params)}

    async def tile(self, sources: Sequence[Source], question: Question, currency: str) -> dashboard_pb2.Tile:
        now = await self._sum(sources, question)
        before = await self._sum(sources, _year_before(question))
        return dashboard_pb2.Tile(
            count=now["count"], amount=money_message(Money(now["amount"], currency)),
            year_before=money_message(Money(before["amount"], currency)),
            growth_percent=decimal(figures.growth(now["amount"], before["amount"])),
        )  # fmt: skip

    async def _sum(self, sources: Sequence[Source], question: Question) -> dict[str, Any]:
        rows, _ = await ask(self.tx, question, sources)
        return rows[0]


def _year_before(question: Question) -> Question:
    assert question.start is not None and question.end is not None
    return replace(question, start=add_months(question.start, -12), end=add_months(question.end, -12))


def _won(period: Period, currency: str) -> Question:
    return Question(
        measures=_WON, values=("deals", "amount"), by_currency=False, start=period.start, end=period.end,
        where={"STATE": ["WON"], "CURRENCY": [currency]},
    )  # fmt: skip


def _sold(period: Period, currency: str) -> Question:
    return Question(
        measures=_SOLD, values=("orders", "net"), by_currency=False, start=period.start, end=period.end,
        where={"CURRENCY": [currency]},
    )  # fmt: skip


async def dashboard(
    tx: Tx, request: dashboard_pb2.GetDashboardRequest, today: date
) -> dashboard_pb2.Dashboard:
    """The headline figures of the records the caller may see."""
    desk = _Desk(tx)
    used = await desk.currencies(add_months(today, -12))
    currency = request.currency or await main_currency(tx, used)
    pipeline = await desk.row(_OPEN, [tx.call.tenant, currency], DEALS, "f.amount_currency")
    owed = await desk.row(_OWED, [today, tx.call.tenant, currency], INVOICES, "f.open_amount_currency")
    unshipped = await desk.row(_UNSHIPPED, [tx.call.tenant], ORDERS)
    month, quarter, year = Period.month(today.year, today.month), quarter_of(today), year_of(today)
    rate = await _closed_last_year(tx, today)

    async def won(period: Period) -> dashboard_pb2.Tile:
        return await desk.tile(deals.SOURCES, _won(period, currency), currency)

    async def sold(period: Period) -> dashboard_pb2.Tile:
        return await desk.tile(revenue.SOURCES, _sold(period, currency), currency)

    return dashboard_pb2.Dashboard(
        report_date=date_message(today), currency=currency, other_currencies=sorted(used.keys() - {currency}),
        open_deals=pipeline["deals"], open_pipeline=money_message(Money(pipeline["amount"], currency)),
        weighted_pipeline=money_message(figures.weighted(pipeline["weighted"], currency)),
        won_this_month=await won(month), won_this_quarter=await won(quarter), won_this_year=await won(year),
        revenue_this_month=await sold(month), revenue_this_quarter=await sold(quarter),
        revenue_this_year=await sold(year), win_rate_percent=decimal(rate),
        unshipped_orders=unshipped["orders"],
        receivables=money_message(Money(owed["owed"], currency)),
        overdue_receivables=money_message(Money(owed["overdue"], currency)),
    )  # fmt: skip


async def _closed_last_year(tx: Tx, today: date) -> Any:
    """Won of closed, over the last twelve months with the present one."""
    end = add_months(today, 1)
    question = Question(
        measures={**MEASURES[deals.Request.WON_COUNT], **MEASURES[deals.Request.LOST_COUNT]},
        values=deals.VALUES[deals.Request.WON_COUNT], by_currency=False,
        start=add_months(month_of(today), -11), end=end,
    )  # fmt: skip
    rows, _ = await ask(tx, question, deals.SOURCES)
    return figures.rate(rows[0]["won_count"], rows[0]["won_count"] + rows[0]["lost_count"])
