"""What can be asked of deals: each method is one transaction, told in order."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from google.type import date_pb2, decimal_pb2
from tradewind.opportunity.v1 import events_pb2, opportunity_pb2

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import invalid
from chassis.rpc import Rpc
from chassis.shapes import Shape, money_message, read_date
from chassis.store import Tx
from services.opportunity.domain.history import ClosingSummary
from services.opportunity.domain.opportunity import Opportunity
from services.opportunity.domain.split import Split
from services.opportunity.rpc.pipeline import default_pipeline
from services.opportunity.store import currency_of_organization, deal_and_route, pipeline_named, route_of

show = Shape(Opportunity, opportunity_pb2.Opportunity)
shown_split = Shape(Split, opportunity_pb2.Split)
A_DAY = timedelta(days=1)  # somewhere it is still yesterday, elsewhere already tomorrow


class OpportunityRpc(Rpc):
    """Deals, from their opening to their end."""

    service = "tradewind.opportunity.v1.OpportunityService"
    shape = show

    async def admit(self, tx: Tx, record: Opportunity, before: Opportunity | None) -> Opportunity:
        """A new deal is opened; a changed one is priced and weighed again."""
        if before is None:
            return await open_deal(tx, record)
        return record.revised(before, await route_of(tx, before))

    async def AdvanceOpportunity(self, request: Any, call: Call) -> Any:
        """In another stage."""
        _, at = business_day(request, "advance_date", call)
        async with self.store.begin(call) as tx:
            deal, route = await deal_and_route(tx, request.name, request.etag)
            advanced = tx.save(deal.advance(route, request.stage, at=at, by=call.user))
            tx.emit(events_pb2.OpportunityAdvanced(opportunity=show(advanced), previous_stage=deal.stage))
            return tx.reply(show(advanced))

    async def MoveOpportunity(self, request: Any, call: Call) -> Any:
        """In another pipeline, or in the present version of its own."""
        async with self.store.begin(call) as tx:
            deal = await tx.get(Opportunity, request.name, etag=request.etag)
            pipeline = await pipeline_named(tx, request.pipeline or deal.pipeline)
            pipeline.admit(deal.team)
            moved = tx.save(deal.move(pipeline.route(), request.stage, at=call.now, by=call.user))
            tx.emit(
                events_pb2.OpportunityMoved(
                    opportunity=show(moved), previous_pipeline=deal.pipeline, previous_stage=deal.stage
                )
            )
            return tx.reply(show(moved))

    async def CheckOpportunityItem(self, request: Any, call: Call) -> Any:
        """With a checklist item ticked off."""
        async with self.store.begin(call) as tx:
            deal, route = await deal_and_route(tx, request.name, request.etag)
            ticked = tx.save(deal.tick(route, request.item, undo=request.undo, at=call.now, by=call.user))
            tx.emit(events_pb2.OpportunityUpdated(opportunity=show(ticked)))
            return tx.reply(show(ticked))

    async def SetOpportunitySplits(self, request: Any, call: Call) -> Any:
        """With the quota credit of its win divided in advance."""
        splits = tuple(
            shown_split.read(split, f"splits[{index}]") for index, split in enumerate(request.splits)
        )
        async with self.store.begin(call) as tx:
            deal = await tx.get(Opportunity, request.name, etag=request.etag)
            divided = tx.save(deal.share_credit(splits))
            tx.emit(events_pb2.OpportunityUpdated(opportunity=show(divided)))
            return tx.reply(show(divided))

    async def AssignOpportunity(self, request: Any, call: Call) -> Any:
        """In other hands."""
        async with self.store.begin(call) as tx:
            deal = await tx.get(Opportunity, request.name, etag=request.etag)
            given = tx.save(
                deal.assign(
                    request.owner, request.team, without_team=request.without_team,
                    reason=request.reason, at=call.now, by=call.user,
                )
            )  # fmt: skip
            tx.emit(
                events_pb2.OpportunityTransferred(
                    opportunity=show(given), previous_owner=deal.owner, previous_team=deal.team
                )
            )
            return tx.reply(show(given))

    async def SuspendOpportunity(self, request: Any, call: Call) -> Any:
        """At rest."""
        async with self.store.begin(call) as tx:
            deal = await tx.get(Opportunity, request.name, etag=request.etag)
            rested = tx.save(deal.suspend(reason=request.reason, at=call.now, by=call.user))
            tx.emit(events_pb2.OpportunitySuspended(opportunity=show(rested)))
            return tx.reply(show(rested))

    async def ReactivateOpportunity(self, request: Any, call: Call) -> Any:
        """Going on after a rest."""
        async with self.store.begin(call) as tx:
            deal, route = await deal_and_route(tx, request.name, request.etag)
            active = tx.save(deal.reactivate(route, reason=request.reason, at=call.now, by=call.user))
            tx.emit(events_pb2.OpportunityReactivated(opportunity=show(active)))
            return tx.reply(show(active))

    async def WinOpportunity(self, request: Any, call: Call) -> Any:
        """Closed as won; everybody who shares in it is credited."""
        day, at = business_day(request, "close_date", call)
        async with self.store.begin(call) as tx:
            deal, route = await deal_and_route(tx, request.name, request.etag)
            won = tx.save(deal.win(route, summary_of(request, call), on=day, at=at))
            tx.emit(events_pb2.OpportunityWon(opportunity=show(won)))
            for credit in won.credits():
                tx.emit(
                    events_pb2.QuotaCredited(
                        opportunity=show(won),
                        user=credit.user,
                        percent=decimal_pb2.Decimal(value=str(credit.percent)),
                        amount=money_message(credit.amount),
                        credit_date=date_pb2.Date(year=day.year, month=day.month, day=day.day),
                    )
                )
            return tx.reply(show(won))

    async def LoseOpportunity(self, request: Any, call: Call) -> Any:
        """Closed as lost."""
        day, at = business_day(request, "close_date", call)
        summary = replace(summary_of(request, call), winning_competitor=request.winning_competitor)
        async with self.store.begin(call) as tx:
            deal = await tx.get(Opportunity, request.name, etag=request.etag)
            lost = tx.save(deal.lose(summary, on=day, at=at))
            tx.emit(events_pb2.OpportunityLost(opportunity=show(lost)))
            return tx.reply(show(lost))

    async def TerminateOpportunity(self, request: Any, call: Call) -> Any:
        """Ended for good."""
        day, at = business_day(request, "close_date", call)
        async with self.store.begin(call) as tx:
            deal = await tx.get(Opportunity, request.name, etag=request.etag)
            ended = tx.save(deal.terminate(summary_of(request, call), on=day, at=at))
            tx.emit(events_pb2.OpportunityTerminated(opportunity=show(ended)))
            return tx.reply(show(ended))

    async def ReopenOpportunity(self, request: Any, call: Call) -> Any:
        """Going on although it was lost."""
        async with self.store.begin(call) as tx:
            deal, route = await deal_and_route(tx, request.name, request.etag)
            again = tx.save(deal.reopen(route, reason=request.reason, at=call.now, by=call.user))
            tx.emit(events_pb2.OpportunityReopened(opportunity=show(again)))
            return tx.reply(show(again))

    async def ArchiveOpportunity(self, request: Any, call: Call) -> Any:
        """Put away."""
        async with self.store.begin(call) as tx:
            deal = await tx.get(Opportunity, request.name, etag=request.etag)
            archived = tx.save(deal.archive())
            tx.emit(events_pb2.OpportunityArchived(opportunity=show(archived)))
            return tx.reply(show(archived))

    async def PurgeOpportunity(self, request: Any, call: Call) -> Any:
        """Gone; its events stay."""
        async with self.store.begin(call) as tx:
            deal = await tx.get(Opportunity, request.name, etag=request.etag)
            deal.purge()
            tx.purge(deal)
            # The purge is one more version, though nothing is left to carry it.
            last = show(replace(deal, version=deal.version + 1))
            tx.emit(events_pb2.OpportunityPurged(opportunity=last))
            return tx.reply(last)


async def open_deal(tx: Tx, deal: Opportunity) -> Opportunity:
    """The deal as it begins: in its pipeline and stage, numbered, priced, in a currency."""
    call, series = tx.call, f"O-{tx.call.now:%Y}"
    taken = tx.number(series)
    valued = deal.currency or deal.amount.currency or deal.lines
    currency = None if valued else currency_of_organization(tx)
    pipeline = await pipeline_named(tx, deal.pipeline) if deal.pipeline else await default_pipeline(tx)
    pipeline.admit(deal.team or call.team)
    if currency:
        deal = replace(deal, currency=await currency)
    day, at = dated(deal.open_date, "open_date", call)
    opened = deal.priced().opened(pipeline.route(), on=day, at=at, by=call.actor or call.user)
    return replace(opened, number=f"{series}-{await taken:05d}")


def summary_of(request: Any, call: Call) -> ClosingSummary:
    """What a closing request tells about the end of the deal."""
    return ClosingSummary(outcome=request.outcome, lessons=request.lessons, by=call.user)


def business_day(request: Any, field: str, call: Call) -> tuple[date, datetime]:
    """The day a request says something happened, and the moment it counts from; today, when it says none."""
    said = read_date(getattr(request, field), field) if request.HasField(field) else None
    return dated(said, field, call)


def dated(day: date | None, field: str, call: Call) -> tuple[date, datetime]:
    """That day, or today, and the moment it counts from; setting a past one is a permission of its own."""
    today = call.today
    if day is None:
        return today, call.now
    if day > today + A_DAY:
        raise invalid(field, "must not be in the future")
    if day < today - A_DAY:
        call.require("records.backdate")
    return day, call.now if day >= today else datetime.combine(day, time(), UTC)
