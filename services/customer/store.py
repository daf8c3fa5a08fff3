"""What the customer service keeps, and the questions worth a name."""

from __future__ import annotations

from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from chassis.kernel.record import Record
from chassis.kernel.refusals import Refused
from chassis.personal.keys import Ring
from chassis.personal.persons import Person
from chassis.personal.sealing import EMAIL, NAME, PHONE, Find
from chassis.personal.veil import Veil
from chassis.store import Collection, Rows, Shares, Store, Tx
from chassis.tables import Question
from chassis.territories import customer_territories
from services.customer.domain import consent as consents
from services.customer.domain import tax_id as tax_ids
from services.customer.domain.consent import Consent
from services.customer.domain.contact import Contact
from services.customer.domain.customer import DEEPEST, Customer, Kind, check_ancestors
from services.customer.domain.lead import Lead
from services.customer.domain.retention import RetentionRule, RetentionRun

R = TypeVar("R", bound=Record)
TAX_ID = Find(lambda text: tax_ids.compact(text).casefold())
# Who somebody is, at whose door: city and country stay open, people look for customers by them.
ADDRESS = ("addresses.recipient", "addresses.street", "addresses.district", "addresses.postal_code")


def may_contact(value: str) -> tuple[str, list[Any]]:
    """Whom one may reach now: `may_contact = "MARKETING/EMAIL"`, `may_contact = "PROFILING"`."""
    word, _, way = value.partition("/")
    if word not in set(consents.Purpose) or (way and way not in set(consents.Channel)):
        raise ValueError('must name a purpose and a channel: "MARKETING/EMAIL"')
    try:
        consents.check_channel(consents.Purpose(word), consents.Channel(way) if way else None)
    except Refused as refused:
        raise ValueError(f"{value!r}: channel {refused.facts['problem']}") from None
    # Cheapest first: most rows have no consents at all.
    return (
        "erase_time IS NULL AND NOT do_not_contact AND consents <> '[]'"
        " AND EXISTS (SELECT 1 FROM jsonb_array_elements(consents) AS said"
        " WHERE said ->> 'purpose' = %s AND coalesce(said ->> 'channel', '') = %s"
        " AND said ->> 'decision' = 'GIVEN'"
        " AND coalesce((said ->> 'expire_time')::timestamptz > now(), true))",
        [word, way],
    )


MAY_CONTACT = {"may_contact": Question(("consents", "do_not_contact"), may_contact)}


