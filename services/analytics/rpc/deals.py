"""How questions about deals are asked and answered."""

from __future__ import annotations

from collections.abc import Container
from decimal import Decimal
from typing import Any

from google.type import decimal_pb2
from tradewind.analytics.v1 import deals_pb2

from chassis.kernel.values import Money
from chassis.shapes import money_message
from chassis.store import Tx
from services.analytics.domain import figures
from services.analytics.rpc.cube import DEALS, Question, Source, ask, currency_of
from services.analytics.rpc.days import day

Request = deals_pb2.QueryDealsRequest
_CELLS = {"state": "f.state", "deals": "f.deals", "amount": "f.amount", "days": "f.days", "timed": "f.timed"}
_SUMS = ("deals", "amount", "days", "timed")
_EACH = {
    "state": "f.state",
    "deals": "1",
    "days": "COALESCE(f.days, 0)",
    "timed": "(f.days IS NOT NULL)::int",
}
_OWN = frozenset({"state", "deals", "days", "timed"})  # of the whole deal, however many products it holds
_MONTHS = {"month": "f.month", "day": "f.month", "currency": currency_of("f.currency")}
_DAYS = {"month": "f.close_date", "day": "f.close_date", "currency": currency_of("f.amount_currency")}
_PARTS = "deals AS f CROSS JOIN LATERAL jsonb_to_recordset(f.shares) AS share (product text, amount bigint)"

# From the smallest to the one that can answer everything.
SOURCES = (
    Source("deals_by_month AS f", frozenset({"state"}), _CELLS, _MONTHS, cells=_SUMS, where="f.deals <> 0"),
    Source(
        "deals_by_product AS f", frozenset({"state", "product"}), _CELLS, {**_MONTHS, "product": "f.product"},
        cells=_SUMS, where="f.deals <> 0", whole=_OWN,
    ),
    Source(
        "deals AS f", frozenset({"state", "customer", "day"}),
        {**_EACH, "amount": "f.amount", "each": "f.amount"}, _DAYS, place=DEALS,
    ),
    Source(
        _PARTS, frozenset({"state", "customer", "day", "product"}),
        {**_EACH, "amount": "share.amount", "each": "share.amount"}, {**_DAYS, "product": "share.product"},
        place=DEALS, fact="f.name", whole=_OWN,
    ),
)  # fmt: skip

_WON = "FILTER (WHERE state = 'WON')"
_ASC = "percentile_disc(0.5) WITHIN GROUP (ORDER BY each)"
_DESC = "percentile_disc(0.5) WITHIN GROUP (ORDER BY each DESC)"
# measure → (what is shown, SQL by name)
MEASURES: dict[int, dict[str, str]] = {
    Request.COUNT: {"count": "sum(deals)::bigint"},
    Request.AMOUNT: {"amount": "sum(amount)::bigint"},
    Request.AVERAGE: {"count": "sum(deals)::bigint", "amount": "sum(amount)::bigint"},
    Request.MEDIAN: {"lower": f"{_ASC}::bigint", "upper": f"{_DESC}::bigint"},
    Request.WON_COUNT: {"won_count": f"COALESCE(sum(deals) {_WON}, 0)::bigint"},
    Request.WON_AMOUNT: {"won_amount": f"COALESCE(sum(amount) {_WON}, 0)::bigint"},
    Request.LOST_COUNT: {"lost_count": "COALESCE(sum(deals) FILTER (WHERE state = 'LOST'), 0)::bigint"},
    Request.DAYS_TO_CLOSE: {"days": "sum(days)::bigint", "timed": "sum(timed)::bigint"},
}
# measure → the values that those are made of
VALUES: dict[int, tuple[str, ...]] = {
    Request.COUNT: ("deals",), Request.AMOUNT: ("amount",), Request.AVERAGE: ("deals", "amount"),
    Request.MEDIAN: ("each",), Request.WON_COUNT: ("deals",), Request.WON_AMOUNT: ("amount",),
    Request.LOST_COUNT: ("deals",), Request.DAYS_TO_CLOSE: ("days", "timed"),
}  # fmt: skip
_ORDER = {
    Request.COUNT: "count", Request.AMOUNT: "amount", Request.AVERAGE: "sum(amount) / NULLIF(sum(deals), 0)",
    Request.MEDIAN: "lower", Request.WON_COUNT: "won_count", Request.WON_AMOUNT: "won_amount",
    Request.LOST_COUNT: "lost_count", Request.DAYS_TO_CLOSE: "sum(days) / NULLIF(sum(timed), 0)",
}  # fmt: skip
_MONEY = {Request.AMOUNT, Request.AVERAGE, Request.MEDIAN, Request.WON_AMOUNT}


