"""Somebody asks what is kept about them, and to be forgotten: over all services, whatever dies meanwhile."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from tradewind.access.v1 import personal_data_request_pb2 as api
from tradewind.type.v1 import personal_pb2 as wire

from chassis.call import Call
from chassis.clients import Clients
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from gateway.domain import personal_data_request as domain
from gateway.domain.personal_data_request import Kind, PersonalDataRequest, State
from services.contract.domain.contract import Contract, Signer
from tests.access.conftest import Company
from tests.lifecycles import follows
from tests.platform import Platform, refused, settle

NAME, MAIL, PHONE, STREET = (
    "Leopoldine Fortgang",
    "leo@fortgang.example",
    "+43 1 7700 4477",
    "Abschiedsgasse 7",
)
CANARIES = (NAME, MAIL, PHONE, STREET)
EXPORT, ERASURE = api.PersonalDataRequest.EXPORT, api.PersonalDataRequest.ERASURE
DONE = api.PersonalDataRequest.DONE
ALL = ("access", "customer", "opportunity", "contract", "inventory", "analytics")


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("verb", domain.LIFECYCLE.steps)
def test_every_verb_in_every_state(verb: str, state: State) -> None:
    kind = Kind.EXPORT if verb == "export" else Kind.ERASURE
    asked = PersonalDataRequest(id="1", kind=kind, subject="contacts/1", reason="asked", state=state)

    def export() -> PersonalDataRequest:
        asked.exported()
        return asked

    verbs: dict[str, Callable[[], PersonalDataRequest]] = {
        "export": export, "erase": asked.erase, "cancel": asked.cancel,
        "finish": lambda: asked.finish(at=None),  # type: ignore[arg-type]
    }  # fmt: skip
    follows(domain.LIFECYCLE, verb, state, verbs[verb])


def test_what_was_not_asked_for_is_not_done() -> None:
    for kind, verb in ((Kind.EXPORT, "erase"), (Kind.ERASURE, "exported")):
        asked = PersonalDataRequest(id="1", kind=kind, subject="contacts/1", reason="asked")
        with pytest.raises(Refused, match="STATE_FORBIDS"):
            getattr(asked, verb)()


class Leopoldine:
    """Somebody who was a lead, bought for herself, and accepts quotes for the company that she works for."""

    def __init__(self, company: Company, platform: Platform) -> None:
        self.company, self.platform = company, platform

    async def begin(self) -> Leopoldine:
        self.services = [await self.platform.service(name) for name in ALL]
        self.boss = await self.company.administrator()
        self.tenant = self.company.name.rpartition("/")[2]
        of = {one.service.name: one.as_("administrator", tenant=self.tenant) for one in self.services}
        self.people, self.papers, self.goods, self.figures = (
            of["customer"], of["contract"], of["inventory"], of["analytics"],
        )  # fmt: skip
        lead = await self.people.CreateLead(
            lead={
                "person": NAME,
                "email": MAIL,
                "phone": PHONE,
                "wish": "two chairs",
                "budget": {"currency_code": "EUR", "units": 140},
            }
        )
        await self.people.StartLead(name=lead.name)
        await self.people.QualifyLead(name=lead.name)
        made = await self.people.ConvertLead(name=lead.name)
        self.lead, self.private, self.contact = lead.name, made.customer.name, made.contact.name
        self.house = (await self.people.CreateCustomer(customer={"display_name": "Stay & Sons"})).name
        await self.settle()
        self.order = await self.goods.CreateOrder(order={
            "customer": self.private, "currency": "EUR",
            "ship_to": {"recipient": NAME, "phone": PHONE, "street": STREET, "city": "Wien"},
            "lines": [{"description": "Chair", "quantity": {"value": "2"},
                       "unit_price": {"currency_code": "EUR", "units": 70}}],
        })  # fmt: skip
        await self.settle()
        return self

    async def settle(self) -> None:
        await settle(*self.services)

    async def ask(self, kind: int, subject: str) -> Any:
        return await self.boss.CreatePersonalDataRequest(
            personal_data_request={"kind": kind, "subject": subject, "reason": "asked by letter"}
        )

    def kept(self, *but: str) -> str:
        """Every row of every table of the organization in every database, as text."""
        found = []
        for one in self.services:
            with psycopg.connect(one.owner_url) as db:
                tables = db.execute(
                    "SELECT table_name FROM information_schema.columns WHERE column_name = 'tenant_id'"
                    " AND table_schema = 'public'"
                ).fetchall()
                for (table,) in tables:
                    if table in but:
                        continue
                    rows = db.execute(f"SELECT t::text FROM {table} t WHERE tenant_id = %s", [self.tenant])
                    found += [row[0] for row in rows]
        return "\n".join(found)


@pytest.fixture
async def leo(company: Company, platform: Platform) -> Leopoldine:
    """One person with a history."""
    return await Leopoldine(company, platform).begin()


def test_a_process_of_the_gateway_alone_knows_what_it_asks() -> None:
    """Elsewhere in the tests other services share the process, and what they have loaded."""
    code = (
        "import gateway.personal as p; from google.protobuf.descriptor_pool import Default\n"
        "for name in (p.PEOPLE, *p.OTHERS):\n"
        "    Default().FindMethodByName(f'tradewind.{name}.v1.PersonalDataService.ErasePersonalData')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def fates(request: Any) -> dict[str, str]:
    return {item.record: wire.PersonalDataFate.Name(item.fate) for item in request.items}


@pytest.mark.req("SEC-08", "X-60")
async def test_everything_about_a_person_is_told_as_one_document(leo: Leopoldine) -> None:
    asked = await leo.ask(EXPORT, leo.contact)
    told = await leo.boss.ExportPersonalData(name=asked.name)
    records = {record.record: record for record in told.records}
    assert {leo.lead, leo.private, leo.contact, leo.order.name} <= set(records)
    assert {record.service for record in told.records} == {"customer", "inventory", "opportunity"}
    said = {(record.noun, value.field): value.value for record in told.records for value in record.values}
    assert (
        said["Contact", "display_name"] == said["Customer", "display_name"] == said["Lead", "person"] == NAME
    )
    assert (said["Lead", "email"], said["Customer", "phones[0]"]) == (MAIL, PHONE)
    assert (said["Order", "ship_to.street"], said["Order", "ship_to.city"]) == (STREET, "Wien")
    assert all(record.HasField("create_time") for record in told.records) and not told.more
    assert all(item.record in records for item in asked.items) and len(asked.items) == len(records)
    await refused(leo.boss.ErasePerson(name=asked.name), "STATE_FORBIDS")


async def test_the_export_is_on_record_and_keeps_nothing(leo: Leopoldine) -> None:
    asked = await leo.ask(EXPORT, leo.private)
    await leo.boss.ExportPersonalData(name=asked.name)
    await leo.services[0].runtime.trail.flush()
    entries = (await leo.boss.ListAuditEntries(method="ExportPersonalData")).audit_entries
    assert [entry.actor for entry in entries] == [leo.boss.name]
    kept = leo.kept("customers")  # where the name of a private customer stands open, see decision 0025
    for canary in CANARIES:
        assert canary not in kept and canary.encode().hex() not in kept, canary


@pytest.mark.req("SEC-08", "X-60")
async def test_a_person_is_forgotten_everywhere_and_the_figures_stay(leo: Leopoldine) -> None:
    before = await leo.figures.GetDashboard()
    asked = await leo.ask(ERASURE, leo.lead)
    assert fates(asked)[leo.private] == fates(asked)[leo.order.name] == "ERASABLE"
    assert (await leo.people.GetContact(name=leo.contact)).display_name == NAME  # a preview touches nothing
    running = await leo.boss.ErasePerson(name=asked.name, etag=asked.etag)
    assert running.state == api.PersonalDataRequest.RUNNING
    await leo.settle()
    done = await leo.boss.GetPersonalDataRequest(name=asked.name)
    assert done.state == DONE and done.HasField("finish_time")
    assert "ERASABLE" not in fates(done).values() and fates(done)[leo.contact] == "ERASED"
    customer = await leo.people.GetCustomer(name=leo.private)
    assert customer.display_name == customer.number and not customer.phones
    order = await leo.goods.GetOrder(name=leo.order.name)
    assert order.HasField("erase_time") and not order.ship_to.street and order.ship_to.city == "Wien"
    assert order.lines == leo.order.lines
    after = await leo.figures.GetDashboard()
    assert _figures(after) == _figures(before)
    sums = (await leo.figures.GetReadModelChecksum()).checksum
    await leo.services[5].runtime.consumer.rebuild()
    await leo.settle()
    assert (await leo.figures.GetReadModelChecksum()).checksum == sums
    assert _figures(await leo.figures.GetDashboard()) == _figures(before)
    kept = leo.kept()
    for canary in CANARIES:
        for form in (canary, canary.casefold(), canary.encode().hex()):
            assert form not in kept, canary


def _figures(dashboard: Any) -> Any:
    said = type(dashboard)()
    said.CopyFrom(dashboard)
    for name in ("as_of_time", "computed_time", "generate_time"):
        if name in said.DESCRIPTOR.fields_by_name:
            said.ClearField(name)
    return said


async def test_asking_twice_and_dying_on_the_way_end_the_same(
    leo: Leopoldine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each service dies once after it has erased and before it could say so."""
    asked = await leo.ask(ERASURE, leo.private)
    await leo.boss.ErasePerson(name=asked.name)
    ask, died = Clients.ask, set[str]()

    async def dying(self: Clients, method: str, request: Any, call: Any) -> Any:
        answer = await ask(self, method, request, call)
        if method.endswith("ErasePersonalData") and method not in died:
            died.add(method)
            raise Refused("UNAVAILABLE", what="the service")
        return answer

    monkeypatch.setattr(Clients, "ask", dying)
    for _ in range(4):
        await leo.settle()
        with psycopg.connect(leo.services[0].owner_url) as db:
            db.execute("UPDATE sagas SET next_at = clock_timestamp() WHERE state = 'RUNNING'")
    assert len(died) == 2  # inventory and customer have something
    assert (await leo.boss.GetPersonalDataRequest(name=asked.name)).state == DONE
    version = (await leo.people.GetContact(name=leo.contact)).etag
    again = await leo.ask(ERASURE, leo.private)
    assert "ERASABLE" not in fates(again).values()
    await leo.boss.ErasePerson(name=again.name)
    await leo.settle()
    assert (await leo.boss.GetPersonalDataRequest(name=again.name)).state == DONE
    assert (await leo.people.GetContact(name=leo.contact)).etag == version