class CustomerStore(Store):
    """Customers, the people there, leads, and what people have agreed to."""

    shares = Shares("customer")
    customers = Collection(
        Customer,
        index=(
            ("owner", "state"),
            ("team",),
            ("name_key",),
            ("legal_key",),
            ("tax_id",),
            ("parent",),
            ("display_name",),  # what lists are sorted by, with update_time: begun at any page
            ("update_time",),
            ("territory",),
        ),
        unique=(("number",), ("external_id",)),
        private=("name_key", "legal_key"),
        sealed={"emails": EMAIL, "phones": PHONE} | dict.fromkeys(ADDRESS),
        # Lists are sorted by the number of somebody whose name is nobody else's business.
        veil=Veil(
            "kind",
            Kind.PERSON,
            sealed={"display_name": NAME, "legal_name": NAME, "tax_id": TAX_ID}
            | dict.fromkeys(("website", "founding_year", "needs", "history", "description")),
            instead={"display_name": "number"},
            made=("name_key", "legal_key"),
            # Chosen by, or kept by others' numbers, or our own words and judgement.
            stays=(
                "addresses",
                "buying_preferences",
                "external_id",
                "grade",
                "grade_reason",
                "state_reason",
                "tags",
            ),
        ),
        questions=MAY_CONTACT,
    )
    contacts = Collection(
        Contact,
        index=(("customer",), ("owner",), ("team",)),
        unique=(("external_id",),),
        follows=("customer", "customers"),
        placed=True,
        sealed={
            "display_name": NAME, "family_name": None, "given_name": None, "salutation": None,
            "emails": EMAIL, "phones": PHONE, "note": None,
        },
        questions=MAY_CONTACT,
    )  # fmt: skip
    leads = Collection(
        Lead,
        index=(("owner", "state"), ("team",), ("next_follow_up_date",)),
        unique=(("number",), ("external_id",)),
        sealed={"person": NAME, "email": EMAIL, "phone": PHONE},
        questions=MAY_CONTACT,
        about=("contact", "customer"),
    )
    consents = Collection(
        Consent,
        index=(("person",),),
        within=("person", Contact, Lead, Customer),
        sealed={"evidence": None},
        about=("person",),
    )
    retention_rules = Collection(RetentionRule)
    retention_runs = Collection(RetentionRun, index=(("rule",), ("state",)))
    retention_warnings = Rows(
        "retention_warnings",
        sa.Column("rule", sa.Text()),
        sa.Column("person", sa.Text()),
        sa.Column("warn_time", sa.DateTime(timezone=True), nullable=False),
        key=("rule", "person"),
    )  # whom a rule has warned of, and when
    # The territories as access tells them, and how far the customers have followed them since.
    territories = Rows(
        "territories", sa.Column("name", sa.Text()), sa.Column("parent", sa.Text(), nullable=False),
        sa.Column("criteria", JSONB(), nullable=False), sa.Column("deleted", sa.Boolean(), nullable=False),
        key=("name",),
    )  # fmt: skip
    settlements = Rows(
        "settlements", sa.Column("what", sa.Text()), sa.Column("after", sa.Text(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("settled", sa.BigInteger(), nullable=False),
        sa.Column("moved", sa.BigInteger(), nullable=False),
        sa.Column("begin_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_time", sa.DateTime(timezone=True)),
        key=("what",),
    )  # fmt: skip
    customer_territories = customer_territories()  # kept by the customers' own table

    async def meet(self, tx: Tx, person: Person) -> None:
        """Somebody may have been a lead first, and be a customer with an entry of their own beside it."""
        known = -1
        while known != len(person.subjects):
            known = len(person.subjects)
            for lead in await _named(tx, Lead, person, "contact", "customer"):
                person.called.add(lead.person)
                person.subjects |= {name for name in (f"leads/{lead.id}", lead.contact) if name}
                if lead.customer and not lead.company_name:
                    person.subjects.add(lead.customer)
            for customer in await _named(tx, Customer, person):
                if customer.kind is not Kind.PERSON:
                    raise Refused("SUBJECT_UNFIT", field="subject", name=f"customers/{customer.id}")
                person.called |= {customer.display_name, customer.legal_name} - {customer.number, ""}
                for one in await tx.all(
                    Contact, deleted=True, scoped=False, customer=f"customers/{customer.id}"
                ):
                    if person.is_called(one.display_name):
                        person.subjects.add(f"contacts/{one.id}")
            for contact in await _named(tx, Contact, person):
                person.called.add(contact.display_name)
                if contact.customer not in person.subjects:
                    person.houses.add(contact.customer)


async def _named(tx: Tx, kind: type[R], person: Person, *columns: str) -> list[R]:
    """The person's own records of a kind, and those that name one of them in a column."""
    names = sorted(person.subjects)
    ids = [name.rpartition("/")[2] for name in names if name.startswith(tx.store.prefix(kind))]
    where = " OR ".join(["id = ANY(%s)", *(f"{column} = ANY(%s)" for column in columns)])
    return await tx.all(kind, (where, [ids, *(names for _ in columns)]), deleted=True, scoped=False)


async def refuse_duplicate(tx: Tx, customer: Customer) -> None:
    """DUPLICATE_CUSTOMER when another has the same tax id or, among companies, a like name.

    Looks beyond the caller's scope: who asks has to hear of a colleague's customer. The number taken just
    before keeps creations of one organization in line, so that two at once cannot both find nothing.
    """
    asked, params = alike(tx.seals.ring, customer)
    for other in await tx.rows(asked, params) if asked else ():
        raise Refused(
            "DUPLICATE_CUSTOMER", field=other["match"], match=other["match"],
            other=f"customers/{other['id']}", number=other["number"], owner=other["owner"],
        )  # fmt: skip


def alike(ring: Ring, customer: Customer) -> tuple[str, list[Any]]:
    """The question for the first of those like a customer, with its parameters; "" if none can be."""
    arms: list[tuple[str, list[Any]]] = []
    # Most have no tax id or legal name: said, so that PostgreSQL does not take that for what is looked for.
    if customer.tax_id:
        arms.append(("tax_id > '' AND tax_id = %s", [customer.tax_id]))
        known = ring.digests("customers.tax_id", f"={TAX_ID.whole(customer.tax_id)}", shared=False)
        by_index = "SELECT record FROM blind_index WHERE tenant_id = %s AND field = %s AND digest = ANY(%s)"
        arms.append((f"id IN ({by_index})", [ring.tenant, "customers.tax_id", known]))
    by_id = len(arms)
    if customer.kind is Kind.COMPANY:
        like = "kind = 'COMPANY' AND {0} > '' AND {0} = %s"
        keys = {key for key in (customer.name_key, customer.legal_key) if key}
        arms += [(like.format(column), [key]) for column in ("name_key", "legal_key") for key in sorted(keys)]
    # Each is looked up by itself, and sorted only when it was found: joined by OR, asked for the first, or
    # given as arrays, they are looked for in all customers of the organization once the plan is kept.
    likes = " UNION ALL ".join(
        f"SELECT id, number, owner, '{'tax_id' if at < by_id else 'display_name'}' AS match FROM customers"
        f" WHERE tenant_id = %s AND delete_time IS NULL AND {condition}"
        for at, (condition, _) in enumerate(arms)
    )
    asked = f"WITH alike AS MATERIALIZED ({likes}) SELECT * FROM alike ORDER BY id, match DESC LIMIT 1"
    return asked if arms else "", [value for _, values in arms for value in (ring.tenant, *values)]


async def refuse_bad_parent(tx: Tx, customer: Customer) -> None:
    """REFERENCE_UNKNOWN, PARENT_CYCLE or PARENT_TOO_DEEP when the customer cannot belong to its parent."""
    # One change of parents at a time: two at once could close a circle that neither of them sees.
    await tx.rows("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"parents of {tx.call.tenant}"])
    chain: list[dict[str, Any]] = await tx.rows(
        "WITH RECURSIVE chain AS ("
        " SELECT id, parent, 1 AS level FROM customers"
        "  WHERE tenant_id = %s AND id = substr(%s, 11) AND delete_time IS NULL"
        " UNION ALL"
        " SELECT above.id, above.parent, chain.level + 1 FROM chain"
        "  JOIN customers above ON above.tenant_id = %s AND above.id = substr(chain.parent, 11)"
        "  WHERE chain.level <= %s"
        ") SELECT 'customers/' || id AS name FROM chain ORDER BY level",
        [tx.call.tenant, customer.parent, tx.call.tenant, DEEPEST],
    )
    name = tx.name(customer)
    if not chain and customer.parent != name:
        raise Refused("REFERENCE_UNKNOWN", field="parent", name=customer.parent)
    check_ancestors(name, customer.parent, [row["name"] for row in chain[1:]])