def conditions(wanted: deals_pb2.DealFilter) -> dict[str, Any]:
    """A filter as the conditions of a question."""

    return {
        "where": {
            "STATE": wanted.states, "PIPELINE": wanted.pipelines, "OWNER": wanted.owners,
            "TEAM": wanted.teams, "PRODUCT": wanted.products, "CUSTOMER": wanted.customers,
            "REGION": wanted.regions, "INDUSTRY": wanted.industries, "CURRENCY": wanted.currencies,
        },
        "start": day(wanted, "close_from_date"), "end": day(wanted, "close_before_date"),
        "opened": (day(wanted, "open_from_date"), day(wanted, "open_before_date")),
    }  # fmt: skip


def question_of(request: Request) -> Question:
    """The question that a request asks."""
    asked = list(request.measures) or [Request.COUNT, Request.AMOUNT]
    if request.order_by and request.order_by not in asked:
        asked.append(request.order_by)
    measures = {name: sql for measure in asked for name, sql in MEASURES[measure].items()}
    return Question(
        group_by=[Request.Dimension.Name(one) for one in request.group_by], measures=measures,
        values=sorted({value for measure in asked for value in VALUES[measure]}),
        by_currency=bool(_MONEY & set(asked)), order_by=_ORDER.get(request.order_by, ""),
        limit=request.limit or 200, **conditions(request.filter),
    )  # fmt: skip


async def query_deals(tx: Tx, request: Request) -> deals_pb2.QueryDealsResponse:
    """Deals by the dimensions asked for."""
    question = question_of(request)
    rows, truncated = await ask(tx, question, SOURCES)
    asked = set(request.measures) or {Request.COUNT, Request.AMOUNT}
    return deals_pb2.QueryDealsResponse(
        rows=[_row(row, len(question.group_by), asked) for row in rows], truncated=truncated
    )


def keys_of(row: dict[str, Any], count: int) -> list[deals_pb2.Key]:
    """What a row stands for."""
    return [
        deals_pb2.Key(value=row[f"k{at}"] or "", title=row[f"t{at}"] or row[f"k{at}"] or "")
        for at in range(count)
    ]


def decimal(value: Decimal | None) -> decimal_pb2.Decimal | None:
    """A figure on the wire, or nothing."""
    return None if value is None else decimal_pb2.Decimal(value=str(value))


def _row(row: dict[str, Any], keys: int, asked: Container[int]) -> deals_pb2.DealRow:
    currency = row.get("currency", "")

    def money(name: str) -> Any:
        return money_message(Money(row[name] or 0, currency))

    shown = deals_pb2.DealRow(keys=keys_of(row, keys), currency=currency)
    if Request.COUNT in asked:
        shown.count = row["count"] or 0
    if Request.AMOUNT in asked:
        shown.amount.CopyFrom(money("amount"))
    if Request.AVERAGE in asked and (
        mean := figures.average(Money(row["amount"] or 0, currency), row["count"] or 0)
    ):
        shown.average.CopyFrom(money_message(mean))
    if Request.MEDIAN in asked and row["lower"] is not None:
        middle = figures.median(Money(row["lower"], currency), Money(row["upper"], currency))
        shown.median.CopyFrom(money_message(middle))
    if Request.WON_COUNT in asked:
        shown.won_count = row["won_count"]
    if Request.WON_AMOUNT in asked:
        shown.won_amount.CopyFrom(money("won_amount"))
    if Request.LOST_COUNT in asked:
        shown.lost_count = row["lost_count"]
    if (
        Request.DAYS_TO_CLOSE in asked
        and (days := figures.mean_days(row["days"] or 0, row["timed"] or 0)) is not None
    ):
        shown.days_to_close.CopyFrom(decimal_pb2.Decimal(value=str(days)))
    return shown


async def win_rate(tx: Tx, request: deals_pb2.GetWinRateRequest) -> deals_pb2.WinRate:
    """How often deals are won, of the closed ones and of all."""
    question = Question(
        measures={**MEASURES[Request.COUNT], **MEASURES[Request.WON_COUNT], **MEASURES[Request.LOST_COUNT]},
        values=VALUES[Request.COUNT], by_currency=False, **conditions(request.filter),
    )  # fmt: skip
    rows, _ = await ask(tx, question, SOURCES)
    total, won, lost = rows[0]["count"] or 0, rows[0]["won_count"], rows[0]["lost_count"]
    return deals_pb2.WinRate(
        won=won, lost=lost, others=total - won - lost, total=total,
        of_closed_percent=decimal(figures.rate(won, won + lost)),
        of_all_percent=decimal(figures.rate(won, total)),
    )  # fmt: skip
