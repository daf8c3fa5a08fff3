"""What is said about access is what happens: for every built-in role, relation to a record, and verb."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tradewind.access.v1 import explanation_pb2 as api
from tradewind.access.v1 import role_pb2
from tradewind.type.v1 import share_pb2

from chassis.call import new_id
from chassis.reasons import reason_of
from gateway.domain.built_in import BUILT_IN
from tests.access.conftest import Company, Person
from tests.platform import Caller, Running, refused

Obstacle, Relation, Scope = api.Explanation.Obstacle, share_pb2.Reach.Relation, role_pb2.Role.Scope
SERVICE = "CustomerService."
ASKED: dict[str, Callable[[str], dict[str, Any]]] = {
    "GetCustomer": lambda name: {"name": name},
    "UpdateCustomer": lambda name: {"customer": {"name": name, "industry": "x"}, "validate_only": True},
    "SetCustomerCollaborators": lambda name: {"name": name, "validate_only": True},
    "TransferCustomer": lambda name: {
        "name": name, "owner": "users/heir", "team": "teams/w", "reason": "x", "validate_only": True
    },
}  # fmt: skip


class Office:
    """A company with teams, and records in every relation to somebody of the team east."""

    def __init__(self, company: Company, customer: Running, boss: Person) -> None:
        self.company, self.customer, self.boss = company, customer, boss
        tenant = company.name.removeprefix("organizations/")
        self.hand: Caller = customer.as_("administrator", tenant=tenant, user=boss.name)
        self.teams: dict[str, str] = {}
        self.common: dict[str, str] = {}

    async def open(self) -> Office:
        for key, above in (("sales", ""), ("east", "sales"), ("shore", "east"), ("west", "sales")):
            team = {"display_name": key, "parent": self.teams.get(above, "")}
            self.teams[key] = (await self.boss.CreateTeam(team=team)).name
        for relation, team in (
            ("team's", "east"),
            ("below", "shore"),
            ("other's", "west"),
            ("shared with team", "west"),
        ):
            self.common[relation] = await self.record(team=team)
        await self.share(self.common["shared with team"], self.teams["east"], share_pb2.Share.READ)
        self.common["absent"] = f"customers/{new_id()}"
        return self

    async def record(self, owner: str = "users/else", team: str = "west", helper: str = "") -> str:
        wanted = {"display_name": new_id(), "owner": owner, "team": self.teams[team]}
        made = await self.do("CreateCustomer", customer=wanted, allow_duplicate=True)
        if helper:
            await self.do("SetCustomerCollaborators", name=made.name, collaborators=[helper])
        return str(made.name)

    async def share(self, record: str, grantee: str, access: int) -> None:
        await self.do("ShareRecord", record=record, grantee=grantee, access=access)

    async def do(self, method: str, **fields: Any) -> Any:
        """Something done by the administrator, once."""
        return await self.customer.method(method, self.hand.token)(**fields)

    async def person(self, *roles: str, team: str = "east") -> tuple[str, str]:
        """(name, key) of a program with these roles."""
        wanted = {
            "display_name": "x",
            "kind": "SERVICE_ACCOUNT",
            "roles": [f"roles/{role}" for role in roles],
        }
        user = await self.boss.CreateUser(user=wanted | {"team": self.teams.get(team, "")})
        key = await self.boss.CreateApiKey(
            api_key={"display_name": "x", "owner": user.name, "permissions": ["*"]}
        )
        return user.name, key.key

    async def records(self, user: str) -> dict[str, str]:
        """relation → a record that stands so to the user."""
        mine = {
            "own": await self.record(owner=user, team="east"),
            "helped": await self.record(helper=user),
            "shared to read": await self.record(),
            "shared to write": await self.record(),
            "deleted": await self.record(owner=user, team="east"),
        }
        await self.share(mine["shared to read"], user, share_pb2.Share.READ)
        await self.share(mine["shared to write"], user, share_pb2.Share.WRITE)
        await self.do("DeleteCustomer", name=mine["deleted"])
        return mine | self.common


async def happens(call: Awaitable[Any]) -> str:
    """ "allowed", or the reason of the refusal."""
    try:
        await call
        return "allowed"
    except grpc.aio.AioRpcError as no:
        return reason_of(no)[0]


SAID = {
    Obstacle.OBSTACLE_UNSPECIFIED: "allowed",
    Obstacle.NO_PERMISSION: "PERMISSION_DENIED",
    Obstacle.OUT_OF_REACH: "NOT_FOUND",
    Obstacle.OWNER_ONLY: "OWNER_ONLY",
    Obstacle.NOT_THERE: "NOT_FOUND",
}


async def office_of(company: Company, customer: Running) -> Office:
    return await Office(company, customer, await company.administrator()).open()


async def test_what_is_explained_is_what_happens(company: Company, customer: Running) -> None:
    office = await office_of(company, customer)
    explain = office.hand.at(company.access).ExplainAccess
    wrong, seen = [], set()
    for role in BUILT_IN:
        user, key = await office.person(role)
        company.identify.forget()
        token = (await company.identify(f"Bearer {key}", "192.0.2.1")).token
        asked = list(ASKED)
        for relation, record in (await office.records(user)).items():
            real = await asyncio.gather(
                *(happens(customer.method(verb, token)(**ASKED[verb](record))) for verb in asked)
            )
            told = await asyncio.gather(
                *(explain(user=user, record=record, method=SERVICE + verb) for verb in asked)
            )
            for verb, happened, said in zip(tuple(asked), real, told, strict=True):
                assert said.allowed == (not said.obstacle)
                seen.add((happened, relation))
                if SAID[said.obstacle] != happened:
                    wrong.append((role, relation, verb, happened, Obstacle.Name(said.obstacle)))
                if happened == "PERMISSION_DENIED":  # whatever the relation
                    asked.remove(verb)
    assert not wrong
    assert {("allowed", "shared to write"), ("OWNER_ONLY", "shared to write")} <= seen
    assert ("NOT_FOUND", "shared to read") in seen


async def test_an_explanation_says_by_what(company: Company, customer: Running) -> None:
    office = await office_of(company, customer)
    rep, _ = await office.person("sales_rep", "support")
    records = await office.records(rep)

    async def said(relation: str, verb: str = "UpdateCustomer") -> Any:
        return await office.boss.ExplainAccess(user=rep, record=records[relation], method=SERVICE + verb)

    assert list((await said("own")).relations) == [Relation.OWNER]
    assert list((await said("helped")).relations) == [Relation.COLLABORATOR]
    shared = await said("shared to write")
    assert (list(shared.relations), shared.owner) == ([Relation.SHARE], "users/else")
    assert [share.grantee for share in shared.shares] == [rep]
    assert [(s.role, s.grant, s.scope) for s in shared.sources] == [
        ("roles/sales_rep", "customers.write", Scope.OWN)]  # fmt: skip
    nothing = await said("shared to read")
    assert (nothing.obstacle, list(nothing.shares)) == (Obstacle.OUT_OF_REACH, [])
    reading = await said("other's", "GetCustomer")
    assert (list(reading.relations), reading.scope) == ([Relation.EVERYTHING], Scope.ALL)  # by support
    assert {source.role for source in reading.sources} == {"roles/sales_rep", "roles/support"}
    alone = await office.boss.ExplainAccess(user=rep, method="UserService.ListUsers")
    assert alone.allowed and [source.role for source in alone.sources] == [""]
    partner, _ = await office.person("partner", team="")
    ruled = await office.boss.ExplainAccess(user=partner, record=records["own"])
    assert ruled.obstacle == Obstacle.OUT_OF_REACH
    assert "tax_id" in {rule.field for rule in ruled.field_rules}
    internal = await office.boss.ExplainAccess(user=rep, method="ShareService.JudgeReach")
    assert internal.obstacle == Obstacle.FOR_SERVICES
    await office.boss.DisableUser(name=rep)
    assert (await said("own")).obstacle == Obstacle.NOT_ACTIVE


async def test_one_asks_about_oneself_and_leads_about_their_people(
    company: Company, customer: Running
) -> None:
    office = await office_of(company, customer)
    rep, lead = (
        await company.person("sales_rep", team=office.teams["east"]),
        await company.person("sales_manager", team=office.teams["sales"]),
    )
    west = await company.person("sales_manager", team=office.teams["west"])
    records = await office.records(rep.name)
    assert (await rep.ExplainAccess(record=records["own"])).allowed
    there = await rep.ExplainAccess(record=records["other's"])
    absent = await rep.ExplainAccess(record=records["absent"])
    there.record = absent.record = ""
    assert there == absent and there.obstacle == Obstacle.OUT_OF_REACH
    assert (await office.boss.ExplainAccess(user=rep.name, record=records["absent"])).obstacle == (
        Obstacle.NOT_THERE)  # fmt: skip
    assert (await lead.ExplainAccess(user=rep.name, record=records["own"])).allowed
    for asker, about in ((rep, lead), (west, rep)):
        facts = await refused(
            asker.ExplainAccess(user=about.name, record=records["own"]), "PERMISSION_DENIED"
        )
        assert facts == {"permission": "access.read"}
    await refused(office.boss.ExplainAccess(user=f"users/{new_id()}", record="customers/x"), "NOT_FOUND")
    await refused(rep.ExplainAccess(), "FIELD_INVALID")
    await refused(rep.ExplainAccess(record="pirates/x"), "FIELD_INVALID")
    await refused(rep.ExplainAccess(method="Pirates.Sail"), "METHOD_UNKNOWN")
    await refused(rep.ExplainAccess(record="leads/x", method="CustomerService.GetCustomer"), "FIELD_INVALID")
    past = rep.ExplainAccess(record=records["own"], time=Timestamp(seconds=1_700_000_000))
    assert (await refused(past, "EXPLAINED_NOW_ONLY"))["field"] == "time"


async def test_who_sees_a_record_is_listed_with_the_reason(company: Company, customer: Running) -> None:
    office = await office_of(company, customer)
    rep, mate = (
        await company.person("sales_rep", team=office.teams["east"]),
        await company.person("sales_rep"),
    )
    auditor = await company.person("auditor")
    lead = await company.person("sales_manager", team=office.teams["sales"])
    records = await office.records(rep.name)
    await office.share(records["own"], mate.name, share_pb2.Share.READ)

    async def viewers(asker: Person, record: str, size: int = 0) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        token = ""
        while True:
            page = await asker.WhoCanSee(record=record, page_size=size, page_token=token)
            found |= {each.user: list(each.relations) for each in page.viewers}
            token = page.next_page_token
            if not token:
                return found

    everyone = {
        office.boss.name: [Relation.EVERYTHING], rep.name: [Relation.OWNER], mate.name: [Relation.SHARE],
        auditor.name: [Relation.EVERYTHING], lead.name: [Relation.TEAM],
    }  # fmt: skip
    assert await viewers(office.boss, records["own"]) == everyone
    assert await viewers(office.boss, records["own"], size=1) == everyone
    assert await viewers(lead, records["own"]) == {
        rep.name: [Relation.OWNER], lead.name: [Relation.TEAM]}  # fmt: skip
    assert await viewers(rep, records["other's"]) == {}
    assert await viewers(office.boss, records["absent"]) == {}


async def test_a_role_is_looked_at_before_it_is_granted(company: Company) -> None:
    boss, rep = await company.administrator(), await company.person("sales_rep")
    told = await boss.PreviewRole(user=rep.name, role="roles/support")
    changes = {each.permission: (each.before, each.after) for each in told.changes}
    assert changes["customers.read"] == (Scope.OWN, Scope.ALL)
    assert "leads.read" not in changes
    lost = await boss.PreviewRole(user=rep.name, role="roles/partner")
    assert ("users.read", Scope.ALL, Scope.SCOPE_UNSPECIFIED) in [
        (each.permission, each.before, each.after) for each in lost.changes
    ]
    granted = {"name": rep.name, "roles": ["roles/sales_rep", "roles/support"]}
    before = {grant.permission: grant.scope for grant in (await rep.GetMe()).permissions}
    await boss.UpdateUser(user=granted, update_mask={"paths": ["roles"]})
    after = {grant.permission: grant.scope for grant in (await rep.GetMe()).permissions}
    assert changes == {
        name: (before.get(name, 0), after.get(name, 0))
        for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    }  # fmt: skip
    await refused(boss.PreviewRole(user=rep.name, role="roles/pirate"), "REFERENCE_UNKNOWN")


@pytest.mark.parametrize("record", ["users/x", "sessions/x"])
async def test_records_of_access_itself_are_explained_too(company: Company, record: str) -> None:
    boss, rep = await company.administrator(), await company.person("sales_rep")
    names = {"users/x": boss.name, "sessions/x": boss.sign_in.session.name}
    said = await boss.ExplainAccess(user=rep.name, record=names[record])
    assert said.allowed == (record == "users/x")
