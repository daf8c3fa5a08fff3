"""Every law of the service notices what it forbids: damage is done under its eyes, and undone."""

from __future__ import annotations

import psycopg
from tradewind.customer.v1 import customer_pb2 as pb

from chassis.laws import verify
from services.customer.laws import LAWS
from tests.customer.people import colleague, somebody
from tests.customer.test_contact_service import person
from tests.customer.test_customer_service import make
from tests.customer.test_lead_service import lead_of
from tests.platform import Running

# law → what breaks it, done by the owner of the database, whom no policy holds back
DAMAGE = {
    "numbers": "UPDATE number_series SET last = last + 1",
    "hands": "UPDATE contacts SET owner = 'users/nobody'",
    "parents": "UPDATE customers SET parent = 'customers/' || id",
    "conversions": "UPDATE leads SET customer = 'customers/never'",
    "scores": "UPDATE leads SET score = score + 1",
    "consents": "UPDATE contacts SET consents = '[]'",
}


async def test_a_law_names_what_breaks_it(customer: Running) -> None:
    tenant = await _business(customer)
    async with await psycopg.AsyncConnection.connect(customer.owner_url) as connection:
        for law in LAWS:
            broken = law.broken.replace("%(tenant)s", f"'{tenant}'")
            assert not await (await connection.execute(broken)).fetchall(), law.name
            await connection.execute(f"{DAMAGE[law.name]} WHERE tenant_id = '{tenant}'")
            assert await (await connection.execute(broken)).fetchall(), law.name
            await connection.rollback()


async def test_the_laws_hold_after_a_day_of_work(customer: Running) -> None:
    await _business(customer)
    verdicts = {verdict.name: verdict for verdict in await verify("customer", customer.store, LAWS)}
    assert not [name for name, verdict in verdicts.items() if verdict.broken]
    assert all(verdicts[law.name].counted for law in LAWS)


async def _business(customer: Running) -> str:
    """Customers with people and subsidiaries, handed over, and a lead converted; the organization."""
    me = somebody(customer, team="teams/east")
    heir = colleague(customer, me)
    top = await make(me, "Top")
    await make(me, "Part", parent=(await make(me, "Middle", parent=top.name)).name)
    ann = await person(me, top)
    for decision in ("GIVEN", "WITHDRAWN"):
        await me.CreateConsent(consent={"person": ann.name, "purpose": "PROFILING", "decision": decision})
    await me.SetCustomerCollaborators(name=top.name, collaborators=[heir.user])
    await me.TransferCustomer(name=top.name, owner=heir.user, team="teams/west", reason="region")
    await lead_of(me, "CONVERTED", person="Ann", wish="chairs")
    await lead_of(me, "NEW", company_name="Other")
    gone = await make(me, "Gone")
    await me.DeleteCustomer(name=gone.name)
    await me.UpdateCustomer(customer=pb.Customer(name=top.name, tags=["x"]))
    return me.tenant
