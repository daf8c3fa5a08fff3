"""What analytics keeps of an opportunity, and which cells of the read models it fills.

A deal is kept as it stands. When it changes, the cells it filled are emptied of it and the new ones are
filled, so that sums are right whatever happened between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from chassis.kernel.allocation import allocate
from chassis.kernel.values import Money, Percent
from services.analytics.domain.calendar import NO_MONTH, month_of
from services.analytics.domain.cells import Cell

NO_CHANCE = Percent(0)
CLOSED = frozenset({"WON", "LOST", "TERMINATED"})


@dataclass(frozen=True, kw_only=True)
class Share:
    """A product's part of a deal's amount, in ten-thousandths; the parts sum to the amount exactly."""

    product: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A deal's stay in a stage, as the opportunity tells it."""

    stage: str
    enter_time: datetime
    leave_time: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Passage:
    """How a stay in a stage ended. Whether that was forward or back, the pipeline says when it is asked."""

    stage: str
    month: date  # in which the deal entered
    after: str = ""  # the next stage, or WON, LOST, TERMINATED; empty while it stays
    seconds: int = 0  # how long it stayed; 0 while it stays


@dataclass(frozen=True, kw_only=True)
class Deal:
    """An opportunity as it stands."""

    name: str
    version: int
    customer: str = ""
    owner: str = ""
    team: str = ""
    collaborators: tuple[str, ...] = ()
    pipeline: str = ""
    stage: str = ""
    state: str = "OPEN"
    category: str = ""
    amount: Money
    probability: Percent = NO_CHANCE
    open_date: date | None = None
    close_date: date | None = None  # the actual day when closed, the expected one while open
    days: int | None = None  # from open to close, when closed with both days known
    shares: tuple[Share, ...] = ()
    passages: tuple[Passage, ...] = ()

    @property
    def month(self) -> date:
        """The month of the close day; what is not known has a month of its own."""
        return month_of(self.close_date) if self.close_date else NO_MONTH


def shares_of(amount: Money, lines: Iterable[tuple[str, int]]) -> tuple[Share, ...]:
    """The amount by product: in proportion to the lines' nets, by largest remainder, once per product."""
    nets: dict[str, int] = {}
    for product, net in lines:
        nets[product] = nets.get(product, 0) + net
    if not nets:
        nets = {"": 0}
    parts = allocate(amount.amount, list(nets.values()))
    return tuple(Share(product=product, amount=part) for product, part in zip(nets, parts, strict=True))


def passages_of(visits: Sequence[Visit], state: str) -> tuple[Passage, ...]:
    """How each stay in a stage went, the last one by the state the deal is in."""
    passages = []
    for visit, following in zip(visits, [*visits[1:], None], strict=False):
        after = following.stage if following else state if state in CLOSED else ""
        left = visit.leave_time or (following.enter_time if following else None)
        seconds = int((left - visit.enter_time).total_seconds()) if left and after else 0
        month = month_of(visit.enter_time.date())
        passages.append(Passage(stage=visit.stage, month=month, after=after, seconds=max(0, seconds)))
    return tuple(passages)


def cells(deal: Deal) -> Iterator[Cell]:
    """Every cell the deal fills."""
    where = {
        "month": deal.month, "state": deal.state, "pipeline": deal.pipeline, "stage": deal.stage,
        "owner": deal.owner, "team": deal.team, "currency": deal.amount.currency,
    }  # fmt: skip
    timed = {"days": deal.days or 0, "timed": int(deal.days is not None)}
    yield Cell("deals_by_month", where, {"deals": 1, "amount": deal.amount.amount, **timed})
    for part in deal.shares:
        key = {**where, "product": part.product}
        yield Cell("deals_by_product", key, {"deals": 1, "amount": part.amount, **timed})
    for one in deal.passages:
        key = {
            "month": one.month, "pipeline": deal.pipeline, "stage": one.stage, "after": one.after,
            "owner": deal.owner, "team": deal.team,
        }  # fmt: skip
        yield Cell("stage_passages", key, {"visits": 1, "seconds": one.seconds})
