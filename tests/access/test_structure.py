"""Teams and roles as they are kept: a tree, and grants that nobody stretches."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.call import Call
from chassis.laws import verify
from gateway.domain.built_in import BUILT_IN
from gateway.jobs import refresh_built_in_roles
from gateway.service import LAWS
from tests.access.conftest import Company
from tests.platform import refused


async def test_a_team_moves_and_never_under_itself(company: Company) -> None:
    boss = await company.administrator()
    sales = await boss.CreateTeam(team={"display_name": "Sales", "manager": boss.name, "region": "华东"})
    east = await boss.CreateTeam(team={"display_name": "East", "parent": sales.name})
    city = await boss.CreateTeam(team={"display_name": "City", "parent": east.name})
    await refused(boss.MoveTeam(name=sales.name, parent=city.name), "TEAM_CYCLE")
    moved = await boss.MoveTeam(name=city.name, parent=sales.name, etag=city.etag)
    assert moved.parent == sales.name
    await refused(boss.MoveTeam(name=city.name, parent="", etag=city.etag), "ETAG_MISMATCH")
    facts = await refused(boss.MoveTeam(name=city.name, parent="teams/none"), "REFERENCE_UNKNOWN")
    assert facts["field"] == "parent"
    parent = {"name": city.name, "parent": east.name}
    with_mask = boss.UpdateTeam(team=parent, update_mask=FieldMask(paths=["parent"]))
    await refused(with_mask, "FIELD_NOT_WRITABLE")
    await refused(boss.CreateTeam(team={"display_name": "X", "manager": "users/none"}), "REFERENCE_UNKNOWN")


async def test_two_moves_at_once_never_close_a_circle(company: Company) -> None:
    boss = await company.administrator()
    for _ in range(5):
        one = await boss.CreateTeam(team={"display_name": "One"})
        two = await boss.CreateTeam(team={"display_name": "Two"})
        await asyncio.gather(
            boss.MoveTeam(name=one.name, parent=two.name), boss.MoveTeam(name=two.name, parent=one.name),
            return_exceptions=True,
        )  # fmt: skip
        parents = [(await boss.GetTeam(name=team.name)).parent for team in (one, two)]
        assert parents.count("") == 1


async def test_a_team_in_use_stays(company: Company) -> None:
    boss = await company.administrator()
    sales = await boss.CreateTeam(team={"display_name": "Sales"})
    east = await boss.CreateTeam(team={"display_name": "East", "parent": sales.name})
    person = await company.person("sales_rep", team=east.name)
    await refused(boss.DeleteTeam(name=sales.name), "IN_USE")
    await refused(boss.DeleteTeam(name=east.name), "IN_USE")
    await boss.UpdateUser(user={"name": person.name}, update_mask=FieldMask(paths=["team"]))
    await boss.DeleteTeam(name=east.name)
    await boss.DeleteTeam(name=sales.name)
    assert not (await boss.ListTeams()).teams


@pytest.mark.req("SEC-01")
async def test_roles_by_job_decide_who_may_do_what(company: Company) -> None:
    boss, rep = await company.administrator(), await company.person("sales_rep")
    auditor, manager = await company.person("auditor"), await company.person("sales_manager")
    listed = {role.name for role in (await rep.ListRoles()).roles}
    assert listed == {f"roles/{word}" for word in BUILT_IN}
    for person in (rep, auditor, manager):
        await refused(person.CreateTeam(team={"display_name": "Mine"}), "PERMISSION_DENIED")
    assert (await boss.CreateTeam(team={"display_name": "East"})).name
    for role in ("sales_rep", "sales_manager"):
        wanted = {"name": f"roles/{role}", "display_name": "Boss"}
        await refused(boss.UpdateRole(role=wanted), "ROLE_BUILT_IN")
        await refused(boss.DeleteRole(name=f"roles/{role}"), "ROLE_BUILT_IN")


@pytest.mark.req("SEC-03")
async def test_a_role_of_ones_own_has_a_scope_for_each_permission(company: Company) -> None:
    boss = await company.administrator()
    grants = [{"permission": "orders.*", "scope": "TEAM"}, {"permission": "quotes.read", "scope": "OWN"}]
    role = await boss.CreateRole(role={"display_name": "Helper", "grants": grants})
    helper = await company.person(role.name)
    held = {g.permission: g.scope for g in (await helper.GetMe()).permissions}
    assert (held["orders.confirm"], held["quotes.read"]) == (2, 1) and "quotes.write" not in held
    narrower = {"name": role.name, "grants": [{"permission": "orders.read", "scope": "OWN"}]}
    await boss.UpdateRole(role=narrower)
    held = {g.permission: g.scope for g in (await helper.GetMe()).permissions}
    assert held["orders.read"] == 1 and "orders.confirm" not in held
    await refused(boss.DeleteRole(name=role.name), "IN_USE")
    unknown = [{"permission": "orders.raed", "scope": "OWN"}]
    await refused(boss.CreateRole(role={"display_name": "X", "grants": unknown}), "PERMISSION_UNKNOWN")
    twice = {"display_name": "Helper", "grants": grants}
    assert (await refused(boss.CreateRole(role=twice), "ALREADY_EXISTS"))["field"] == "display_name"


async def test_who_may_make_roles_gives_no_more_than_they_have(company: Company) -> None:
    boss = await company.administrator()
    grants = [{"permission": "roles.*", "scope": "ALL"}, {"permission": "orders.*", "scope": "TEAM"}]
    role = await boss.CreateRole(role={"display_name": "Role maker", "grants": grants})
    maker = await company.person(role.name)
    wide = [{"permission": "orders.read", "scope": "ALL"}]
    facts = await refused(
        maker.CreateRole(role={"display_name": "Wide", "grants": wide}), "GRANT_EXCEEDS_OWN"
    )
    assert facts == {"permission": "orders.read", "scope": "all"}
    narrow = [{"permission": "orders.read", "scope": "OWN"}]
    assert (await maker.CreateRole(role={"display_name": "Narrow", "grants": narrow})).name


async def test_built_in_roles_follow_the_release_and_laws_hold(company: Company) -> None:
    access, tenant = company.access, company.name.removeprefix("organizations/")
    with psycopg.connect(access.owner_url) as db:  # as if the release before had not known the role
        db.execute("DELETE FROM outbox WHERE tenant_id = %s AND record = 'roles/support'", [tenant])
    async with access.store.begin(Call(tenant=tenant, user="services/access")) as tx:
        await tx.run("DELETE FROM roles WHERE tenant_id = %s AND id = 'support'", [tenant])
        await tx.run("UPDATE roles SET grants = '[]' WHERE tenant_id = %s AND id = 'auditor'", [tenant])
    rep = await company.person("auditor")
    assert len((await rep.GetMe()).permissions) > 10  # what was kept of a built-in role decides nothing
    for _ in range(2):
        async with access.store.begin(Call(tenant=tenant, user="services/access")) as tx:
            await refresh_built_in_roles(tx)
    kept = {role.name: role for role in (await rep.ListRoles()).roles}
    assert len(kept["roles/support"].grants) > 5 and kept["roles/support"].etag == "1"
    assert len(kept["roles/auditor"].grants) == 2 and kept["roles/auditor"].etag == "2"
    broken = [verdict for verdict in await verify("access", access.store, LAWS) if verdict.broken]
    assert not broken
