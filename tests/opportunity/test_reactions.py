"""What deals do when something happens elsewhere: exactly once, whatever was delivered how often."""

from __future__ import annotations

import pytest
from tradewind.access.v1 import events_pb2 as access_events
from tradewind.access.v1 import organization_pb2
from tradewind.contract.v1 import events_pb2 as contract_events
from tradewind.contract.v1 import quote_pb2
from tradewind.customer.v1 import customer_pb2, lead_pb2
from tradewind.customer.v1 import events_pb2 as customer_events
from tradewind.opportunity.v1 import opportunity_pb2, pipeline_pb2
from tradewind.type.v1 import types_pb2

from chassis.call import new_id
from tests.opportunity.people import boss, cny, day, deal, facts, percent
from tests.platform import Caller, Running, refused

Opportunity = opportunity_pb2.Opportunity


async def found_organization(service: Running, tenant: str, currency: str = "EUR") -> None:
    organization = organization_pb2.Organization(name=f"organizations/{tenant}", etag="1", currency=currency)
    await service.deliver(access_events.OrganizationCreated(organization=organization), tenant=tenant)


async def test_a_new_organization_has_a_pipeline_and_a_currency(opportunity: Running):
    chief = boss(opportunity)
    await found_organization(opportunity, chief.tenant)
    (pipeline,) = (await chief.ListPipelines()).pipelines
    assert (pipeline.is_default, len(pipeline.stages)) == (True, 3)
    made = await chief.CreateOpportunity(opportunity=Opportunity(title="Nobody knows yet"))
    assert (made.currency, made.amount.currency_code, made.pipeline) == ("EUR", "EUR", pipeline.name)


async def test_an_organization_whose_first_deal_came_first_keeps_that_pipeline(opportunity: Running):
    chief = boss(opportunity)
    made = await chief.CreateOpportunity(opportunity=deal())
    await found_organization(opportunity, chief.tenant)
    assert [found.name for found in (await chief.ListPipelines()).pipelines] == [made.pipeline]


def conversion(caller: Caller, **more) -> customer_events.LeadConverted:
    lead = lead_pb2.Lead(
        name=f"leads/{new_id()}",
        etag="4",
        number="L-000007",
        company_name="Nordlicht GmbH",
        wish="Quiet compressors",
        campaign="Spring fair",
        source=customer_pb2.Customer.REFERRAL,
        owner=caller.user,
        team="teams/north",
    )
    told = {
        "customer": f"customers/{new_id()}",
        "contact": f"contacts/{new_id()}",
        "opportunity_title": "Compressors",
        "amount": cny(70_000),
        "opportunity": f"opportunities/{new_id()}",
        "expected_close_date": day(2099, 6, 30),
    }
    return customer_events.LeadConverted(lead=lead, **(told | more))


async def test_a_converted_lead_becomes_a_deal_exactly_once(opportunity: Running):
    chief = boss(opportunity)
    event = conversion(chief)
    await opportunity.deliver(event, tenant=chief.tenant, actor=chief.user)
    await opportunity.deliver(event, tenant=chief.tenant, actor=chief.user)
    (made,) = (await chief.ListOpportunities()).opportunities
    assert made.name == event.opportunity
    assert (made.customer, made.contact, made.source_lead) == (event.customer, event.contact, event.lead.name)
    assert (made.title, made.amount, made.expected_close_date) == (
        "Compressors",
        cny(70_000),
        day(2099, 6, 30),
    )
    assert (made.owner, made.team, made.creator) == (chief.user, "teams/north", chief.user)
    assert (made.campaign, made.source, made.needs) == ("Spring fair", "referral", "Quiet compressors")
    assert [kind for kind, _ in await facts(chief)] == ["PipelineCreated", "OpportunityCreated"]


async def test_a_conversion_that_knows_little_still_opens_its_deal(opportunity: Running):
    chief = boss(opportunity)
    await found_organization(opportunity, chief.tenant)
    event = conversion(
        chief, opportunity_title="", pipeline=f"pipelines/{new_id()}", expected_close_date=None
    )
    event.ClearField("amount")
    await opportunity.deliver(event, tenant=chief.tenant)
    (made,) = (await chief.ListOpportunities()).opportunities
    assert (made.title, made.currency, made.amount.units) == ("Nordlicht GmbH", "EUR", 0)
    assert not made.HasField("expected_close_date")


def accepted(name: str, units: int) -> contract_events.QuoteAccepted:
    line = types_pb2.PriceLine(
        product="products/p1",
        quantity=percent("2"),
        unit_price=cny(units),
        net=cny(units * 2 - 10),
        tax=cny(0),
    )
    totals = types_pb2.Totals(
        gross=cny(units * 2), discount=cny(10), net=cny(units * 2 - 10), tax=cny(0), total=cny(units * 2 - 10)
    )
    quote = quote_pb2.Quote(
        name=f"quotes/{new_id()}", etag="5", opportunity=name, lines=[line], totals=totals, currency="CNY"
    )
    return contract_events.QuoteAccepted(quote=quote)


@pytest.mark.req("OPP-06")
async def test_an_accepted_quote_opens_the_gate_and_says_what_the_deal_is_worth(opportunity: Running):
    chief = boss(opportunity)
    stage = pipeline_pb2.Stage(
        key="offer",
        display_name="Offer",
        success_rate=percent("80"),
        gate=pipeline_pb2.Gate(accepted_quote=True),
    )
    pipeline = await chief.CreatePipeline(
        pipeline=pipeline_pb2.Pipeline(display_name="Quoted", stages=[stage])
    )
    made = await chief.CreateOpportunity(opportunity=deal(pipeline=pipeline.name))
    said = await refused(chief.WinOpportunity(name=made.name, outcome="Signed"), "STAGE_GATE_NOT_PASSED")
    assert said["unmet"] == "offer.accepted_quote"
    event = accepted(made.name, 500)
    await opportunity.deliver(event, tenant=chief.tenant)
    await opportunity.deliver(event, tenant=chief.tenant)
    quoted = await chief.GetOpportunity(name=made.name)
    assert (quoted.accepted_quote, quoted.amount, quoted.lines[0].net) == (
        event.quote.name,
        cny(990),
        cny(990),
    )
    assert int(quoted.etag) == int(made.etag) + 1
    assert (await chief.WinOpportunity(name=made.name, outcome="Signed")).amount == cny(990)


async def test_a_quote_accepted_after_the_end_changes_nothing(opportunity: Running):
    chief = boss(opportunity)
    made = await chief.CreateOpportunity(opportunity=deal())
    lost = await chief.LoseOpportunity(name=made.name, outcome="Price", winning_competitor="Acme")
    await opportunity.deliver(accepted(made.name, 500), tenant=chief.tenant)
    assert await chief.GetOpportunity(name=made.name) == lost