async def test_papers_stay_and_say_why_and_name_who_signed(leo: Leopoldine) -> None:
    contact = await leo.people.CreateContact(contact={"customer": leo.house, "display_name": NAME})
    await leo.settle()
    signed, other = [
        await leo.papers.CreateContract(contract={"customer": leo.house, "title": title, "currency": "EUR"})
        for title in ("Chairs", "Tables")
    ]
    call = Call(tenant=leo.tenant, user="services/contract", scope="all")
    async with leo.services[3].store.begin(call) as tx:
        for paper, person in ((signed, NAME.upper()), (other, "Somebody Else")):
            kept = await tx.get(Contract, paper.name)
            tx.save(replace(kept, signers=(Signer(person=person, party="Stay & Sons"),)))
    asked = await leo.ask(EXPORT, contact.name)
    assert fates(asked)[signed.name] == "KEPT_BY_LAW" and other.name not in fates(asked)
    told = await leo.boss.ExportPersonalData(name=asked.name)
    (paper,) = [record for record in told.records if record.record == signed.name]
    fields = {value.field for value in paper.values}
    assert "signers[0].person" in fields and "customer" not in fields  # what is not hers is not told


async def test_only_people_are_forgotten_and_only_by_who_may(leo: Leopoldine) -> None:
    await refused(leo.ask(ERASURE, leo.house), "SUBJECT_UNFIT")
    await refused(leo.ask(ERASURE, leo.boss.name), "SUBJECT_UNFIT")
    await refused(leo.ask(ERASURE, "contacts/nobody"), "REFERENCE_UNKNOWN")
    manager = await leo.company.person("sales_manager")
    wanted = {"kind": ERASURE, "subject": leo.contact, "reason": "asked"}
    await refused(manager.CreatePersonalDataRequest(personal_data_request=wanted), "PERMISSION_DENIED")
    asked = await leo.ask(ERASURE, leo.contact)
    cancelled = await leo.boss.CancelPersonalDataRequest(name=asked.name)
    await refused(leo.boss.ErasePerson(name=cancelled.name), "STATE_FORBIDS")
    assert (await leo.people.GetContact(name=leo.contact)).display_name == NAME


async def test_a_colleague_who_left_is_forgotten(leo: Leopoldine) -> None:
    gone = await leo.company.person("sales_rep")
    await leo.boss.DisableUser(name=gone.name)
    asked = await leo.ask(ERASURE, gone.name)
    await leo.boss.ErasePerson(name=asked.name)
    await leo.settle()
    found = await leo.boss.GetUser(name=gone.name)
    assert found.HasField("erase_time") and not found.email and found.display_name.startswith("(")
    await refused(leo.boss.EnableUser(name=gone.name), "PERSON_ERASED")
    with psycopg.connect(leo.services[0].owner_url) as db:
        for table, column in (("passwords", "person"), ("sessions", "owner")):
            of = gone.name if column == "owner" else gone.name.rpartition("/")[2]
            assert not db.execute(f"SELECT 1 FROM {table} WHERE {column} = %s", [of]).fetchall(), table
