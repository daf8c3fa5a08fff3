"""Leads over gRPC: followed up, scored, assigned, and converted exactly once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.type.date_pb2 import Date
from google.type.money_pb2 import Money
from tradewind.customer.v1 import contact_pb2, customer_pb2, events_pb2
from tradewind.customer.v1 import lead_pb2 as pb

from chassis.store import derived_id
from services.customer.domain.lead import LIFECYCLE, State
from tests.customer.people import PERMISSIONS, colleague, somebody
from tests.customer.test_customer_service import events_of, make
from tests.platform import Caller, Running, refused

STATE = pb.Lead.State
VERBS = {"start": "StartLead", "qualify": "QualifyLead", "disqualify": "DisqualifyLead",
         "reopen": "ReopenLead", "convert": "ConvertLead"}  # fmt: skip
REASON = {"disqualify": {"reason": "no money"}}
WAYS = {"NEW": [], "WORKING": ["start"], "QUALIFIED": ["qualify"], "CONVERTED": ["qualify", "convert"],
        "DISQUALIFIED": ["disqualify"]}  # fmt: skip


async def lead_of(caller: Caller, state: str = "NEW", **fields: Any) -> pb.Lead:
    """A lead in that state, by the shortest way there; with a currency for the deal that it may become."""
    given = {"company_name": "Acme", "budget": Money(currency_code="CNY", units=1000)} | fields
    made = await caller.CreateLead(lead=pb.Lead(**given))
    for verb in WAYS[state]:
        made = await getattr(caller, VERBS[verb])(name=made.name, **REASON.get(verb, {}))
    return made.lead if isinstance(made, pb.ConvertLeadResponse) else made


@pytest.mark.req("CUS-22")
async def test_a_lead_is_kept_with_its_source(customer: Running) -> None:
    me = somebody(customer, team="teams/east")
    made = await lead_of(
        me, person="Ann", source=customer_pb2.Customer.EXHIBITION, campaign="Spring fair", wish="40 chairs",
        external_id="CRM-1", next_follow_up_date=Date(year=2026, month=4, day=1),
    )  # fmt: skip
    assert (made.number, made.owner, made.team) == ("L-000001", me.user, "teams/east")
    assert await me.GetLead(name=made.name) == made
    found = await me.ListLeads(filter="source = EXHIBITION AND campaign:'fair'")
    assert [lead.name for lead in found.leads] == [made.name]
    assert (await refused(me.CreateLead(lead=pb.Lead(wish="?")), "FIELD_INVALID"))[
        "field"
    ] == "lead.company_name"
    taken = me.CreateLead(lead=pb.Lead(company_name="B", external_id="CRM-1"))
    assert (await refused(taken, "ALREADY_EXISTS"))["field"] == "external_id"


@pytest.mark.req("CUS-24")
async def test_the_likeliest_leads_come_first_with_their_reasons(customer: Running) -> None:
    me = somebody(customer)
    cold = await lead_of(me, company_name="Cold", budget=None)
    warm = await lead_of(
        me, company_name="Warm", person="Ann", phone="021-5555 0101", budget=None,
        role=contact_pb2.Contact.DECISION_MAKER,
    )  # fmt: skip
    found = await me.ListLeads(order_by="score desc")
    assert [(lead.company_name, lead.score) for lead in found.leads] == [("Warm", 55), ("Cold", 10)]
    assert sum(reason.points for reason in warm.score_reasons) == 55
    better = await me.UpdateLead(lead=pb.Lead(name=cold.name, budget=Money(currency_code="EUR", units=9)))
    assert better.score == 30


async def test_leads_to_follow_up_are_found_by_their_date(customer: Running) -> None:
    me = somebody(customer)
    for day in (1, 15, 28):
        await lead_of(me, company_name=f"Day {day}", next_follow_up_date=Date(year=2026, month=4, day=day))
    due = await me.ListLeads(filter="next_follow_up_date <= '2026-04-15'", order_by="next_follow_up_date")
    assert [lead.company_name for lead in due.leads] == ["Day 1", "Day 15"]


@pytest.mark.parametrize("verb", LIFECYCLE.steps)
@pytest.mark.parametrize("state", State)
async def test_the_lifecycle_is_that_of_the_table(customer: Running, state: State, verb: str) -> None:
    me = somebody(customer)
    before = await lead_of(me, state)
    allowed, target = LIFECYCLE.steps[verb]
    call = getattr(me, VERBS[verb])(name=before.name, **REASON.get(verb, {}))
    if state in allowed:
        after = await call
        after = after.lead if verb == "convert" else after
        assert (STATE.Name(after.state), after.etag) == (target, str(int(before.etag) + 1))
    else:
        assert (await refused(call, "STATE_FORBIDS"))["state"] == state
        assert await me.GetLead(name=before.name) == before


async def test_a_lead_is_given_to_somebody(customer: Running) -> None:
    boss = somebody(customer)
    rep = colleague(customer, boss, "own", team="teams/east")
    lead = await lead_of(boss)
    await refused(rep.GetLead(name=lead.name), "NOT_FOUND")
    given = await boss.AssignLead(name=lead.name, owner=rep.user, team="teams/east", reason="east is yours")
    assert (given.owner, given.team, given.state) == (rep.user, "teams/east", STATE.NEW)
    assert await rep.GetLead(name=lead.name) == given
    (said,) = await events_of(boss, events_pb2.LeadAssigned)
    assert (said.previous_owner, said.reason) == (boss.user, "east is yours")


async def test_a_converted_lead_is_history(customer: Running) -> None:
    me = somebody(customer)
    lead = await lead_of(me, "CONVERTED")
    await refused(me.UpdateLead(lead=pb.Lead(name=lead.name, wish="more")), "STATE_FORBIDS")
    await refused(me.AssignLead(name=lead.name, owner="users/x"), "STATE_FORBIDS")


async def test_a_lead_becomes_customer_contact_and_the_promise_of_a_deal(customer: Running) -> None:
    rep = somebody(customer, "own", team="teams/east")
    lead = await lead_of(
        rep, "QUALIFIED", person="Ann", email="ann@acme.example", role=contact_pb2.Contact.CHAMPION,
        wish="40 chairs", budget=Money(currency_code="EUR", units=9000), industry="Hotels",
        expected_close_date=Date(year=2026, month=6, day=30),
    )  # fmt: skip
    done = await rep.ConvertLead(name=lead.name, pipeline="pipelines/p1")
    opportunity = f"opportunities/{derived_id(lead.name, 'opportunity')}"
    assert (done.opportunity, done.lead.opportunity) == (opportunity, opportunity)
    assert (done.lead.customer, done.lead.contact) == (done.customer.name, done.contact.name)
    assert await rep.GetCustomer(name=done.customer.name) == done.customer
    assert await rep.GetContact(name=done.contact.name) == done.contact
    assert (done.customer.display_name, done.customer.industry, done.customer.owner) == (
        "Acme",
        "Hotels",
        rep.user,
    )
    assert (done.contact.display_name, done.contact.customer) == ("Ann", done.customer.name)
    (said,) = await events_of(rep, events_pb2.LeadConverted)
    assert said == events_pb2.LeadConverted(
        lead=said.lead, customer=done.customer.name, contact=done.contact.name, opportunity=opportunity,
        opportunity_title="Acme: 40 chairs", amount=Money(currency_code="EUR", units=9000), currency="EUR",
        pipeline="pipelines/p1", expected_close_date=Date(year=2026, month=6, day=30),
    )  # fmt: skip
    assert said.lead.state == STATE.CONVERTED
    assert not (said.lead.person or said.lead.email or said.lead.phone)
    assert [e.customer.name for e in await events_of(rep, events_pb2.CustomerCreated)] == [done.customer.name]


@pytest.mark.req("CUS-26")
async def test_the_promised_deal_is_opened_under_its_name(customer: Running, opportunity: Running) -> None:
    granted = dict.fromkeys((*PERMISSIONS, "opportunities.read"), "all")
    me = customer.as_(permissions=granted)
    lead = await lead_of(me, "QUALIFIED", wish="40 chairs", budget=Money(currency_code="EUR", units=9000))
    done = await me.ConvertLead(name=lead.name)
    (said,) = await events_of(me, events_pb2.LeadConverted)
    for _ in range(2):  # heard of twice, opened once
        await opportunity.deliver(said, tenant=me.tenant, actor=me.user)
    deal = await me.at(opportunity).GetOpportunity(name=done.opportunity)
    assert (deal.title, deal.customer, deal.amount.units) == ("Acme: 40 chairs", done.customer.name, 9000)
    assert (deal.owner, deal.source_lead) == (me.user, lead.name)


async def test_a_lead_is_converted_once_however_often_it_is_asked(customer: Running) -> None:
    me = somebody(customer)
    lead = await lead_of(me, "QUALIFIED", person="Ann")
    outcomes = await asyncio.gather(
        *(me.ConvertLead(name=lead.name) for _ in range(6)), return_exceptions=True
    )
    assert sum(isinstance(one, pb.ConvertLeadResponse) for one in outcomes) == 1
    await refused(me.ConvertLead(name=lead.name), "STATE_FORBIDS")
    assert len((await me.ListCustomers()).customers) == len((await me.ListContacts()).contacts) == 1
    assert len(await events_of(me, events_pb2.LeadConverted)) == 1


async def test_the_same_request_to_convert_gets_the_same_answer(customer: Running) -> None:
    me = somebody(customer)
    lead = await lead_of(me, "QUALIFIED")
    request = pb.ConvertLeadRequest(name=lead.name, request_id="7d2b5d3e-8a56-4c0c-8a43-6f1a3d1b9d01")
    assert await me.ConvertLead(request) == await me.ConvertLead(request)


async def test_a_lead_of_a_known_customer_joins_it(customer: Running) -> None:
    me = somebody(customer)
    known = await make(me, "ACME Inc", currency="USD")
    lead = await lead_of(me, "QUALIFIED", person="Ann")
    facts = await refused(me.ConvertLead(name=lead.name), "DUPLICATE_CUSTOMER")
    assert facts["other"] == known.name
    assert (await me.GetLead(name=lead.name)).state == STATE.QUALIFIED  # nothing is half done
    done = await me.ConvertLead(
        name=lead.name,
        customer=known.name,
        opportunity_title="Chairs",
        amount=Money(currency_code="USD", units=5),
    )
    assert (done.customer, done.contact.customer) == (known, known.name)
    assert len((await me.ListCustomers()).customers) == 1
    (said,) = await events_of(me, events_pb2.LeadConverted)
    assert (said.opportunity_title, said.amount.units, said.currency) == ("Chairs", 5, "USD")


async def test_a_lead_cannot_join_a_customer_its_owner_may_not_see(customer: Running) -> None:
    rep = somebody(customer, "own")
    hidden = await make(colleague(customer, rep), "Hidden")
    lead = await lead_of(rep, "QUALIFIED")
    facts = await refused(rep.ConvertLead(name=lead.name, customer=hidden.name), "REFERENCE_UNKNOWN")
    assert facts == {"field": "customer", "name": hidden.name}


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"amount": Money(units=5)}, "amount.currency_code"),
        ({"amount": Money(currency_code="EUR", units=-5)}, "amount"),
        ({"expected_close_date": Date(year=2026, month=13, day=1)}, "expected_close_date"),
        ({"pipeline": "stages/1"}, "pipeline"),
    ],
)
async def test_a_deal_that_cannot_be_is_not_promised(
    customer: Running, said: dict[str, Any], field: str
) -> None:
    me = somebody(customer)
    lead = await lead_of(me, "QUALIFIED")
    assert (await refused(me.ConvertLead(name=lead.name, **said), "FIELD_INVALID"))["field"] == field
    assert await me.GetLead(name=lead.name) == lead


async def test_joining_a_customer_reaches_as_far_as_reading_one(customer: Running) -> None:
    boss = somebody(customer)
    hidden = await make(boss, "Hidden")
    granted = {"leads.read": "all", "leads.write": "all", "leads.convert": "all", "customers.read": "own"}
    converter = customer.as_(permissions=granted, tenant=boss.tenant)
    lead = await lead_of(converter, "QUALIFIED")
    facts = await refused(converter.ConvertLead(name=lead.name, customer=hidden.name), "REFERENCE_UNKNOWN")
    assert facts["name"] == hidden.name


async def test_converting_needs_the_right_to_make_customers(customer: Running) -> None:
    me = somebody(customer, lacking=("customers.write",))
    lead = await lead_of(me, "QUALIFIED")
    facts = await refused(me.ConvertLead(name=lead.name), "PERMISSION_DENIED")
    assert facts == {"permission": "customers.write"}
