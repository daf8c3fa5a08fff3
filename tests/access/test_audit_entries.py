"""Who did what to which record, when and from where, as an auditor reads it over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from chassis.call import new_id
from tests.access.conftest import Company, Person, make_company
from tests.access.doors import Doors
from tests.platform import Running


async def written(*services: Running) -> None:
    """What was noted stands in the databases."""
    for one in services:
        await one.runtime.trail.flush()


class Auditor:
    """Somebody who reads the trail of a company."""

    def __init__(self, doors: Doors, token: str, *services: Running) -> None:
        self.doors, self.token, self.services = doors, token, services

    async def page(self, **asked: Any) -> Any:
        """What GET /v1/auditEntries answers."""
        await written(*self.services)
        query = "&".join(f"{key}={value}" for key, value in asked.items())
        status, said = await self.doors.ask("GET", f"/v1/auditEntries?{query}", self.token)
        assert status == 200, said
        return said

    async def entries(self, **asked: Any) -> list[dict[str, Any]]:
        """The entries of the first page."""
        found: list[dict[str, Any]] = (await self.page(**asked)).get("auditEntries", [])
        return found


@pytest.fixture
async def boss(company: Company) -> Person:
    """The administrator."""
    return await company.administrator()


@pytest.fixture
async def auditor(doors: Doors, boss: Person, access: Running, customer: Running) -> Auditor:
    """The administrator, reading the trail."""
    return Auditor(doors, boss.sign_in.access_token, access, customer)


async def a_customer(doors: Doors, token: str, **fields: Any) -> dict[str, Any]:
    status, made = await doors.ask("POST", "/v1/customers", token, {"displayName": "Acme", **fields})
    assert status == 200, made
    found: dict[str, Any] = made
    return found


@pytest.mark.req("SEC-06")
async def test_a_change_says_who_from_where_and_what_became_of_each_field(
    doors: Doors, boss: Person, auditor: Auditor
) -> None:
    token = boss.sign_in.access_token
    made = await a_customer(doors, token, creditLimit={"currencyCode": "CNY", "units": "500"})
    path, said = f"/v1/{made['name']}", {"displayName": "Acme & Sons", "phones": ["+86 21 5555 0100"]}
    assert (await doors.ask("PATCH", path, token, said, **{"User-Agent": "Ledger/7"}))[0] == 200
    last, first = await auditor.entries(record=made["name"], outcome="CHANGED")
    assert (last["actor"], last["network"], last["device"]) == (boss.name, "127.0.0.1", "Ledger/7")
    assert last["type"] == "tradewind.customer.v1.CustomerUpdated" and last["service"] == "customer"
    assert {c["field"]: (c["before"], c["after"]) for c in last["changes"] if "before" in c}[
        "display_name"
    ] == ("Acme", "Acme & Sons")
    assert "5555" not in str(last)  # what is personal is in no event
    grown = {change["field"]: change.get("after") for change in first["changes"]}
    assert grown["display_name"] == "Acme" and "500" in grown["credit_limit"]
    assert first["type"].endswith("CustomerCreated") and first["eventTime"] <= last["eventTime"]


@pytest.mark.req("SEC-06")
async def test_what_was_refused_is_on_record_in_whatever_service(
    doors: Doors, company: Company, auditor: Auditor
) -> None:
    clerk = await company.person("warehouse")
    token = clerk.sign_in.access_token
    name = f"customers/{new_id()}"
    assert (await doors.ask("DELETE", f"/v1/{name}", token))[0] == 403
    assert (await doors.ask("POST", "/v1/teams", token, {"displayName": "Mine"}))[0] == 403
    assert (await doors.ask("GET", f"/v1/{name}", token))[0] == 404
    by_time = await auditor.entries(actor=clerk.name, outcome="REFUSED")
    assert [entry["method"].rpartition(".")[2] for entry in by_time] == ["CreateTeam", "DeleteCustomer"]
    assert [entry["reason"] for entry in by_time] == ["PERMISSION_DENIED"] * 2
    [by_record] = await auditor.entries(record=name)  # that it was looked for is not told
    assert by_record == by_time[1] and by_record["records"] == [name] and by_record["network"] == "127.0.0.1"
    assert await auditor.entries(method="DeleteCustomer") == [by_record]


@pytest.mark.req("X-61")
async def test_reading_what_is_sensitive_is_on_record_by_record_and_field_without_the_value(
    doors: Doors, company: Company, auditor: Auditor
) -> None:
    boss = auditor.token
    secret = await a_customer(doors, boss, creditLimit={"currencyCode": "CNY", "units": "123456"})
    plain = await a_customer(doors, boss, displayName="Bolts")
    reader = await company.person("finance")
    token = reader.sign_in.access_token
    assert (await doors.ask("GET", f"/v1/{secret['name']}", token))[0] == 200
    assert (await doors.ask("GET", f"/v1/{plain['name']}", token))[0] == 200
    assert (await doors.ask("GET", "/v1/customers", token))[0] == 200
    found = await auditor.entries(actor=reader.name, outcome="READ")
    assert [entry["method"].rpartition(".")[2] for entry in found] == ["ListCustomers", "GetCustomer"]
    for entry in found:
        assert entry["records"] == [secret["name"]] and entry["fields"] == ["customers.credit_limit"]
        assert "123456" not in str(entry)
    assert await auditor.entries(record=plain["name"], outcome="READ") == []


@pytest.mark.req("SEC-06")
async def test_sign_ins_and_failed_ones_are_on_record_without_an_address_typed(
    doors: Doors, company: Company, auditor: Auditor
) -> None:
    person = await company.person("sales_rep")
    wrong = {"email": person.email, "password": "not the password at all"}
    stranger = {"email": f"{new_id()}@example.com", "password": "not the password at all"}
    for tried in (wrong, stranger):
        status, no = await doors.ask("POST", "/v1/sessions", body=tried)
        assert (status, no["reason"]) == (401, "SIGN_IN_REFUSED")
    [failed] = await auditor.entries(actor=person.name, outcome="SIGN_IN_FAILED")
    assert failed["network"] == "127.0.0.1" and person.email not in str(failed)
    [came_in] = await auditor.entries(actor=person.name, outcome="SIGNED_IN")
    assert came_in["records"] == [person.sign_in.session.name] and came_in["network"] == "192.0.2.1"
    assert stranger["email"] not in str(await auditor.entries())


async def test_a_session_that_was_ended_is_refused_on_record(
    doors: Doors, company: Company, auditor: Auditor
) -> None:
    person = await company.person("sales_rep")
    await person.RevokeSession(name=person.sign_in.session.name)
    company.identify.forget()
    status, _ = await doors.ask("GET", "/v1/me", person.sign_in.access_token)
    if status == 401:  # the doors may have known the session for some seconds more
        [entry] = await auditor.entries(actor=person.name, outcome="REFUSED")
        assert entry["reason"] == "UNAUTHENTICATED"


async def test_pages_go_over_all_services_by_time_without_a_gap_or_a_repetition(
    doors: Doors, boss: Person, auditor: Auditor
) -> None:
    token = boss.sign_in.access_token
    for number in range(3):
        await a_customer(doors, token, displayName=f"Acme {number}")
        assert (await doors.ask("POST", "/v1/teams", token, {"displayName": f"Team {number}"}))[0] == 200
    whole = await auditor.entries(pageSize=200)
    assert {entry["service"] for entry in whole} == {"access", "customer"}
    assert [entry["eventTime"] for entry in whole] == sorted(
        (entry["eventTime"] for entry in whole), reverse=True
    )
    seen: list[dict[str, Any]] = []
    page = await auditor.page(pageSize=2)
    while True:
        seen += page.get("auditEntries", [])
        if not page.get("nextPageToken"):
            break
        page = await auditor.page(pageSize=2, pageToken=page["nextPageToken"])
    assert seen == whole
    since = whole[4]["eventTime"]
    assert await auditor.entries(startTime=since, pageSize=200) == whole[:5]
    assert await auditor.entries(endTime=since, pageSize=200) == whole[5:]


async def test_a_service_that_is_down_is_named_and_the_rest_answers(
    auditor: Auditor, boss: Person, access: Running
) -> None:
    addresses = access.runtime.clients.addresses
    addresses["silent"] = "127.0.0.1:1"
    try:
        page = await auditor.page(actor=boss.name)
    finally:
        del addresses["silent"]
    assert page["unreachable"] == ["silent"] and page["auditEntries"]


async def test_who_may_not_read_the_trail_does_not_and_sees_no_other_organizations(
    doors: Doors, company: Company, auditor: Auditor, access: Running
) -> None:
    rep = await company.person("sales_rep")
    assert (await doors.ask("GET", "/v1/auditEntries", rep.sign_in.access_token))[0] == 403
    other = await (await make_company(access)).administrator()
    theirs = Auditor(doors, other.sign_in.access_token, *auditor.services)
    assert {entry["actor"] for entry in await theirs.entries(pageSize=200)} <= {
        other.name,
        "services/access",
    }
    assert await theirs.entries(actor=rep.name) == []


@pytest.mark.req("X-18")
async def test_the_history_of_a_record_is_for_whoever_may_read_it(doors: Doors, company: Company) -> None:
    owner, colleague = await company.person("sales_rep"), await company.person("sales_rep")
    token = owner.sign_in.access_token
    made = await a_customer(doors, token, displayName="First")
    for name in ("Second", "Third"):
        said = {"displayName": name, "website": f"www.{name.lower()}.example.com"}
        assert (await doors.ask("PATCH", f"/v1/{made['name']}", token, said))[0] == 200
    path = f"/v1/{made['name']}/fieldChanges"
    status, history = await doors.ask("GET", f"{path}?field=display_name", token)
    assert status == 200
    steps = [(c["changes"][0].get("before", ""), c["changes"][0]["after"]) for c in history["changes"]]
    assert steps == [("Second", "Third"), ("First", "Second"), ("", "First")]
    assert {change["actor"] for change in history["changes"]} == {owner.name}
    _, whole = await doors.ask("GET", path, token)
    assert {c["field"] for c in whole["changes"][0]["changes"]} == {"display_name", "website"}
    _, page = await doors.ask("GET", f"{path}?pageSize=1", token)
    assert len(page["changes"]) == 1
    _, page = await doors.ask("GET", f"{path}?pageSize=5&pageToken={page['nextPageToken']}", token)
    assert page["changes"] == whole["changes"][1:] and "nextPageToken" not in page
    status, no = await doors.ask("GET", path, colleague.sign_in.access_token)
    assert (status, no["reason"]) == (404, "NOT_FOUND")
