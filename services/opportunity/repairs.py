"""What the opportunity service takes back, or names, when a service it listens to was restored."""

from __future__ import annotations

from tradewind.access.v1 import organization_pb2
from tradewind.contract.v1 import quote_pb2
from tradewind.customer.v1 import customer_pb2, lead_pb2

from chassis.resync import Loss, after_restoring
from chassis.territories import follow_restored
from services.opportunity.domain.opportunity import Opportunity
from services.opportunity.store import OpportunityStore


@after_restoring("customer")
async def name_deals_without_their_lead(loss: Loss) -> None:
    """A deal of a lead that is not converted any more stays open; converted again, the lead has two."""
    for deal in await loss.changed(Opportunity):
        if not deal.source_lead:
            continue
        lead = await loss.ask("LeadService.GetLead", lead_pb2.GetLeadRequest(name=deal.source_lead))
        if lead is None or lead.state != lead_pb2.Lead.CONVERTED:
            async with loss.begin() as tx:
                what = "is gone" if lead is None else "is not converted"
                said = f"{deal.number} came from {deal.source_lead}, which {what}"
                loss.report(tx, tx.name(deal), "LOOK", said)


@after_restoring("contract")
async def name_deals_without_their_quote(loss: Loss) -> None:
    """A deal keeps the worth of a quote that is not accepted any more, until somebody says otherwise."""
    for deal in await loss.changed(Opportunity):
        if not deal.accepted_quote:
            continue
        quote = await loss.ask("QuoteService.GetQuote", quote_pb2.GetQuoteRequest(name=deal.accepted_quote))
        if quote is None or quote.state != quote_pb2.Quote.ACCEPTED:
            async with loss.begin() as tx:
                said = f"{deal.number} is worth what {deal.accepted_quote} says, which is not accepted"
                loss.report(tx, tx.name(deal), "LOOK", said)


@after_restoring("access")
async def use_the_currency_as_it_is(loss: Loss) -> None:
    """Deals that name no currency are in the one that the organization has now."""
    name = f"organizations/{loss.call.tenant}"
    request = organization_pb2.GetOrganizationRequest(name=name)
    organization = await loss.ask("OrganizationService.GetOrganization", request)
    async with loss.begin() as tx:
        if organization is None:
            loss.report(tx, name, "LOOK", "is gone; its deals are still here")
        elif organization.currency:
            values = {"value": organization.currency}
            tx.put(OpportunityStore.settings, key={"name": "currency"}, values=values)


@after_restoring("customer")
async def lie_where_customers_lie(loss: Loss) -> None:
    """Records are in the territories that their customers are in now."""
    await follow_restored(loss, OpportunityStore.customer_territories, customer_pb2.ListCustomersRequest)
