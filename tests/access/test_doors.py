"""The whole way in: over HTTP and over gRPC, with what a client really sends."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest
from tradewind.access.v1 import session_pb2
from tradewind.customer.v1 import customer_pb2

from chassis.call import new_id
from gateway.identify import DIRECTORY_SECONDS, IDENTITY_SECONDS
from tests.access.conftest import PASSWORD, Company
from tests.access.doors import ME, Doors
from tests.platform import refused

# How long a test waits for what is felt within five seconds: the machine may be busy.
PATIENCE = 60


@pytest.mark.req("SEC-01")
async def test_the_first_day_over_http(doors: Doors, company: Company) -> None:
    boss = await doors.sign_in(company.administrator_email)
    token = boss["accessToken"]
    status, team = await doors.ask("POST", "/v1/teams", token, {"displayName": "华东", "region": "华东"})
    assert (status, team["region"]) == (200, "华东")
    email = f"{new_id()}@example.com"
    wanted = {"displayName": "李雷", "email": email, "roles": ["roles/sales_rep"], "team": team["name"]}
    status, user = await doors.ask("POST", "/v1/users", token, wanted)
    assert (status, user["state"]) == (200, "INVITED")
    code = {"invitationCode": user["invitationCode"], "password": PASSWORD}
    assert (await doors.ask("POST", "/v1/users:activate", body=code))[1]["state"] == "ACTIVE"
    rep = await doors.sign_in(email)
    status, me = await doors.ask("GET", "/v1/me", rep["accessToken"])
    assert (status, me["user"]["displayName"], me["team"]["name"]) == (200, "李雷", team["name"])
    assert {"permission": "customers.write", "scope": "OWN"} in me["permissions"]
    status, problem = await doors.ask("POST", "/v1/teams", rep["accessToken"], {"displayName": "Mine"})
    assert (status, problem["reason"]) == (403, "PERMISSION_DENIED")
    status, next_pair = await doors.ask(
        "POST", "/v1/sessions:refresh", body={"refreshToken": rep["refreshToken"]}
    )
    assert status == 200 and next_pair["accessToken"] != rep["accessToken"]


async def test_a_key_opens_both_doors(doors: Doors, company: Company) -> None:
    boss = await doors.sign_in(company.administrator_email)
    wanted = {"displayName": "erp", "permissions": ["customers.read"]}
    status, key = await doors.ask("POST", "/v1/apiKeys", boss["accessToken"], wanted)
    assert status == 200 and key["key"].startswith("twk_")
    status, me = await doors.ask("GET", "/v1/me", key["key"])
    assert (status, me["credential"]) == (200, key["name"])
    assert (await doors.me(key["key"])).credential == key["name"]
    assert (await doors.ask("GET", "/v1/customers", key["key"]))[0] == 200
    assert (await doors.ask("GET", "/v1/users", key["key"]))[0] == 403
    await doors.ask("POST", f"/v1/{key['name']}:revoke", boss["accessToken"], {})
    assert await refused_soon(doors, key["key"])


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", "Basic YTpi", "Bearer twa_" + "x" * 43, "Bearer " + "y" * 3000]
)
async def test_nobody_comes_in_without_a_good_credential(doors: Doors, header: str) -> None:
    answer = await doors.client.get("/v1/me", headers={"Authorization": header} if header else {})
    assert (answer.status_code, answer.json()["reason"]) == (401, "UNAUTHENTICATED")
    call = doors.channel.unary_unary(
        ME, session_pb2.GetMeRequest.SerializeToString, session_pb2.Me.FromString
    )
    metadata = [("authorization", header)] if header else []
    await refused(call(session_pb2.GetMeRequest(), timeout=10, metadata=metadata), "UNAUTHENTICATED")


async def test_a_principal_token_of_the_mesh_is_no_credential_at_the_door(
    doors: Doors, company: Company
) -> None:
    boss = await company.administrator()
    inner = (await company.identify(f"Bearer {boss.sign_in.access_token}", "")).token
    assert (await doors.ask("GET", "/v1/me", inner))[0] == 401


def test_what_is_remembered_is_forgotten_within_five_seconds() -> None:
    # The oldest identity was made from the oldest directory.
    assert IDENTITY_SECONDS + DIRECTORY_SECONDS < 5


async def refused_soon(doors: Doors, token: str) -> bool:
    """Whether the token comes to be refused at both doors."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if (await doors.ask("GET", "/v1/me", token))[0] == 401:
            try:
                await doors.me(token)
            except grpc.aio.AioRpcError as error:
                return error.code() is grpc.StatusCode.UNAUTHENTICATED
        await asyncio.sleep(0.1)
    return False


