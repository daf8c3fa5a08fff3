"""Retention rules at work: previewed, warned of, carried out batch by batch, held by what is still needed."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from tradewind.customer.v1 import events_pb2
from tradewind.customer.v1 import retention_rule_pb2 as pb
from tradewind.customer.v1 import retention_run_pb2 as run_pb

from chassis.call import Call
from chassis.kernel.refusals import Refused
from services.customer import jobs
from tests.customer.people import somebody
from tests.customer.test_customer_service import events_of, make
from tests.messages import money
from tests.platform import Caller, Platform, Running, refused, settle

Case = pb.RetentionCase


@pytest_asyncio.fixture
async def others(platform: Platform) -> dict[str, Running]:
    """The services that are asked whether they still need somebody."""
    names = ("customer", "opportunity", "contract", "inventory")
    return {name: await platform.service(name) for name in names}


async def rule_of(me: Caller, subject: str, months: int = 12, **more: Any) -> pb.RetentionRule:
    rule = {"display_name": subject, "subject": subject, "months": months} | more
    return await me.CreateRetentionRule(retention_rule=rule)


async def enabled(me: Caller, subject: str, months: int = 12, **more: Any) -> pb.RetentionRule:
    return await me.EnableRetentionRule(name=(await rule_of(me, subject, months, **more)).name)


def grown_old(customer: Running, *names: str, days: int = 800) -> None:
    """Nothing has happened with these for so many days."""
    with psycopg.connect(customer.owner_url, autocommit=True) as db:
        for name in names:
            table, _, key = name.partition("/")
            past = f"UPDATE {table} SET update_time = now() - interval '{days} days' WHERE id = %s"
            db.execute(past, (key,))


async def carried_out(customer: Running, me: Caller, days: float = 0, seconds: float = 60) -> None:
    """A turn of the job for this organization alone, so many days from now."""
    await jobs.carry_out_retention(customer.store, Call(
        tenant=me.tenant, user="services/customer", cause="job:carry_out_retention",
        now=datetime.now(UTC) + timedelta(days=days), deadline=time.monotonic() + seconds,
        clients=customer.runtime.clients,
    ))  # fmt: skip


async def report(me: Caller, rule: pb.RetentionRule) -> run_pb.RetentionRun:
    """The newest."""
    found = await me.ListRetentionRuns(filter=f'rule = "{rule.name}"', order_by="create_time desc")
    return found.retention_runs[0]


def counts(run: run_pb.RetentionRun) -> tuple[int, ...]:
    return run.examined, run.erased, run.warned, run.waiting, run.held


async def leads_of(me: Caller, count: int, **more: Any) -> list[str]:
    made = [await me.CreateLead(lead={"person": f"Hans Maier {n}"} | more) for n in range(count)]
    return [lead.name for lead in made]


async def test_a_rule_does_nothing_until_it_is_switched_on(
    customer: Running, others: dict[str, Running]
) -> None:
    me = somebody(customer)
    (lead,) = await leads_of(me, 1)
    grown_old(customer, lead)
    rule = await rule_of(me, "UNTOUCHED_LEADS")
    assert (rule.state, rule.books_months) == (pb.RetentionRule.DISABLED, 120)
    await carried_out(customer, me)
    assert (await me.GetLead(name=lead)).person == "Hans Maier 0"
    assert (await me.ListRetentionRuns()).retention_runs == []
    preview = await me.PreviewRetentionRule(name=rule.name)
    assert [(case.person, case.outcome) for case in preview.cases] == [(lead, Case.ERASED)]
    await me.EnableRetentionRule(name=rule.name)
    facts = await refused(me.UpdateRetentionRule(retention_rule={"name": rule.name, "months": 1}),
                          "STATE_FORBIDS")  # fmt: skip
    assert facts["state"] == "ENABLED"
    await refused(me.DeleteRetentionRule(name=rule.name), "STATE_FORBIDS")
    other = await rule_of(me, "DISQUALIFIED_LEADS")
    assert (await me.UpdateRetentionRule(retention_rule={"name": other.name, "months": 30})).months == 30
    await me.DeleteRetentionRule(name=other.name)
    assert [one.name for one in (await me.ListRetentionRules()).retention_rules] == [rule.name]
    await carried_out(customer, me)
    gone = await me.GetLead(name=lead)
    assert gone.person == "" and gone.HasField("erase_time")
    run = await report(me, rule)
    assert (run.state, counts(run)) == (run_pb.RetentionRun.DONE, (1, 1, 0, 0, 0))


@pytest.mark.req("X-60")
async def test_the_preview_is_what_the_run_does_batch_by_batch(
    customer: Running, others: dict[str, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "BATCH", 2)
    me = somebody(customer)
    old, new = await leads_of(me, 5), await leads_of(me, 2, person="Ann")
    tomorrow = (datetime.now(UTC) + timedelta(days=2)).date()
    day = {"year": tomorrow.year, "month": tomorrow.month, "day": tomorrow.day}
    await me.UpdateLead(lead={"name": old[2], "next_follow_up_date": day})
    grown_old(customer, *old)
    rule = await rule_of(me, "UNTOUCHED_LEADS")
    first = await me.PreviewRetentionRule(name=rule.name, page_size=3)
    rest = await me.PreviewRetentionRule(name=rule.name, page_size=3, page_token=first.next_page_token)
    assert (first.candidates, rest.candidates, rest.next_page_token) == (5, 5, "")
    cases = [*first.cases, *rest.cases]
    assert [case.person for case in cases] == old
    assert [case.person for case in cases if case.outcome == Case.HELD] == [old[2]]
    await me.EnableRetentionRule(name=rule.name)
    await carried_out(customer, me, seconds=jobs.MARGIN - 1)  # a turn that is over before it began
    assert (await me.ListRetentionRuns()).retention_runs == []
    await carried_out(customer, me)
    run = await report(me, rule)
    assert counts(run) == (5, 4, 0, 0, 1)
    assert [(case.person, case.hold) for case in run.held_cases] == [(old[2], Case.FOLLOW_UP)]
    people = {lead.name: lead.person for lead in (await me.ListLeads()).leads}
    assert [people[name] for name in old] == ["", "", "Hans Maier 2", "", ""]
    assert [people[name] for name in new] == ["Ann", "Ann"]
    told = [type(said).__name__ for kind in (events_pb2.RetentionRunStarted, events_pb2.RetentionRunAdvanced,
            events_pb2.RetentionRunEnded) for said in await events_of(me, kind)]  # fmt: skip
    assert told == [
        "RetentionRunStarted",
        "RetentionRunAdvanced",
        "RetentionRunAdvanced",
        "RetentionRunEnded",
    ]


async def test_a_run_that_was_broken_off_goes_on_where_it_was(
    customer: Running, others: dict[str, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "BATCH", 2)
    me = somebody(customer)
    leads = await leads_of(me, 5)
    grown_old(customer, *leads)
    rule = await enabled(me, "UNTOUCHED_LEADS")
    asked, forget = list[str](), jobs.forget

    async def dies(tx: Any, person: Any) -> Any:
        asked.append(person.id)
        if len(asked) == 4:
            raise ConnectionError("the process was killed")
        return await forget(tx, person)

    monkeypatch.setattr(jobs, "forget", dies)
    with pytest.raises(ConnectionError):
        await carried_out(customer, me)
    run = await report(me, rule)  # the batch at hand was not half done
    assert (run.state, counts(run)) == (run_pb.RetentionRun.RUNNING, (2, 2, 0, 0, 0))
    left = [lead for lead in leads if (await me.GetLead(name=lead)).person]
    assert left == leads[2:]
    await carried_out(customer, me)
    after = await report(me, rule)
    assert (after.name, after.state, counts(after)) == (run.name, run_pb.RetentionRun.DONE, (5, 5, 0, 0, 0))
    await carried_out(customer, me)  # once a day
    assert (await report(me, rule)).name == run.name
    await carried_out(customer, me, days=1)
    again = await report(me, rule)
    assert (again.name != run.name, counts(again)) == (True, (0, 0, 0, 0, 0))


async def test_a_rule_that_is_switched_off_takes_nobody_more(
    customer: Running, others: dict[str, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "BATCH", 1)
    me = somebody(customer)
    leads = await leads_of(me, 3)
    grown_old(customer, *leads)
    rule, forget = await enabled(me, "UNTOUCHED_LEADS"), jobs.forget

    async def then_off(tx: Any, person: Any) -> Any:
        await me.DisableRetentionRule(name=rule.name)
        return await forget(tx, person)

    monkeypatch.setattr(jobs, "forget", then_off)
    await carried_out(customer, me)
    run = await report(me, rule)
    assert (run.state, counts(run)) == (run_pb.RetentionRun.STOPPED, (1, 1, 0, 0, 0))
    assert [bool((await me.GetLead(name=lead)).person) for lead in leads] == [False, True, True]


async def test_nobody_is_forgotten_who_was_not_warned_of(
    customer: Running, others: dict[str, Running]
) -> None:
    me = somebody(customer)
    quiet, woken = await leads_of(me, 2)
    grown_old(customer, quiet, woken)
    rule = await enabled(me, "UNTOUCHED_LEADS", warn_days=30)
    await carried_out(customer, me)
    assert counts(await report(me, rule)) == (2, 0, 2, 0, 0)
    told = await events_of(me, events_pb2.RetentionWarned)
    assert {said.person for said in told} == {quiet, woken}
    assert all(said.forget_time.ToDatetime() > datetime.now() + timedelta(days=29) for said in told)
    await carried_out(customer, me, days=1)
    assert counts(await report(me, rule)) == (2, 0, 0, 2, 0)
    await me.UpdateLead(lead={"name": woken, "description": "called back"})
    await carried_out(customer, me, days=31)
    assert counts(await report(me, rule)) == (1, 1, 0, 0, 0)
    assert not (await me.GetLead(name=quiet)).person
    assert (await me.GetLead(name=woken)).person


async def test_whom_others_still_need_is_held_and_it_is_said_by_what(
    customer: Running, others: dict[str, Running]
) -> None:
    me = somebody(customer)
    deals, papers = (
        others[name].as_("administrator", tenant=me.tenant) for name in ("opportunity", "contract")
    )
    names = ("deal", "unpaid", "nothing")
    private = {}
    for word in names:
        person = {"kind": "PERSON", "display_name": word, "currency": "CNY"}
        private[word] = (await me.CreateCustomer(customer=person)).name
    await settle(*others.values())
    deal = await deals.CreateOpportunity(opportunity={
        "title": "Chairs", "customer": private["deal"], "amount": money(100), "currency": "CNY"})  # fmt: skip
    line = {"description": "chair", "quantity": {"value": "1"}, "unit_price": money(10)}
    invoice = await papers.CreateInvoice(
        invoice={"customer": private["unpaid"], "currency": "CNY", "lines": [line]}
    )
    await papers.PostInvoice(name=invoice.name)
    grown_old(customer, *private.values())
    rule = await enabled(me, "INACTIVE_PRIVATE_CUSTOMERS")
    await carried_out(customer, me)
    run = await report(me, rule)
    assert counts(run) == (3, 1, 0, 0, 2)
    held = {case.person: (case.hold, case.record) for case in run.held_cases}
    assert held == {
        private["deal"]: (Case.OPEN_DEAL, deal.name),
        private["unpaid"]: (Case.UNPAID_INVOICE, invoice.name),
    }
    for word, name in private.items():
        kept = await me.GetCustomer(name=name)
        assert (kept.display_name == word) is (word != "nothing")
    payment = {"customer": private["unpaid"], "amount": invoice.totals.total}
    made = await papers.CreatePayment(payment=payment)
    await papers.AllocatePayment(
        name=made.name, allocations=[{"invoice": invoice.name, "amount": invoice.totals.total}]
    )
    await deals.LoseOpportunity(name=deal.name, outcome="too dear", winning_competitor="Sitwell")
    preview = await me.PreviewRetentionRule(name=rule.name)  # the deal is over; the books have to be kept
    assert {case.person: case.hold for case in preview.cases} == {
        private["deal"]: Case.HOLD_UNSPECIFIED, private["unpaid"]: Case.BOOKS,
    }  # fmt: skip


async def test_contacts_are_kept_as_long_as_their_customer_is_active(
    customer: Running, others: dict[str, Running]
) -> None:
    me = somebody(customer)
    active, quiet = await make(me, "Active"), await make(me, "Quiet")
    contacts = {}
    for acme in (active, quiet):
        made = await me.CreateContact(contact={"customer": acme.name, "display_name": "Maria Anders"})
        contacts[acme.name] = made.name
    await me.CreateConsent(consent={
        "person": contacts[quiet.name], "purpose": "MARKETING", "channel": "EMAIL", "decision": "GIVEN",
        "evidence": "Maria said so"})  # fmt: skip
    grown_old(customer, quiet.name, *contacts.values())
    rule = await enabled(me, "INACTIVE_CONTACTS")
    await carried_out(customer, me)
    assert counts(await report(me, rule)) == (1, 1, 0, 0, 0)
    assert (await me.GetContact(name=contacts[active.name])).display_name == "Maria Anders"
    assert (await me.GetContact(name=contacts[quiet.name])).display_name == ""
    (entry,) = (await me.ListConsents(filter=f'person = "{contacts[quiet.name]}"')).consents
    assert entry.evidence == "" and entry.HasField("erase_time")


async def test_nobody_is_forgotten_on_a_guess(
    customer: Running, others: dict[str, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    me = somebody(customer)
    acme = await make(me)
    someone = await me.CreateContact(contact={"customer": acme.name, "display_name": "Maria Anders"})
    grown_old(customer, acme.name, someone.name)
    rule = await enabled(me, "INACTIVE_CONTACTS")
    clients = customer.runtime.clients
    here = dict(clients.addresses)
    monkeypatch.setattr(clients, "_channels", type(clients._channels)({}, None))
    monkeypatch.setattr(clients, "_stubs", {})
    with pytest.raises(Refused, match="UNAVAILABLE"):
        await carried_out(customer, me)
    assert (await me.GetContact(name=someone.name)).display_name == "Maria Anders"
    clients._channels.addresses.update(here)
    await carried_out(customer, me)
    assert counts(await report(me, rule)) == (1, 1, 0, 0, 0)
    await clients.close()


async def test_who_is_spoken_to_meanwhile_is_left(
    customer: Running, others: dict[str, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    me = somebody(customer)
    (lead,) = await leads_of(me, 1)
    grown_old(customer, lead)
    rule, ask = await enabled(me, "UNTOUCHED_LEADS"), jobs.held_by_others

    async def and_somebody_calls(*asked: Any) -> Any:
        await me.UpdateLead(lead={"name": lead, "description": "called back"})
        return await ask(*asked)

    monkeypatch.setattr(jobs, "held_by_others", and_somebody_calls)
    await carried_out(customer, me)
    assert (await me.GetLead(name=lead)).person == "Hans Maier 0"
    assert counts(await report(me, rule)) == (0, 0, 0, 0, 0)


async def test_another_organizations_people_are_not_touched(
    customer: Running, others: dict[str, Running]
) -> None:
    me, they = somebody(customer), somebody(customer)
    (mine,), (theirs,) = await leads_of(me, 1), await leads_of(they, 1)
    grown_old(customer, mine, theirs)
    rule = await enabled(me, "UNTOUCHED_LEADS")
    await carried_out(customer, me)
    assert (await they.GetLead(name=theirs)).person == "Hans Maier 0"
    await refused(they.GetRetentionRule(name=rule.name), "NOT_FOUND")
    assert (await they.ListRetentionRuns()).retention_runs == []
