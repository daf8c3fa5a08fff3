"""What the opportunity service does when something happens elsewhere."""

from __future__ import annotations

from datetime import date
from typing import Any

from google.type import date_pb2
from tradewind.access.v1 import events_pb2 as access_events_pb2
from tradewind.contract.v1 import events_pb2 as contract_events_pb2
from tradewind.customer.v1 import customer_pb2
from tradewind.customer.v1 import events_pb2 as customer_events_pb2
from tradewind.opportunity.v1 import events_pb2
from tradewind.type.v1 import types_pb2

from chassis.events import on
from chassis.kernel.pricing import Line
from chassis.shapes import Shape, read_date, read_money
from chassis.shares import end_shares
from chassis.store import Tx
from chassis.territories import know_territory
from services.opportunity.domain.opportunity import IN_PROGRESS, UNKNOWN, Opportunity
from services.opportunity.domain.pipeline import Pipeline
from services.opportunity.rpc.opportunity import open_deal, show
from services.opportunity.rpc.pipeline import default_pipeline
from services.opportunity.store import OpportunityStore

shown_line = Shape(Line, types_pb2.PriceLine)


@on(access_events_pb2.OrganizationCreated)
async def begin_the_organization(event: access_events_pb2.OrganizationCreated, tx: Tx) -> None:
    """A new organization can open deals at once: it has a default pipeline, and a currency for them."""
    _note_currency(event.organization.currency, tx)
    await default_pipeline(tx)


@on(access_events_pb2.OrganizationUpdated)
async def note_the_settings(event: access_events_pb2.OrganizationUpdated, tx: Tx) -> None:
    """Deals that name no currency are in the organization's."""
    _note_currency(event.organization.currency, tx)


def _note_currency(currency: str, tx: Tx) -> None:
    if currency:
        tx.put(OpportunityStore.settings, key={"name": "currency"}, values={"value": currency})


@on(customer_events_pb2.LeadConverted)
async def open_the_promised_deal(event: customer_events_pb2.LeadConverted, tx: Tx) -> None:
    """A converted lead becomes a deal under the name its conversion told: converting twice opens one."""
    lead = event.lead
    id = event.opportunity.removeprefix("opportunities/")
    if await tx.all(Opportunity, deleted=True, id=id):
        return
    deal = Opportunity(
        id=id,
        title=event.opportunity_title or lead.company_name or lead.number,
        customer=event.customer,
        contact=event.contact,
        amount=read_money(event.amount) if event.amount.currency_code else UNKNOWN,
        currency="" if event.amount.currency_code else event.currency,
        pipeline=await _pipeline_for(event.pipeline, lead.team, tx),
        expected_close_date=_still_ahead(event.expected_close_date, tx),
        source=customer_pb2.Customer.Source.Name(lead.source).lower().replace("_", " ")
        if lead.source
        else "",
        campaign=lead.campaign,
        source_lead=lead.name,
        needs=lead.wish,
        owner=lead.owner or tx.call.actor,
        team=lead.team,
        creator=tx.call.actor,
    )
    made = tx.add(await open_deal(tx, deal))
    tx.emit(events_pb2.OpportunityCreated(opportunity=show(made)))


async def _pipeline_for(name: str, team: str, tx: Tx) -> str:
    """The pipeline the conversion wished for; none, so the default, where the deal may not follow it."""
    found = await tx.find(Pipeline, id=name.removeprefix("pipelines/")) if name else None
    return name if found and (not found.teams or team in found.teams) else ""


def _still_ahead(day: date_pb2.Date, tx: Tx) -> date | None:
    """The day the customer means to decide, unless it went by while the lead waited."""
    said = read_date(day, "expected_close_date") if day.year else None
    return said if said and said >= tx.call.today else None


@on(contract_events_pb2.QuoteAccepted)
async def note_the_accepted_quote(event: contract_events_pb2.QuoteAccepted, tx: Tx) -> None:
    """The deal is worth what the customer accepted; one that is closed already stays as it was."""
    quote = event.quote
    if not quote.opportunity:
        return
    deal = await tx.find(Opportunity, id=quote.opportunity.removeprefix("opportunities/"))
    if deal is None or deal.state not in IN_PROGRESS or deal.accepted_quote == quote.name:
        return
    lines = tuple(shown_line.read(line, f"lines[{index}]") for index, line in enumerate(quote.lines))
    quoted = tx.save(deal.quoted(quote.name, read_money(quote.totals.net), lines))
    tx.emit(events_pb2.OpportunityUpdated(opportunity=show(quoted)))


@on(access_events_pb2.UserDisabled)
async def end_shares_of_a_user(event: access_events_pb2.UserDisabled, tx: Tx) -> None:
    await end_shares(tx, event.user.name)


@on(access_events_pb2.TeamDeleted)
async def end_shares_of_a_team(event: access_events_pb2.TeamDeleted, tx: Tx) -> None:
    await end_shares(tx, event.team.name)


@on(
    customer_events_pb2.CustomerCreated,
    customer_events_pb2.CustomerUpdated,
    customer_events_pb2.CustomerPlaced,
)
async def follow_the_territory(event: Any, tx: Tx) -> None:
    """What names a customer lies in the customer's territory."""
    know_territory(tx, OpportunityStore.customer_territories, event.customer)
