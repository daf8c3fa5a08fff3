"""Contacts over gRPC: several people per customer, in the customer's hands."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from tradewind.customer.v1 import contact_pb2 as pb
from tradewind.customer.v1 import customer_pb2, events_pb2

from chassis.call import Call
from tests.customer.people import colleague, somebody
from tests.customer.test_customer_service import events_of, make
from tests.messages import money
from tests.platform import Caller, Running, refused

WAITING = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'contacts'::regclass"


async def person(caller: Caller, customer: customer_pb2.Customer, name: str = "Maria Anders") -> pb.Contact:
    return await caller.CreateContact(contact=pb.Contact(customer=customer.name, display_name=name))


@pytest.mark.req("CUS-02")
async def test_a_customer_has_several_people(customer: Running) -> None:
    me = somebody(customer)
    acme, other = await make(me, "Acme"), await make(me, "Other")
    await person(me, other, "Somebody else")
    given = pb.Contact(
        customer=acme.name, display_name="王芳", family_name="王", given_name="芳", job_title="采购经理",
        department="采购部", role=pb.Contact.BUDGET_HOLDER, emails=["wang@acme.example"],
        phones=["021-5555 0101"],
        preferred_channel=customer_pb2.Customer.CHAT, language="zh-CN", do_not_contact=True, note="喜欢茶",
    )  # fmt: skip
    made = await me.CreateContact(contact=given)
    await person(me, acme)
    found = await me.ListContacts(filter=f'customer = "{acme.name}"', order_by="create_time")
    assert [c.display_name for c in found.contacts] == ["王芳", "Maria Anders"]
    assert found.contacts[0] == made
    for field, value in given.ListFields():
        assert getattr(made, field.name) == value, field.name


async def test_a_contact_is_in_the_hands_of_its_customer(customer: Running) -> None:
    rep = somebody(customer, "own", team="teams/east")
    helper = colleague(customer, rep, team="teams/west")
    heir = colleague(customer, rep, team="teams/north")
    acme = await make(rep)
    first = await person(rep, acme)
    assert (first.owner, first.team) == (rep.user, "teams/east")
    await refused(helper.GetContact(name=first.name), "NOT_FOUND")
    await rep.SetCustomerCollaborators(name=acme.name, collaborators=[helper.user])
    assert (await helper.GetContact(name=first.name)).collaborators == [helper.user]
    second = await person(helper, acme, "Ana Trujillo")  # whoever works the customer adds people to it
    assert second.owner == rep.user
    await rep.TransferCustomer(name=acme.name, owner=heir.user, team="teams/north", reason="region")
    assert {c.name for c in (await heir.ListContacts()).contacts} == {first.name, second.name}
    await refused(rep.GetContact(name=first.name), "NOT_FOUND")


@pytest.mark.parametrize("way", ["created", "moved", "converted"])
async def test_who_joins_a_customer_that_is_being_given_away_goes_along(customer: Running, way: str) -> None:
    boss = somebody(customer)
    acme = await make(boss, "Acme")
    if way == "created":
        joins = person(boss, acme)
    elif way == "moved":
        mover = await person(boss, await make(boss, "Other"))
        joins = boss.UpdateContact(contact=pb.Contact(name=mover.name, customer=acme.name))
    else:
        told = {"company_name": "Acme", "person": "Maria Anders", "budget": money("1000")}
        lead = await boss.CreateLead(lead=told)
        await boss.QualifyLead(name=lead.name)
        joins = boss.ConvertLead(name=lead.name, customer=acme.name)
    call = Call(tenant=boss.tenant, user="services/customer", now=datetime.now(UTC))
    async with customer.store.begin(call) as tx:
        await tx.run("LOCK TABLE contacts IN SHARE MODE")  # the customer is read, the contact not yet kept
        joining = asyncio.create_task(joins)
        async with asyncio.timeout(20):
            while not await tx.rows(WAITING):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        gift = boss.TransferCustomer(name=acme.name, owner="users/heir", team="teams/north", reason="region")
        given = asyncio.create_task(gift)
        await asyncio.wait([given], timeout=0.3)
    await joining
    await given
    (found,) = (await boss.ListContacts(filter=f'customer = "{acme.name}"')).contacts
    assert (found.owner, found.team) == ("users/heir", "teams/north")


async def test_a_contact_put_away_does_not_come_back_to_old_hands(customer: Running) -> None:
    rep = somebody(customer, "own", team="teams/east")
    heir = colleague(customer, rep, team="teams/north")
    acme = await make(rep)
    someone = await person(rep, acme)
    await rep.DeleteContact(name=someone.name)
    await rep.TransferCustomer(name=acme.name, owner=heir.user, team="teams/north", reason="region")
    await refused(rep.UndeleteContact(name=someone.name), "NOT_FOUND")
    assert (await heir.UndeleteContact(name=someone.name)).owner == heir.user


async def test_a_contact_needs_a_customer_one_can_see(customer: Running) -> None:
    rep = somebody(customer, "own")
    hidden = await make(colleague(customer, rep))
    foreign = await make(somebody(customer))
    for acme in (hidden, foreign):
        facts = await refused(person(rep, acme), "REFERENCE_UNKNOWN")
        assert facts == {"field": "contact.customer", "name": acme.name}


async def test_a_person_who_changes_house_changes_hands(customer: Running) -> None:
    boss = somebody(customer)
    rep = colleague(customer, boss, team="teams/east")
    old, new = await make(boss, "Old"), await make(rep, "New")
    someone = await person(boss, old)
    moved = await boss.UpdateContact(contact=pb.Contact(name=someone.name, customer=new.name))
    assert (moved.customer, moved.owner, moved.team) == (new.name, rep.user, "teams/east")


async def test_a_customer_with_people_is_not_deleted(customer: Running) -> None:
    me = somebody(customer)
    acme = await make(me)
    someone = await person(me, acme)
    facts = await refused(me.DeleteCustomer(name=acme.name), "IN_USE")
    assert facts == {"name": acme.name, "by": someone.name}
    await me.DeleteContact(name=someone.name)
    await me.DeleteCustomer(name=acme.name)


async def test_what_happened_names_nobody(customer: Running) -> None:
    me = somebody(customer)
    acme = await make(me)
    await me.CreateContact(
        contact=pb.Contact(
            customer=acme.name, display_name="王芳", family_name="王", given_name="芳", salutation="王总",
            note="茶",
            emails=["wang@acme.example"], phones=["021-5555 0101"], job_title="采购经理",
        )
    )  # fmt: skip
    (said,) = await events_of(me, events_pb2.ContactCreated)
    assert (said.contact.customer, said.contact.job_title) == (acme.name, "采购经理")
    for field in ("display_name", "family_name", "given_name", "salutation", "note", "emails", "phones"):
        assert not getattr(said.contact, field), field
