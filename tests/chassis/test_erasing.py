"""One record forgets its person: what was personal is gone for good, and what happened stays."""

from __future__ import annotations

import base64
from typing import Any

import psycopg
from google.protobuf.field_mask_pb2 import FieldMask
from tradewind.customer.v1 import contact_pb2, customer_pb2, lead_pb2
from tradewind.customer.v1 import events_pb2 as events

from chassis.call import Call, new_id
from chassis.personal.erasing import erase
from chassis.personal.keys import Keys
from chassis.personal.reseal import Reseal
from services.customer.domain.contact import Contact
from services.customer.domain.customer import Customer
from services.customer.domain.lead import Lead
from services.customer.store import CustomerStore
from tests.platform import Caller, Running, refused

NAME, MAIL, PHONE, NOTE = "Quirin Vergissmein", "quirin@vergiss.example", "+49 451 7700 9911", "fears swans"


def below(service: Running, statement: str, *params: Any) -> list[tuple[Any, ...]]:
    """What the tables hold, of all organizations."""
    with psycopg.connect(service.owner_url) as db:
        done = db.execute(statement, params)
        return done.fetchall() if done.description else []


async def forget(customer: Running, tenant: str, kind: Any, name: str) -> Any:
    """Erase one record, as the service itself does."""
    call = Call(tenant=tenant, user="services/customer", scope="all")
    async with customer.store.begin(call) as tx:
        return await erase(tx, await tx.get(kind, name, deleted=True))


async def quirin(me: Caller, **said: Any) -> contact_pb2.Contact:
    house = await me.CreateCustomer(customer=customer_pb2.Customer(display_name=f"House {new_id()[-6:]}"))
    person = {
        "customer": house.name, "display_name": NAME, "emails": [MAIL], "phones": [PHONE], "note": NOTE,
        "job_title": "Swan keeper",
    } | said  # fmt: skip
    made: contact_pb2.Contact = await me.CreateContact(
        contact=contact_pb2.Contact(**person), request_id=new_id()
    )
    return made


async def test_an_erased_record_reads_lists_and_says_so(customer: Running) -> None:
    me = customer.as_("sales_manager")
    made = await quirin(me)
    await forget(customer, me.tenant, Contact, made.name)
    found = await me.GetContact(name=made.name)
    assert found.HasField("erase_time") and found.customer == made.customer and found.owner == made.owner
    assert not (found.display_name or found.emails or found.phones or found.note or found.job_title)
    (listed,) = (await me.ListContacts(filter=f'customer = "{made.customer}"')).contacts
    assert listed == found
    assert [one.name for one in (await me.ListContacts(filter="erase_time != null")).contacts] == [made.name]
    for filter in (f'emails : "{MAIL}"', f'phones : "{PHONE}"', 'display_name : "quirin"'):
        assert not (await me.ListContacts(filter=filter)).contacts, filter
    history = await me.ListFieldChanges(name=made.name)
    assert len(history.changes) == 2


async def test_nothing_of_the_person_is_left_to_open(customer: Running) -> None:
    me = customer.as_("sales_manager")
    made = await quirin(me)
    id_ = made.name.partition("/")[2]
    ((key, sealed),) = below(customer, "SELECT person_key, note FROM contacts WHERE id = %s", id_)
    await forget(customer, me.tenant, Contact, made.name)
    for table in ("contacts", "answers", "outbox", "blind_index"):
        kept = "".join(row[0] for row in below(
            customer, f"SELECT t::text FROM {table} t WHERE tenant_id = %s", me.tenant))  # fmt: skip
        hidden = base64.b64encode(bytes(key)[4:]).decode()
        for canary in (NAME, MAIL, PHONE, NOTE, sealed[1:], bytes(key)[4:].hex(), hidden):
            assert canary not in kept and canary.encode().hex() not in kept, f"{canary} in {table}"
    assert below(customer, "SELECT person_key FROM contacts WHERE id = %s", id_) == [(None,)]
    assert below(customer, "SELECT 1 FROM blind_index WHERE record = %s", id_) == []
    # A sealed cell of an old backup, put back without its salt, is refused and not shown.
    below(customer, "UPDATE contacts SET note = %s WHERE id = %s", sealed, id_)
    await refused(me.GetContact(name=made.name), "SEALED_VALUE_BROKEN")


async def test_a_repeated_request_gets_its_answer_without_the_person(customer: Running) -> None:
    me = customer.as_("sales_manager")
    house = await me.CreateCustomer(customer=customer_pb2.Customer(display_name=f"House {new_id()[-6:]}"))
    again = {
        "contact": contact_pb2.Contact(customer=house.name, display_name=NAME, note=NOTE, department="Ponds"),
        "request_id": new_id(),
    }
    made = await me.CreateContact(**again)
    await forget(customer, me.tenant, Contact, made.name)
    said = await me.CreateContact(**again)
    assert said.name == made.name and said.department == "Ponds" and not said.display_name and not said.note


async def test_nothing_personal_is_written_there_again(customer: Running) -> None:
    me = customer.as_("sales_manager")
    made = await quirin(me)
    await forget(customer, me.tenant, Contact, made.name)
    facts = await refused(
        me.UpdateContact(
            contact=contact_pb2.Contact(name=made.name, emails=["new@vergiss.example"]),
            update_mask=FieldMask(paths=["emails"]),
        ),
        "PERSON_ERASED",
    )
    assert (facts["field"], facts["name"]) in (("emails", made.name), ("contact.emails", made.name))
    after = await me.UpdateContact(
        contact=contact_pb2.Contact(name=made.name, do_not_contact=True),
        update_mask=FieldMask(paths=["do_not_contact"]),
    )
    assert after.do_not_contact and after.HasField("erase_time")
    await me.DeleteContact(name=made.name)
    assert (await me.UndeleteContact(name=made.name)).HasField("erase_time")


