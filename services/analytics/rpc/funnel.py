"""How the funnel is read: stages as they stand, their rates, and what they will bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from google.type import decimal_pb2
from tradewind.analytics.v1 import funnel_pb2

from chassis import scope
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import WHOLE, Money, Percent, round_div
from chassis.shapes import money_message, read_date, read_money
from chassis.store import Tx
from services.analytics.domain import figures
from services.analytics.domain.calendar import add_months
from services.analytics.domain.dimension import Pipeline
from services.analytics.domain.funnel import (
    Expected,
    Rung,
    by_month,
    coverage,
    durations,
    ladder,
    win_rates,
)
from services.analytics.rpc.cube import DEALS, Question, ask, currency_of
from services.analytics.rpc.days import date_message, main_currency
from services.analytics.rpc.deals import MEASURES, SOURCES, VALUES, Request, decimal
from services.analytics.store import AnalyticsStore

USUAL_MONTHS = 6  # how far back a usual month is looked for
UNKNOWN_DAYS = 30  # how long a stage takes of which nothing is known
_STAGES = """SELECT f.stage, count(DISTINCT NULLIF(f.customer, '')) AS customers, count(*) AS deals,
  COALESCE(sum(f.amount), 0)::bigint AS amount, {currency} AS currency
FROM deals AS f WHERE f.tenant_id = %s AND f.state = 'OPEN' AND f.pipeline = %s{scope}
GROUP BY f.stage, currency"""
_VALUE = """SELECT {category} AS category, count(*) AS deals, sum(f.amount)::bigint AS amount,
  sum(f.amount::numeric * f.probability) AS weighted, {currency} AS currency
FROM deals AS f WHERE f.tenant_id = %s AND f.state = 'OPEN' AND (%s = '' OR f.pipeline = %s){scope}
GROUP BY 1, currency ORDER BY 1, currency"""
_PASSAGES = """SELECT f.stage, f.after, sum(f.visits)::bigint AS visits, sum(f.seconds)::bigint AS seconds
FROM {source} WHERE f.tenant_id = %s AND f.pipeline = %s AND f.month >= %s{scope} GROUP BY f.stage, f.after"""
_OWN_PASSAGES = """(SELECT deals.tenant_id, deals.name, deals.pipeline, deals.owner, deals.team,
  deals.collaborators, deals.territory, p.stage, p.month, p.after, 1 AS visits, p.seconds
  FROM deals CROSS JOIN LATERAL jsonb_to_recordset(deals.passages)
  AS p (stage text, month date, after text, seconds bigint)) AS f"""


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """How deals went through one stage."""

    stage: str
    passed: int = 0
    dropped: int = 0
    returned: int = 0
    present: int = 0
    seconds: int = 0

    @property
    def left(self) -> int:
        """Stays that have ended."""
        return self.passed + self.dropped + self.returned

    @property
    def rate(self) -> Percent | None:
        """Of those that passed or dropped, how many passed."""
        closed = self.passed + self.dropped
        return Percent(round_div(self.passed * WHOLE.amount, closed)) if closed else None


async def pipeline(tx: Tx, name: str) -> Pipeline:
    """The pipeline of that name, or NOT_FOUND."""
    found = await AnalyticsStore.pipelines.last(tx, name)
    if found is None:
        raise Refused("NOT_FOUND", name=name)
    return found


async def standing(tx: Tx, name: str, currency: str) -> tuple[dict[str, dict[str, Any]], str, list[str]]:
    """Open deals by stage in one currency, that currency, and which others there are."""
    limits, values = scope.condition(tx.call, DEALS)
    text = _STAGES.format(currency=currency_of("f.amount_currency"), scope=limits)
    rows = await tx.rows(text, [tx.call.tenant, name, *values])
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["currency"]] = counts.get(row["currency"], 0) + row["deals"]
    chosen = currency or await main_currency(tx, counts)
    others = sorted(counts.keys() - {chosen})
    return {row["stage"]: row for row in rows if row["currency"] == chosen}, chosen, others


async def statistics(tx: Tx, of: Pipeline, since: date = date.min) -> dict[str, Statistic]:
    """Conversion and time in stage, for every stage of the pipeline."""
    limits, values = scope.condition(tx.call, DEALS)
    source = _OWN_PASSAGES if limits else "stage_passages AS f"
    rows = await tx.rows(
        _PASSAGES.format(source=source, scope=limits),
        [tx.call.tenant, of.name, since.replace(day=1), *values],
    )
    place = {stage.key: at for at, stage in enumerate(of.stages)}
    counts: dict[str, dict[str, int]] = {stage.key: {} for stage in of.stages}
    for row in rows:
        if row["stage"] in counts:
            at = place.get(row["after"], len(place))
            outcome = (
                "present" if not row["after"]
                else "dropped" if row["after"] in ("LOST", "TERMINATED")
                else "passed" if at > place[row["stage"]] else "returned"
            )  # fmt: skip
            sums = counts[row["stage"]]
            sums[outcome] = sums.get(outcome, 0) + row["visits"]
            sums["seconds"] = sums.get("seconds", 0) + row["seconds"]
    return {stage: Statistic(stage=stage, **sums) for stage, sums in counts.items()}


def rungs(
    of: Pipeline,
    values: dict[str, dict[str, Any]],
    currency: str,
    history: dict[str, Statistic],
    own_rates: bool,
) -> list[Rung]:
    """The pipeline's stages as a forecast sees them."""
    steps = []
    for stage in of.stages:
        known = history[stage.key]
        days = (
            Fraction(known.seconds, 86_400 * known.left)
            if known.left
            else Fraction(stage.allowed_days or UNKNOWN_DAYS)
        )
        rate = known.rate if own_rates and known.rate is not None else stage.success_rate
        amount = values[stage.key]["amount"] if stage.key in values else 0
        steps.append(Rung(stage=stage.key, value=Money(amount, currency), rate=rate, days=days))
    return steps