async def test_who_leaves_is_out_at_both_doors_within_five_seconds(doors: Doors, company: Company) -> None:
    rep = await company.person("sales_rep")
    token = rep.sign_in.access_token
    assert (await doors.ask("GET", "/v1/me", token))[0] == 200  # and remembered at the door
    assert (await doors.me(token)).user.name == rep.name
    await (await company.administrator()).DisableUser(name=rep.name)
    assert await refused_soon(doors, token)


async def test_a_changed_role_is_felt_within_five_seconds(doors: Doors, company: Company) -> None:
    rep, boss = await company.person("sales_rep"), await company.administrator()
    token = rep.sign_in.access_token
    assert (await doors.ask("GET", "/v1/customers", token))[0] == 200
    await boss.UpdateUser(user={"name": rep.name, "roles": ["roles/warehouse"]})
    end = time.monotonic() + PATIENCE
    status = 200
    while status == 200 and time.monotonic() < end:
        await asyncio.sleep(0.1)
        status, _ = await doors.ask("POST", "/v1/customers", token, {"displayName": f"Shop {new_id()}"})
    assert status == 403


@pytest.mark.req("SEC-02")
async def test_each_sees_the_customers_that_their_scope_reaches(doors: Doors, company: Company) -> None:
    boss = await company.administrator()
    sales = await boss.CreateTeam(team={"display_name": "Sales"})
    east = await boss.CreateTeam(team={"display_name": "East", "parent": sales.name})
    west = await boss.CreateTeam(team={"display_name": "West", "parent": sales.name})
    people = {
        "li": await company.person("sales_rep", team=east.name),
        "mei": await company.person("sales_rep", team=east.name),
        "tom": await company.person("sales_rep", team=west.name),
        "east": await company.person("sales_manager", team=east.name),
        "all": await company.person("sales_manager", team=sales.name),
        "auditor": await company.person("auditor"),
    }
    tokens = {who: person.sign_in.access_token for who, person in people.items()}
    names = {}
    for who in ("li", "mei", "tom"):
        status, made = await doors.ask(
            "POST", "/v1/customers", tokens[who], {"displayName": f"Customer of {who}"}
        )
        assert status == 200, made
        names[who] = made["name"]
    reach = {
        "li": "li",
        "mei": "mei",
        "tom": "tom",
        "east": "li mei",
        "all": "li mei tom",
        "auditor": "li mei tom",
    }
    for who, seen in reach.items():
        status, page = await doors.ask("GET", "/v1/customers", tokens[who])
        assert {c["name"] for c in page["customers"]} == {names[each] for each in seen.split()}, who
        for each, name in names.items():
            status, _ = await doors.ask("GET", f"/v1/{name}", tokens[who])
            assert status == (200 if each in seen.split() else 404), (who, each)
    await boss.MoveTeam(name=west.name, parent=east.name)
    stub = doors.channel.unary_unary(
        "/tradewind.customer.v1.CustomerService/ListCustomers",
        customer_pb2.ListCustomersRequest.SerializeToString, customer_pb2.ListCustomersResponse.FromString,
    )  # fmt: skip
    end, found = time.monotonic() + PATIENCE, set()
    while found != set(names.values()) and time.monotonic() < end:
        await asyncio.sleep(0.1)
        metadata = [("authorization", f"Bearer {tokens['east']}")]
        answer = await stub(customer_pb2.ListCustomersRequest(), timeout=10, metadata=metadata)
        found = {each.name for each in answer.customers}
    assert found == set(names.values())
