"""Who a private customer is lies sealed in a table where companies lie open, and is found all the same."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.type.date_pb2 import Date
from tradewind.customer.v1 import customer_pb2

from chassis import filters, migrate
from chassis.call import new_id
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.personal.keys import SEALED, Ring
from chassis.personal.veil import Veil, check_veiled
from services.customer.domain.customer import Customer, Kind
from services.customer.store import CustomerStore
from tests.chassis.test_reseal import Kept, call
from tests.chassis.test_reseal import kept as kept
from tests.chassis.test_sealing import below
from tests.platform import Caller, Running, refused

PERSON = customer_pb2.Customer.PERSON
TAX_ID = "DE 136 695 976"
PRIVATE: dict[str, Any] = {
    "kind": PERSON, "display_name": "Rohrdommel Birkenau", "legal_name": "Wilhelmine Birkenau",
    "tax_id": TAX_ID, "country_code": "DE", "website": "rohrdommel.example", "founding_year": 1961,
    "description": "feeds only sunflower seeds",
    "needs": [customer_pb2.Customer.Need(text="a nesting box")],
    "history": [customer_pb2.Customer.Fact(text="moved to the pond", date=Date(year=2024, month=3, day=1))],
}  # fmt: skip
WORDS = ("Birkenau", "Wilhelmine", "136695976", "rohrdommel", "1961", "sunflower", "nesting", "pond")


async def customer_of(me: Caller, **said: Any) -> customer_pb2.Customer:
    made: customer_pb2.Customer = await me.CreateCustomer(customer=customer_pb2.Customer(**said))
    return made


async def found(me: Caller, filter: str, order_by: str = "") -> list[str]:
    """The numbers of the customers that a filter finds."""
    listed = await me.ListCustomers(filter=filter, order_by=order_by)
    return [one.number for one in listed.customers]


@pytest.mark.req("SEC-05")
async def test_no_table_says_who_a_private_customer_is(customer: Running) -> None:
    me = customer.as_("sales_manager")
    made = await customer_of(me, **PRIVATE)
    assert (made.display_name, made.founding_year, made.needs[0].text) == (
        PRIVATE["display_name"], 1961, "a nesting box",
    )  # fmt: skip
    assert await me.GetCustomer(name=made.name) == made
    assert (await me.ListCustomers()).customers[0] == made
    await me.UpdateCustomer(customer=customer_pb2.Customer(name=made.name, industry="Birds"))
    seen = await me.GetCustomer(name=made.name)
    assert seen.display_name == made.display_name and seen.industry == "Birds"
    for table in ("customers", "answers", "outbox", "blind_index", "sagas"):
        rows = below(customer, f"SELECT t::text FROM {table} t WHERE tenant_id = %s", me.tenant)
        lying = "".join(row[0] for row in rows)
        for word in WORDS:
            for form in (word, word.casefold(), word.encode().hex()):
                assert form not in lying, f"{word} in {table}"
    ((open_name,),) = below(
        customer, "SELECT display_name FROM customers WHERE id = %s", made.name.partition("/")[2]
    )
    assert open_name == made.number


async def test_people_are_found_by_words_and_companies_as_ever(customer: Running) -> None:
    me = customer.as_("sales_manager")
    person = (await customer_of(me, **PRIVATE)).number
    house = (await customer_of(me, display_name="Birkenau & Söhne GmbH", description="sunflower oil")).number
    nobody = (await customer_of(me, kind=PERSON, display_name="王晓芳")).number
    for filter, numbers in {
        'display_name : "Birkenau"': [house, person], 'display_name : "birken"': [house],
        'display_name = "rohrdommel  birkenau"': [person], 'display_name = "Birkenau & Söhne GmbH"': [house],
        'display_name != "Rohrdommel Birkenau"': [nobody, house],
        'display_name : "晓芳"': [nobody], 'legal_name : "wilhelmine"': [person],
        'legal_name = ""': [nobody, house], 'legal_name != ""': [person],
        'tax_id = "DE136695976"': [person], 'tax_id = "DE-136.695.976"': [person],
        'tax_id = "" AND kind = PERSON': [nobody], 'NOT display_name : "birkenau"': [nobody],
        'display_name : "&"': [house], f'display_name = "{person}"': [], 'display_name > "A"': [house],
        # What nobody is looked for by finds those of whom it lies open.
        'description : "sunflower"': [house], "founding_year = 0": [house],
        'NOT description : "sunflower"': [], "NOT founding_year = 1961": [house],
        'NOT display_name >= "A"': [], 'NOT (description : "x" OR kind = PERSON)': [house],
        'tax_id : ""': [nobody, house, person], 'legal_name : ""': [nobody, house, person],
        'display_name = "王晓芳" OR display_name = "Birkenau & Söhne GmbH"': [nobody, house],
    }.items():  # fmt: skip
        assert await found(me, filter) == numbers[::-1] or await found(me, filter) == numbers, filter
    facts = await refused(me.ListCustomers(filter='display_name : "a b c d e f g h i"'), "FILTER_INVALID")
    assert "1 to 8 words" in facts["problem"]
    stranger = customer.as_("sales_manager")
    assert await found(stranger, 'display_name : "birkenau"') == []


async def test_lists_are_sorted_by_what_lies_open_page_by_page(customer: Running) -> None:
    me = customer.as_("sales_manager")
    people = [await customer_of(me, kind=PERSON, display_name=name) for name in ("Zeisig", "Amsel", "Meise")]
    houses = [await customer_of(me, display_name=name) for name in ("Adler AG", "Zander AG", "Barsch AG")]
    seen: list[str] = []
    token = ""
    while token or not seen:
        page = await me.ListCustomers(order_by="display_name", page_size=2, page_token=token)
        seen += [one.display_name for one in page.customers]
        token = page.next_page_token
    # A private customer stands where the number does: "C-000001" after "Barsch AG".
    by_number = [one.display_name for one in sorted(people, key=lambda one: one.number)]
    names = sorted(one.display_name for one in houses)
    assert seen == [*names[:2], *by_number, *names[2:]]


async def test_a_tax_id_is_had_once_by_people_and_companies(customer: Running) -> None:
    me = customer.as_("sales_manager")
    made = await customer_of(me, **PRIVATE)
    for kind in ("COMPANY", "PERSON"):
        asked = customer_pb2.Customer(kind=kind, display_name="Other", tax_id=TAX_ID, country_code="DE")
        facts = await refused(me.CreateCustomer(customer=asked), "DUPLICATE_CUSTOMER")
        assert (facts["match"], facts["other"]) == ("tax_id", made.name)
    # Two people of one name are two people; of companies that is asked.
    namesake = await customer_of(me, kind=PERSON, display_name=PRIVATE["display_name"])
    assert namesake.number != made.number
    await customer_of(me, display_name=PRIVATE["display_name"])
    again = customer_pb2.Customer(display_name=PRIVATE["display_name"].upper())
    assert (await refused(me.CreateCustomer(customer=again), "DUPLICATE_CUSTOMER"))["match"] == "display_name"


async def test_who_turns_out_to_be_a_company_lies_open_and_back(customer: Running) -> None:
    me = customer.as_("sales_manager")
    made = await customer_of(me, **PRIVATE)
    key = made.name.partition("/")[2]
    asked = "SELECT display_name, veil IS NULL, name_key FROM customers WHERE id = %s"

    async def become(kind: Any) -> customer_pb2.Customer:
        done: customer_pb2.Customer = await me.UpdateCustomer(
            customer=customer_pb2.Customer(name=made.name, kind=kind), update_mask=FieldMask(paths=["kind"])
        )
        return done

    house = await become(customer_pb2.Customer.COMPANY)
    assert house.legal_name == made.legal_name and house.needs == made.needs
    assert below(customer, asked, key) == [(made.display_name, True, "rohrdommelbirkenau")]
    assert await found(me, 'display_name : "rohrdomm"') == [made.number]
    assert await become(PERSON) == await me.GetCustomer(name=made.name)
    assert below(customer, asked, key) == [(made.number, False, "")]
    assert await found(me, 'display_name : "rohrdomm"') == []
    assert await found(me, 'display_name : "rohrdommel"') == [made.number]


@pytest.mark.parametrize("damage", ["swapped", "cut", "plain", "taken away", "no key", "another kind"])
async def test_a_damaged_veil_is_refused_and_never_shown(customer: Running, damage: str) -> None:
    me = customer.as_("sales_manager")
    made, other = await customer_of(me, **PRIVATE), await customer_of(me, kind=PERSON, display_name="Other")
    key, other_key = (one.name.partition("/")[2] for one in (made, other))
    ((veil,),) = below(customer, "SELECT veil FROM customers WHERE id = %s", key)
    changes = {
        "swapped": ("veil = o.veil, person_key = o.person_key", other_key),
        "cut": (f"veil = '{veil[:-8]}'", key),
        "plain": ("veil = NULL, display_name = 'written past the service'", key),
        "taken away": ("veil = NULL, website = 'w.example'", key),
        "no key": ("person_key = NULL", key),
        "another kind": ("kind = 'COMPANY'", key),
    }
    change, source = changes[damage]
    below(customer, f"UPDATE customers c SET {change} FROM customers o WHERE c.id = %s AND o.id = %s",
          key, source)  # fmt: skip
    assert (await refused(me.GetCustomer(name=made.name), "SEALED_VALUE_BROKEN"))["name"] == made.name
    await refused(me.ListCustomers(), "SEALED_VALUE_BROKEN")


async def test_what_lies_open_from_before_is_read_found_and_then_sealed(kept: Kept) -> None:
    tenant = new_id()
    kept.below("UPDATE sealing SET phase = 'PLAIN'")
    who = Customer(
        id="c1", number="C-1", kind=Kind.PERSON, display_name="Anna Amsel", legal_name="A. Amsel",
        founding_year=1950, emails=("a@amsel.example",), name_key="annaamsel", legal_key="aamsel",
    )  # fmt: skip
    async with kept.store.begin(call(tenant)) as tx:
        tx.add(who)
        tx.add(replace(who, id="c2", number="C-2", kind=Kind.COMPANY, display_name="Amsel KG"))
    asked = "SELECT id, display_name, founding_year, veil, name_key || legal_key FROM customers ORDER BY id"
    keys = "annaamselaamsel"
    assert kept.below(asked) == [("c1", "Anna Amsel", 1950, None, keys), ("c2", "Amsel KG", 1950, None, keys)]

    async def ids(filter: str) -> list[str]:
        async with kept.store.begin(call(tenant)) as tx:
            where, params = filters.condition(filter, CustomerStore.customers, ring=tx.seals.ring)
            return sorted(one.id for one in await tx.all(Customer, (where.removeprefix(" AND "), params)))

    assert await ids('display_name : "amsel"') == ["c1", "c2"] and await ids('legal_name = "A. Amsel"')
    with kept.work() as work:
        assert await asyncio.to_thread(work.seal_all) == 2
    rows = kept.below(asked)
    assert [row[:3] for row in rows] == [("c1", "C-1", 0), ("c2", "Amsel KG", 1950)]
    assert rows[0][3] and rows[1][3] is None and [row[4] for row in rows] == ["", keys]
    await asyncio.sleep(0.4)
    assert await ids('display_name : "amsel"') == ["c1", "c2"]
    assert await ids('display_name = "anna amsel"') == ["c1"]
    with kept.work() as work:
        assert await asyncio.to_thread(work.rotate, [tenant]) == 2
    assert kept.below(asked)[0][3] != rows[0][3]
    async with kept.store.begin(call(tenant)) as tx:
        now = await tx.get(Customer, "customers/c1")
    assert (now.display_name, now.founding_year, now.emails) == ("Anna Amsel", 1950, ("a@amsel.example",))
    assert await ids('display_name : "anna"') == ["c1"]
    kept.below("UPDATE customers SET legal_name = 'slipped in' WHERE id = 'c1'")
    async with kept.store.begin(call(tenant)) as tx:
        assert (await tx.get(Customer, "customers/c1")).legal_name == "A. Amsel"
    kept.below("UPDATE customers SET veil = NULL WHERE id = 'c1'")
    with pytest.raises(Refused, match="SEALED_VALUE_BROKEN"):
        async with kept.store.begin(call(tenant)) as tx:
            await tx.get(Customer, "customers/c1")


@pytest.mark.parametrize(("kind", "phase"), [(Kind.PERSON, "SEALING"), (Kind.COMPANY, "SEALED")])
def test_the_next_start_seals_where_anybody_lies_open(kept: Kept, kind: Kind, phase: str) -> None:
    kept.below("ALTER TABLE customers DROP COLUMN veil")  # as the release before left it
    kept.below("UPDATE alembic_version SET version_num = '0014'")
    part, made = CustomerStore.customers, Customer(id="c1", version=1, kind=kind, display_name="Somebody")
    at = part.columns.index("veil")
    cells = [cell for n, cell in enumerate(part.row(made)) if n != at]
    columns = ", ".join(column for n, column in enumerate(part.columns) if n != at)
    kept.below(
        f"INSERT INTO customers (tenant_id, {columns}) VALUES ({', '.join(['%s'] * (len(cells) + 1))})",
        new_id(), *cells,
    )  # fmt: skip
    assert migrate.upgrade("services.customer", kept.owner, kept.app) == ["0015"]
    assert kept.below("SELECT phase FROM sealing") == [(phase,)]


def test_who_has_a_name_is_looked_up_and_not_read_for(kept: Kept) -> None:
    here, part = new_id(), CustomerStore.customers
    ring = Ring(here, SEALED, {1: bytes(32)})
    crowd = [Customer(id=f"c{n:04}", version=1, display_name=f"Like {n}") for n in range(2000)]
    sql, params = filters.condition('display_name = "Like 7"', part, ring=ring)
    with psycopg.connect(kept.owner, autocommit=True) as db:
        db.cursor().executemany(part.insert, [[here, *part.row(one)] for one in crowd])
        db.execute("ANALYZE customers")
        asked = f"EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF) {part.select}{sql}"
        told = "\n".join(row[0] for row in db.execute(asked, [here, *params]))
    assert "customers_by_display_name" in told and "blind_index_pkey" in told
    assert "rows=1.00" in told and "Removed" not in told and "Seq Scan" not in told, told
    either, more = filters.condition('display_name = "Like 7" OR display_name = "x"', part, ring=ring)
    with psycopg.connect(kept.owner) as db:
        told = str(db.execute(f"EXPLAIN (ANALYZE) {part.select}{either}", [here, *more]).fetchall())
    assert "BitmapOr" in told and "Removed" not in told and "Seq Scan" not in told, told


def test_a_mark_that_no_veil_knows_stops_the_process() -> None:
    there = customer_pb2.Customer.DESCRIPTOR
    veil = CustomerStore.customers.veil
    assert veil
    check_veiled(there, veil)
    for other, named in (
        (Veil("kind", Kind.PERSON, sealed=veil.sealed, stays=veil.stays - {"tags"}), "tags"),
        (Veil("kind", Kind.PERSON, sealed=veil.sealed, stays=[*veil.stays, "industry"]), "industry"),
        (Veil("kind", Kind.COMPANY, sealed=veil.sealed, stays=veil.stays), "display_name"),
        (None, "legal_name"),
    ):
        with pytest.raises(SystemExit, match=named):
            check_veiled(there, other)