async def funnel(tx: Tx, request: funnel_pb2.GetFunnelRequest, today: date) -> funnel_pb2.Funnel:
    """Customers, deals and value per stage, and which coming months are thin."""
    of = await pipeline(tx, request.pipeline)
    values, currency, others = await standing(tx, of.name, request.currency)
    steps = rungs(of, values, currency, await statistics(tx, of), own_rates=False)
    expected = ladder(steps, today)
    usual = await usual_month(tx, of.name, currency, today)
    if request.HasField("needed"):
        usual = read_money(request.needed, "needed")
        if usual.currency != currency:
            raise invalid("needed", f"must be in {currency}, as the funnel is")
    months = coverage(by_month(expected, today, len(steps), currency)[1:], usual)
    shown = funnel_pb2.Funnel(pipeline=of.name, title=of.title, currency=currency, other_currencies=others)
    for stage, step, one in zip(of.stages, steps, expected, strict=True):
        row = values.get(stage.key, {})
        shown.stages.add(
            stage=stage.key, title=stage.title, customers=row.get("customers", 0), deals=row.get("deals", 0),
            value=money_message(step.value), success_percent=_percent(step.rate),
            win_percent=_percent(one.win_rate), expected=money_message(one.amount),
        )  # fmt: skip
    for key in sorted(values.keys() - {stage.key for stage in of.stages}):
        row = values[key]  # of an earlier version of the pipeline: shown, without a rate to go by
        value = money_message(Money(row["amount"], currency))
        shown.stages.add(stage=key, title=key, customers=row["customers"], deals=row["deals"], value=value)
    for month in months:
        shown.months.add(
            month=date_message(month.month), expected=money_message(month.amount),
            usual=money_message(month.usual), missing=money_message(month.missing), thin=month.thin,
        )  # fmt: skip
    shown.warnings.extend(_warnings(of, steps, months, tx.call.locale))
    return shown


def _warnings(of: Pipeline, steps: Sequence[Rung], months: Sequence[Any], locale: str) -> list[Any]:
    """What to do about thin months: the ladder says which stage feeds which month."""
    warnings = []
    rates = win_rates(steps)
    for at, month in enumerate(months):
        if not month.thin:
            continue
        feeder = len(steps) - 1 - at
        rate = rates[feeder].amount
        exact = round_div(month.missing.amount * WHOLE.amount, rate) if rate else 0
        needed = Money(exact, month.amount.currency).rounded()
        title, when = of.stages[feeder].title, f"{month.month:%Y-%m}"
        sentence = (
            f"{when} 预计仅 {month.amount}，少于通常的 {month.usual}：需在“{title}”阶段补充 {needed}。"
            if locale.startswith("zh")
            else f"{when} is expected to bring {month.amount} instead of the usual {month.usual}:"
            f" {needed} more is needed in {title}."
        )
        warnings.append(
            funnel_pb2.CoverageWarning(
                month=date_message(month.month), missing=money_message(month.missing),
                stage=of.stages[feeder].key, value_needed=money_message(needed), sentence=sentence,
            )
        )  # fmt: skip
    return warnings


