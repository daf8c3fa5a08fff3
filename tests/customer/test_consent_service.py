"""The consent log over gRPC: what stands is carried by the person, found by filters and explained."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from tradewind.customer.v1 import consent_pb2 as pb
from tradewind.customer.v1 import contact_pb2, events_pb2

from chassis.call import Call
from chassis.field_rules import FieldRules
from services.customer.domain.consent import MOST_ENTRIES
from services.customer.domain.contact import Contact
from services.customer.rpc.consent_log import forget
from tests.customer.people import colleague, somebody
from tests.customer.test_customer_service import events_of, make
from tests.platform import Caller, Running, refused

ASKED = {"purpose": "MARKETING", "channel": "EMAIL"}
BUDGET = {"currency_code": "CNY", "units": 100}


async def maria(me: Caller, **more: Any) -> contact_pb2.Contact:
    acme = await make(me, f"{more.get('display_name', 'Acme')} Ltd")
    return await me.CreateContact(
        contact={"customer": acme.name, "display_name": "Maria Anders"} | more
    )  # fmt: skip


async def say(me: Caller, person: str, decision: str = "GIVEN", **more: Any) -> pb.Consent:
    return await me.CreateConsent(consent={"person": person, "decision": decision} | ASKED | more)


async def reasons(me: Caller, *people: str, **asked: Any) -> list[str]:
    answer = await me.CheckContactPermission(people=people, **(ASKED | asked))
    for each in answer.permissions:
        assert each.allowed is (each.reason == pb.ContactPermission.GIVEN)
    assert [each.person for each in answer.permissions] == list(people)
    return [pb.ContactPermission.Reason.Name(each.reason) for each in answer.permissions]


@pytest.mark.req("X-60")
async def test_what_somebody_agrees_to_stands_with_them_until_they_take_it_back(customer: Running) -> None:
    me = somebody(customer)
    someone = await maria(me)
    given = await say(
        me, someone.name, source="WEB_FORM", evidence="ticked at the fair", wording="newsletter form, v4"
    )
    assert (given.creator, given.basis, given.evidence) == (me.user, pb.Consent.CONSENT, "ticked at the fair")
    (stands,) = (await me.GetContact(name=someone.name)).consents
    assert (stands.decision, stands.consent) == (pb.Consent.GIVEN, given.name)
    assert stands.decide_time == given.decide_time == given.create_time
    taken = await say(me, someone.name, "WITHDRAWN", source="PHONE_CALL")
    (stands,) = (await me.GetContact(name=someone.name)).consents
    assert (stands.decision, stands.consent) == (pb.Consent.WITHDRAWN, taken.name)
    log = await me.ListConsents(filter=f'person = "{someone.name}"')
    assert [entry.name for entry in log.consents] == [given.name, taken.name]
    assert log.consents[0] == given


async def test_told_late_it_stands_in_the_log_and_changes_nothing(customer: Running) -> None:
    me = somebody(customer)
    someone = await maria(me)
    await say(me, someone.name)
    before = await me.GetContact(name=someone.name)
    late = await say(
        me, someone.name, "WITHDRAWN", decide_time=datetime.now(UTC) - timedelta(days=30), source="LETTER"
    )
    assert await me.GetContact(name=someone.name) == before
    assert late.create_time.ToDatetime() - late.decide_time.ToDatetime() > timedelta(days=29)


async def test_of_two_told_at_once_neither_is_forgotten(customer: Running) -> None:
    me = somebody(customer)
    someone = await maria(me)
    channels = ["EMAIL", "PHONE", "SMS", "POST", "MESSENGER"]
    await asyncio.gather(*(say(me, someone.name, channel=channel) for channel in channels))
    stands = (await me.GetContact(name=someone.name)).consents
    assert [pb.Consent.Channel.Name(each.channel) for each in stands] == sorted(channels)


async def test_whom_one_may_write_to_is_found_and_explained(customer: Running) -> None:
    me = somebody(customer)
    people = [(await maria(me, display_name=f"Person {n}")).name for n in range(5)]
    yes, no, _never, over, alone = people
    now = datetime.now(UTC)
    for name in (yes, no, alone):
        await say(me, name)
    await say(me, no, "WITHDRAWN")
    await say(me, over, decide_time=now - timedelta(days=9), expire_time=now - timedelta(days=1))
    await me.UpdateContact(contact={"name": alone, "do_not_contact": True})
    found = await me.ListContacts(filter='may_contact = "MARKETING/EMAIL"')
    assert [contact.name for contact in found.contacts] == [yes]
    rest = await me.ListContacts(filter='NOT may_contact = "MARKETING/EMAIL"')
    assert {contact.name for contact in rest.contacts} == set(people) - {yes}
    assert (await me.ListContacts(filter='may_contact = "MARKETING/SMS"')).contacts == []
    said = await reasons(me, *people, f"contacts/{me.tenant}")
    assert said == ["GIVEN", "WITHDRAWN", "NEVER_GIVEN", "EXPIRED", "OBJECTED", "UNKNOWN"]
    await me.DeleteContact(name=yes)
    assert await reasons(me, yes) == ["UNKNOWN"]


@pytest.mark.parametrize("asked", ["MARKETING", "PROFILING/EMAIL", "marketing/email", "MARKETING/FAX", ""])
async def test_a_question_that_makes_no_sense_is_refused(customer: Running, asked: str) -> None:
    await refused(somebody(customer).ListContacts(filter=f'may_contact = "{asked}"'), "FILTER_INVALID")


async def test_who_does_not_see_what_was_agreed_cannot_ask_for_it(customer: Running) -> None:
    me = somebody(customer)
    for field in ("consents", "do_not_contact"):
        blind = colleague(customer, me, "all", fields=FieldRules({f"contacts.{field}": "HIDDEN"}))
        await refused(blind.ListContacts(filter='may_contact = "MARKETING/EMAIL"'), "FIELD_RESTRICTED")


async def test_leads_and_private_customers_agree_too_and_companies_do_not(customer: Running) -> None:
    me = somebody(customer)
    lead = await me.CreateLead(lead={"person": "Hans Maier"})
    private = await me.CreateCustomer(customer={"kind": "PERSON", "display_name": "王雪梅"})
    for name in (lead.name, private.name):
        await say(me, name)
        assert await reasons(me, name) == ["GIVEN"]
    assert len((await me.ListLeads(filter='may_contact = "MARKETING/EMAIL"')).leads) == 1
    assert len((await me.ListCustomers(filter='may_contact = "MARKETING/EMAIL"')).customers) == 1
    company, nobody = await make(me), await me.CreateLead(lead={"company_name": "Acme"})
    for name in (company.name, nobody.name):
        facts = await refused(say(me, name), "FIELD_INVALID")
        assert facts["field"] == "consent.person"


async def test_a_converted_lead_takes_along_what_was_agreed(customer: Running) -> None:
    me = somebody(customer)
    lead = await me.CreateLead(lead={"person": "Hans Maier", "email": "hans@maier.example", "budget": BUDGET})
    first = await say(me, lead.name, decide_time=datetime.now(UTC) - timedelta(days=3), evidence="card")
    await say(me, lead.name, purpose="PROFILING", channel=None)
    await say(me, lead.name, "WITHDRAWN", purpose="PROFILING", channel=None)
    stood = (await me.GetLead(name=lead.name)).consents
    await me.QualifyLead(name=lead.name)
    made = await me.ConvertLead(name=lead.name)
    for person in (made.contact, made.customer):
        log = (await me.ListConsents(filter=f'person = "{person.name}"', order_by="decide_time")).consents
        assert len(log) == 3
        assert (log[0].origin, log[0].evidence) == (first.name, "card")
        assert [(s.purpose, s.decision, s.decide_time) for s in person.consents] == [
            (s.purpose, s.decision, s.decide_time) for s in stood
        ]
        assert {s.consent for s in person.consents} <= {entry.name for entry in log}
        assert await reasons(me, person.name) == ["GIVEN"]


async def test_an_objection_is_taken_along_too(customer: Running) -> None:
    me = somebody(customer)
    lead = await me.CreateLead(lead={"person": "Hans Maier", "do_not_contact": True, "budget": BUDGET})
    await say(me, lead.name)
    await me.QualifyLead(name=lead.name)
    made = await me.ConvertLead(name=lead.name)
    assert made.contact.do_not_contact and made.customer.do_not_contact
    assert await reasons(me, made.contact.name, made.customer.name) == ["OBJECTED", "OBJECTED"]


async def test_the_log_is_seen_and_written_by_who_reaches_the_person(customer: Running) -> None:
    rep = somebody(customer, "own")
    other, foreign = colleague(customer, rep), somebody(customer)
    someone = await maria(rep)
    entry = await say(rep, someone.name)
    for stranger in (other, foreign):
        await refused(stranger.GetConsent(name=entry.name), "NOT_FOUND")
        assert (await stranger.ListConsents()).consents == []
        facts = await refused(say(stranger, someone.name), "REFERENCE_UNKNOWN")
        assert facts == {"field": "consent.person", "name": someone.name}
        assert await reasons(stranger, someone.name) == ["UNKNOWN"]
    await rep.TransferCustomer(name=someone.customer, owner=other.user, reason="region")
    assert (await other.ListConsents()).consents == [entry]
    await refused(rep.GetConsent(name=entry.name), "NOT_FOUND")


async def test_what_happened_tells_nothing_personal(customer: Running) -> None:
    me = somebody(customer)
    someone = await maria(me)
    await say(me, someone.name, evidence="Maria Anders told us on 021-5555 0101")
    (said,) = await events_of(me, events_pb2.ConsentCreated)
    assert said.consent.person == someone.name
    assert not said.consent.evidence
    (told,) = await events_of(me, events_pb2.ContactUpdated)
    assert len(told.contact.consents) == 1


async def test_of_a_person_forgotten_it_stays_known_that_something_was_agreed(customer: Running) -> None:
    me = somebody(customer)
    someone = await maria(me)
    entry = await say(me, someone.name, evidence="Maria Anders told us on 021-5555 0101")
    call = Call(tenant=me.tenant, user=me.user)
    async with customer.store.begin(call) as tx:
        await forget(tx, await tx.get(Contact, someone.name))
    left = await me.GetConsent(name=entry.name)
    assert left.evidence == "" and left.HasField("erase_time")
    assert (left.person, left.purpose, left.decision, left.decide_time) == (
        someone.name, entry.purpose, entry.decision, entry.decide_time,
    )  # fmt: skip
    kept = await me.GetContact(name=someone.name)
    assert kept.HasField("erase_time") and [stands.consent for stands in kept.consents] == [entry.name]
    assert await reasons(me, someone.name) == ["ERASED"]
    await refused(say(me, someone.name), "PERSON_ERASED")
    async with customer.store.begin(call) as tx:  # a second time it is no other
        await forget(tx, await tx.get(Contact, someone.name))
    assert await me.GetConsent(name=entry.name) == left


async def test_a_log_is_not_filled_without_end(customer: Running) -> None:
    me = somebody(customer)
    someone = await maria(me)
    given = await say(me, someone.name)
    with psycopg.connect(customer.owner_url, autocommit=True) as db:
        columns = [
            row[0] for row in db.execute(
                "SELECT quote_ident(column_name) FROM information_schema.columns"
                " WHERE table_name = 'consents' AND column_name NOT IN ('id', 'decide_time')"
            )
        ]  # fmt: skip
        listed = ", ".join(columns)
        db.execute(
            f"INSERT INTO consents (id, decide_time, {listed})"
            f" SELECT n::text, decide_time - n * interval '1 day', {listed} FROM consents,"
            " generate_series(2, %s) n WHERE id = %s",
            (MOST_ENTRIES, given.name.rpartition("/")[2]),
        )
    facts = await refused(say(me, someone.name, "WITHDRAWN"), "TOO_MANY_CONSENTS")
    assert facts == {"name": someone.name, "limit": str(MOST_ENTRIES)}


@pytest.mark.parametrize(
    "change", ["UPDATE consents SET decision = 'GIVEN'", "UPDATE consents SET decide_time = now()",
               "UPDATE consents SET person = 'contacts/x'", "DELETE FROM consents"],
)  # fmt: skip
async def test_not_even_the_tables_owner_changes_what_was_said(customer: Running, change: str) -> None:
    me = somebody(customer)
    entry = await say(me, (await maria(me)).name, "WITHDRAWN")
    with psycopg.connect(customer.owner_url) as db, pytest.raises(psycopg.errors.RaiseException):
        db.execute(f"{change} WHERE tenant_id = %s", (me.tenant,))
    assert await me.GetConsent(name=entry.name) == entry