async def test_it_is_told_without_the_person_and_once(customer: Running) -> None:
    me = customer.as_("sales_manager")
    made = await quirin(me)
    first = await forget(customer, me.tenant, Contact, made.name)
    assert await forget(customer, me.tenant, Contact, made.name) == first
    told = below(customer, "SELECT payload FROM outbox WHERE record = %s AND type LIKE %s",
                 made.name, "%ContactErased")  # fmt: skip
    assert len(told) == 1
    fact = events.ContactErased.FromString(told[0][0])
    assert fact.contact.name == made.name and fact.contact.HasField("erase_time")
    assert not fact.contact.display_name and not fact.contact.job_title


async def test_a_private_customer_goes_by_the_number_and_a_company_by_its_name(customer: Running) -> None:
    me = customer.as_("sales_manager")
    said = {
        "kind": customer_pb2.Customer.PERSON, "display_name": NAME, "legal_name": f"{NAME} jun.",
        "phones": [PHONE], "description": NOTE, "tags": ["swans"],
        "addresses": [customer_pb2.Customer.Address(street="Teichweg 1", city="Lübeck")],
        "needs": [customer_pb2.Customer.Need(text="a pond")],
    }  # fmt: skip
    person = await me.CreateCustomer(customer=customer_pb2.Customer(**said), allow_duplicate=True)
    house = await me.CreateCustomer(
        customer=customer_pb2.Customer(
            display_name=f"House {new_id()[-6:]}", emails=[MAIL],
            addresses=[customer_pb2.Customer.Address(street="Teichweg 1", city="Lübeck")],
        )
    )  # fmt: skip
    for one in (person, house):
        await forget(customer, me.tenant, Customer, one.name)
    found = await me.GetCustomer(name=person.name)
    assert found.display_name == person.number and not found.legal_name and not found.description
    assert not (found.phones or found.addresses or found.needs or found.tags)
    kept = "".join(row[0] for row in below(
        customer, "SELECT t::text FROM customers t WHERE tenant_id = %s", me.tenant))  # fmt: skip
    assert NAME not in kept and NAME.casefold() not in kept and "pond" not in kept
    renamed = me.UpdateCustomer(
        customer=customer_pb2.Customer(name=person.name, display_name=NAME),
        update_mask=FieldMask(paths=["display_name"]),
    )
    await refused(renamed, "PERSON_ERASED")
    company = await me.GetCustomer(name=house.name)
    assert company.display_name == house.display_name and not company.emails
    assert [(one.street, one.city) for one in company.addresses] == [("", "Lübeck")]
    assert (await me.LoseCustomer(name=person.name, reason="gone")).state == customer_pb2.Customer.LOST


async def test_facts_and_answers_do_not_say_who_a_private_customer_is(customer: Running) -> None:
    """Nobody has to erase what was never told; of a company the name is told."""
    me = customer.as_("sales_manager")
    said = {
        "display_name": NAME,
        "legal_name": f"{NAME} jun.",
        "description": NOTE,
        "website": "swans.example",
    }
    again = {
        "customer": customer_pb2.Customer(kind=customer_pb2.Customer.PERSON, **said),
        "allow_duplicate": True, "request_id": new_id(),
    }  # fmt: skip
    person = await me.CreateCustomer(**again)
    await me.UpdateCustomer(customer=customer_pb2.Customer(name=person.name, industry="Ponds"))
    house = await me.CreateCustomer(customer=customer_pb2.Customer(display_name="Schwanenwerder AG"))
    assert person.display_name == NAME and (await me.CreateCustomer(**again)) == person
    for table in ("outbox", "answers"):
        kept = "".join(row[0] for row in below(
            customer, f"SELECT t::text FROM {table} t WHERE tenant_id = %s", me.tenant))  # fmt: skip
        for text in said.values():
            assert text.encode().hex() not in kept and text not in kept, f"{text} in {table}"
        assert table == "answers" or house.display_name.encode().hex() in kept
    await forget(customer, me.tenant, Customer, person.name)
    assert not (await me.CreateCustomer(**again)).display_name


async def test_a_lead_keeps_its_company_and_its_score(customer: Running) -> None:
    me = customer.as_("sales_manager")
    made = await me.CreateLead(
        lead=lead_pb2.Lead(company_name="Swan & Co", person=NAME, email=MAIL, wish="a pond")
    )
    private = await me.CreateLead(lead=lead_pb2.Lead(person=NAME, wish=f"a pond for {NAME}"))
    for one in (made, private):
        await forget(customer, me.tenant, Lead, one.name)
    found = await me.GetLead(name=made.name)
    assert found.company_name == "Swan & Co" and found.wish == "a pond" and found.score == made.score
    assert not found.person and not found.email
    assert not (await me.GetLead(name=private.name)).wish


async def test_new_keys_leave_the_erased_alone(customer: Running) -> None:
    """Rotation neither stumbles over a row without a salt nor finds anything to bring back."""
    me = customer.as_("sales_manager")
    before, after, stays = [await quirin(me) for _ in range(3)]
    await forget(customer, me.tenant, Contact, before.name)
    with psycopg.connect(customer.owner_url, autocommit=True) as db:
        assert customer.store.keys is not None
        Reseal(db, CustomerStore, Keys(customer.store.keys.master), settle=0.1).rotate([me.tenant])
    await forget(customer, me.tenant, Contact, after.name)
    assert not (await me.GetContact(name=before.name)).note
    assert not (await me.GetContact(name=after.name)).note
    assert (await me.GetContact(name=stays.name)).note == NOTE
    found = (await me.ListContacts(filter=f'emails : "{MAIL}"')).contacts
    assert [one.name for one in found] == [stays.name]
