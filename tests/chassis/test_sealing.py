"""Personal values: sealed wherever they lie, bound to their place, found by what nobody can read back."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tradewind.customer.v1 import contact_pb2, customer_pb2, lead_pb2

from chassis import answers
from chassis.call import new_id
from chassis.personal import keys, sealing
from chassis.shapes import Shape
from services.customer.domain.contact import Contact
from services.customer.store import CustomerStore
from tests.platform import Caller, Running, refused

CANARIES = ("Ottilie Kanarek", "ottilie@kanarek.example", "+49 451 7700 4711", "Frau Dr.", "hates geese")


async def someone(me: Caller, **said: Any) -> contact_pb2.Contact:
    """A customer with one person who says everything."""
    house = await me.CreateCustomer(
        customer=customer_pb2.Customer(display_name=f"House {new_id()[-6:]}", country_code="DE")
    )
    person = {
        "customer": house.name, "display_name": CANARIES[0], "emails": [CANARIES[1]], "phones": [CANARIES[2]],
        "salutation": CANARIES[3], "note": CANARIES[4],
    } | said  # fmt: skip
    made: contact_pb2.Contact = await me.CreateContact(contact=contact_pb2.Contact(**person))
    return made


def below(service: Running, statement: str, *params: Any) -> list[tuple[Any, ...]]:
    """What the tables hold, of all organizations."""
    with psycopg.connect(service.owner_url) as db:
        done = db.execute(statement, params)
        return done.fetchall() if done.description else []


async def test_nothing_personal_is_kept_as_it_was_written(customer: Running) -> None:
    me = customer.as_("sales_manager")
    made = await someone(me)
    assert (await me.GetContact(name=made.name)) == made
    for table in ("contacts", "answers", "outbox", "blind_index", "sagas", "parked_events"):
        rows = below(customer, f"SELECT t::text FROM {table} t WHERE tenant_id = %s", me.tenant)
        kept = "".join(row[0] for row in rows)
        for canary in CANARIES:
            for form in (canary, canary.encode().hex(), canary.casefold()):
                assert form not in kept, f"{canary} in {table}"
    assert below(customer, "SELECT count(*) FROM answers WHERE tenant_id = %s", me.tenant)[0][0] >= 2


@pytest.mark.parametrize("what", ["row", "column", "organization", "older"])
async def test_a_sealed_value_opens_in_its_own_place_alone(customer: Running, what: str) -> None:
    me = customer.as_("sales_manager")
    mine = await someone(me, emails=[f"{new_id()}@a.example"], note="one")
    other = await someone(customer.as_("sales_manager") if what == "organization" else me, note="two")
    id_, other_id = mine.name.partition("/")[2], other.name.partition("/")[2]
    if (
        what == "older"
    ):  # what stood there before belongs to its place: a version that came back is a backup's
        kept = below(customer, "SELECT note FROM contacts WHERE id = %s", id_)[0][0]
        await me.UpdateContact(contact=contact_pb2.Contact(name=mine.name, note="newer"))
        below(customer, "UPDATE contacts SET note = %s WHERE id = %s", kept, id_)
        assert (await me.GetContact(name=mine.name)).note == "one"
        return
    source = "salutation" if what == "column" else "note"
    whose = id_ if what == "column" else other_id
    # With the other's key at hand as well, it is still bound to its place.
    below(
        customer, f"UPDATE contacts c SET note = o.{source}, person_key = o.person_key,"
        " salutation = CASE WHEN c.id = o.id THEN c.salutation ELSE '' END FROM contacts o"
        " WHERE o.id = %s AND c.id = %s", whose, id_,
    )  # fmt: skip
    facts = await refused(me.GetContact(name=mine.name), "SEALED_VALUE_BROKEN")
    assert facts["name"] == mine.name
    await refused(me.ListContacts(filter=f'name = "{mine.name}"'), "SEALED_VALUE_BROKEN")


@pytest.mark.parametrize("damage", ["flipped", "cut", "plain", "no key", "another generation"])
async def test_a_damaged_value_is_refused_and_never_shown(customer: Running, damage: str) -> None:
    me = customer.as_("sales_manager")
    made = await someone(me)
    id_ = made.name.partition("/")[2]
    note = below(customer, "SELECT note FROM contacts WHERE id = %s", id_)[0][0]
    at = random.Random(damage).randrange(12, len(note) - 4)
    values = {
        "flipped": ("note", note[:at] + ("A" if note[at] != "A" else "B") + note[at + 1 :]),
        "cut": ("note", note[:-8]),
        "plain": ("note", "written past the service"),
        "no key": ("person_key", None),
        "another generation": ("note", note[:1] + "AQAAAAk" + note[8:]),
    }
    column, value = values[damage]
    below(customer, f"UPDATE contacts SET {column} = %s WHERE id = %s", value, id_)
    await refused(me.GetContact(name=made.name), "SEALED_VALUE_BROKEN")


async def test_people_are_found_by_phone_mail_and_words_of_their_name(customer: Running) -> None:
    me = customer.as_("sales_manager")
    ottilie = await someone(me)
    wang = await someone(
        me, display_name="王晓芳", emails=["Wang@Example.cn"], phones=["0086 (21) 5555-0100 x12"]
    )

    async def found(filter: str) -> set[str]:
        return {one.name for one in (await me.ListContacts(filter=filter)).contacts}

    for filter in ('emails : "OTTILIE@kanarek.example"', 'emails = "ottilie@kanarek.example"',
                   'phones : "0049451-77004711"', 'display_name : "kanarek"',
                   'display_name : "Kanarek ottilie"',
                   'display_name = "ottilie  KANAREK"', 'NOT emails : "wang@example.cn"'):  # fmt: skip
        assert await found(filter) == {ottilie.name}, filter
    for filter in ('phones : "+86 21 5555 0100"', 'display_name : "晓芳"', 'display_name : "王"',
                   'emails : "wang@example.cn"'):  # fmt: skip
        assert await found(filter) == {wang.name}, filter
    assert await found('display_name : "kana"') == set() == await found('display_name = "Ottilie"')
    assert await found('emails : "kanarek.example"') == set()
    stranger = customer.as_("sales_manager")
    assert not (await stranger.ListContacts(filter='emails : "ottilie@kanarek.example"')).contacts
    await me.UpdateContact(contact=contact_pb2.Contact(name=ottilie.name, emails=["new@kanarek.example"]))
    assert await found('emails : "ottilie@kanarek.example"') == set()
    assert (
        await found('emails : "new@kanarek.example"')
        == {ottilie.name}
        == await found('phones : "4945177004711"')
    )
    lead = await me.CreateLead(
        lead=lead_pb2.Lead(person="Li Wei", email="li@wei.example", phone="021-5555 0199")
    )
    for filter in ('email = "LI@wei.example"', 'phone = "02155550199"', 'person : "wei"', 'email != ""'):
        assert [one.name for one in (await me.ListLeads(filter=filter)).leads] == [lead.name], filter
    assert not (await me.ListLeads(filter='email = ""')).leads


@pytest.mark.parametrize(
    ("filter", "says"),
    [
        ('email : "wei"', "finds the whole value"),
        ('phone > "1"', "finds the whole value"),
        ('person != "Li"', "finds the whole value"),
        ('phone = "no digits"', "words"),
    ],
)
async def test_what_a_sealed_field_cannot_answer_is_refused_with_what_works(
    customer: Running, filter: str, says: str
) -> None:
    me = customer.as_("sales_manager")
    facts = await refused(me.ListLeads(filter=filter), "FILTER_INVALID")
    assert says in facts["problem"]
    for filter in ('note : "geese"', 'given_name = "Ottilie"', 'salutation = "Frau"'):
        assert (
            "cannot be searched"
            in (await refused(me.ListContacts(filter=filter), "FILTER_INVALID"))["problem"]
        )
    facts = await refused(me.ListContacts(order_by="display_name"), "ORDER_INVALID")
    assert "encrypted" in facts["problem"]


async def test_the_index_looks_nobody_up_by_reading_all(customer: Running) -> None:
    me = customer.as_("sales_manager")
    await someone(me)
    async with customer.store.begin(_call(me)) as tx:
        await tx.rows("SELECT set_config('enable_seqscan', 'off', true) AS off")
        plan = await tx.rows(
            "EXPLAIN SELECT record FROM blind_index WHERE tenant_id = %s AND field = %s AND digest = ANY(%s)",
            [me.tenant, "contacts.emails", ["x"]],
        )
    said = "\n".join(row["QUERY PLAN"] for row in plan)
    assert "digest = ANY" in said.partition("Index Cond")[2] and "Rows Removed" not in said, said


async def test_the_first_to_seal_in_an_organization_may_be_many(customer: Running) -> None:
    me = customer.as_("sales_manager")
    made = await asyncio.gather(
        *(
            me.CreateLead(lead=lead_pb2.Lead(person=f"Person {n}", email=f"p{n}@many.example"))
            for n in range(12)
        )
    )
    assert len({one.number for one in made}) == 12
    assert below(customer, "SELECT generation FROM data_keys WHERE tenant_id = %s", me.tenant) == [(1,)]
    assert len((await me.ListLeads(filter='person : "person"')).leads) == 12


async def test_a_repeated_answer_is_whole_as_long_as_its_person_has_a_key(customer: Running) -> None:
    me = customer.as_("sales_manager")
    once = new_id()
    house = await me.CreateCustomer(customer=customer_pb2.Customer(display_name="H", emails=["a@b.example"]))
    asked = contact_pb2.CreateContactRequest(
        contact=contact_pb2.Contact(customer=house.name, display_name="Ottilie", phones=["+49 1"]),
        request_id=once,
    )
    made = await me.CreateContact(asked)
    again = await me.service.method("CreateContact", me.token)(asked)
    assert again == made
    below(customer, "UPDATE contacts SET person_key = NULL WHERE id = %s", made.name.partition("/")[2])
    bare = await me.service.method("CreateContact", me.token)(asked)
    assert (bare.name, bare.customer, bare.etag) == (made.name, made.customer, made.etag)
    assert not bare.display_name and not bare.phones


def test_a_message_and_its_personal_part_are_the_message_again() -> None:
    lead = lead_pb2.ConvertLeadResponse(
        lead=lead_pb2.Lead(name="leads/1", person="A", wish="w"),
        contact=contact_pb2.Contact(name="contacts/1", display_name="A", emails=["a", "b"]),
        customer=customer_pb2.Customer(
            name="customers/1", display_name="C", addresses=[customer_pb2.Customer.Address(street="A")]
        ),
    )
    rest, part = answers.apart(lead)
    assert b"A" not in rest.SerializeToString() and not rest.contact.emails and not rest.customer.addresses
    assert type(lead).FromString(rest.SerializeToString() + part.SerializeToString()) == lead
    assert answers.names_in(lead) == ["leads/1", "customers/1", "contacts/1"]
    assert answers.is_personal(lead) and not answers.is_personal(lead_pb2.Lead(wish="w"))


def test_a_personal_field_that_would_be_kept_open_stops_the_process() -> None:
    show = Shape(Contact, contact_pb2.Contact)
    declared = CustomerStore.contacts.sealed
    sealing.check_declared(show, declared)
    with pytest.raises(SystemExit, match="keeps phones unsealed"):
        sealing.check_declared(show, {k: v for k, v in declared.items() if k != "phones"})
    with pytest.raises(SystemExit, match="seals job_title: not personal"):
        sealing.check_declared(show, declared | {"job_title": None})


def test_a_master_key_wraps_and_a_former_one_still_opens(tmp_path: Path) -> None:
    path = tmp_path / "x.master"
    keys.make_master(path)
    assert path.stat().st_mode & 0o777 == 0o600
    first = keys.FileMaster(path)
    wrapped = first.wrap(b"k" * 32, b"about")
    keys.make_master(path)  # nothing is made that is there
    assert first.unwrap(wrapped, b"about") == b"k" * 32 and first.is_current(wrapped)
    with pytest.raises(sealing.Broken):
        first.unwrap(wrapped, b"about another")
    keys.make_master(path, another=True)
    second = keys.FileMaster(path)
    assert second.unwrap(wrapped, b"about") == b"k" * 32 and not second.is_current(wrapped)
    newer = second.wrap(b"n" * 32, b"about")
    assert first.unwrap(newer, b"about") == b"n" * 32  # it hears of the new one when it meets it
    with pytest.raises(SystemExit, match="cannot be read"):
        keys.FileMaster(tmp_path / "none")


def _call(me: Caller) -> Any:
    from chassis.call import Call

    return Call(tenant=me.tenant, user=me.user)