async def usual_month(tx: Tx, name: str, currency: str, today: date) -> Money:
    """What a month brought, on average of the last whole months."""
    question = Question(
        measures=MEASURES[Request.AMOUNT], values=VALUES[Request.AMOUNT], by_currency=False,
        where={"STATE": ["WON"], "PIPELINE": [name], "CURRENCY": [currency]},
        start=add_months(today, -USUAL_MONTHS), end=add_months(today, 0),
    )  # fmt: skip
    rows, _ = await ask(tx, question, SOURCES)
    return figures.average(Money(rows[0]["amount"] or 0, currency), USUAL_MONTHS) or Money.zero(currency)


async def pipeline_value(tx: Tx, request: funnel_pb2.GetPipelineValueRequest) -> funnel_pb2.PipelineValue:
    """What the open deals are worth, raw and weighted."""
    limits, values = scope.condition(tx.call, DEALS)
    shown = funnel_pb2.PipelineValue()
    for category, rows in (("f.category", shown.categories), ("''", shown.totals)):
        text = _VALUE.format(category=category, currency=currency_of("f.amount_currency"), scope=limits)
        for row in await tx.rows(text, [tx.call.tenant, request.pipeline, request.pipeline, *values]):
            rows.add(
                category=row["category"], deals=row["deals"],
                raw=money_message(Money(row["amount"], row["currency"])),
                weighted=money_message(figures.weighted(row["weighted"], row["currency"])),
            )  # fmt: skip
    return shown


async def stage_statistics(
    tx: Tx, request: funnel_pb2.GetStageStatisticsRequest
) -> funnel_pb2.StageStatistics:
    """Conversion and time in stage from own history."""
    of = await pipeline(tx, request.pipeline)
    since = (
        read_date(request.enter_from_date, "enter_from_date")
        if request.HasField("enter_from_date")
        else date.min
    )
    history = await statistics(tx, of, since)
    shown = funnel_pb2.StageStatistics(pipeline=of.name)
    for stage in of.stages:
        one = history[stage.key]
        shown.stages.add(
            stage=stage.key, title=stage.title, entered=one.left + one.present, passed=one.passed,
            dropped=one.dropped, returned=one.returned, present=one.present,
            success_percent=decimal(figures.rate(one.passed, one.passed + one.dropped)),
            average_days=decimal(_days(one)), stated_percent=_percent(stage.success_rate),
        )  # fmt: skip
    return shown


async def forecast(
    tx: Tx, request: funnel_pb2.GetLadderForecastRequest, today: date
) -> funnel_pb2.LadderForecast:
    """What the open deals will bring in the coming months, with the reckoning shown."""
    of = await pipeline(tx, request.pipeline)
    values, currency, others = await standing(tx, of.name, request.currency)
    steps = rungs(of, values, currency, await statistics(tx, of), request.rates == funnel_pb2.HISTORY)
    by_days = request.method == funnel_pb2.DURATIONS
    expected: list[Expected] = (durations if by_days else ladder)(steps, today)
    ahead = by_month(expected, today, request.months or len(steps), currency)
    later = Money(sum(one.amount.amount for one in expected) - sum(m.amount for _, m in ahead), currency)
    shown = funnel_pb2.LadderForecast(
        pipeline=of.name, currency=currency, other_currencies=others, later=money_message(later),
        method=funnel_pb2.DURATIONS if by_days else funnel_pb2.LADDER,
    )  # fmt: skip
    for month, amount in ahead if ahead[0][1] else ahead[1:]:
        shown.months.add(month=date_message(month), expected=money_message(amount))
    for stage, step, one in zip(of.stages, steps, expected, strict=True):
        shown.steps.add(
            stage=stage.key, title=stage.title, value=money_message(step.value),
            success_percent=_percent(step.rate), win_percent=_percent(one.win_rate),
            days=decimal(Decimal(round_div(step.days.numerator * 100, step.days.denominator)).scaleb(-2)),
            expected=money_message(one.amount), month=date_message(one.month),
        )  # fmt: skip
    return shown


def _days(one: Statistic) -> Decimal | None:
    return Decimal(round_div(one.seconds * 100, 86_400 * one.left)).scaleb(-2) if one.left else None


def _percent(value: Percent) -> decimal_pb2.Decimal:
    return decimal_pb2.Decimal(value=str(value))
