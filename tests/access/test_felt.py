"""Changed roles, teams, users and shares are felt within five seconds, however the caches fell before.

The clock of the identity caches is the test's: it is moved, never waited for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import jwt
import pytest

from chassis.reasons import reason_of
from gateway import identify
from gateway.identify import Identifier
from tests.access.conftest import Company, Person
from tests.access.test_explanation import Office, office_of
from tests.platform import Running


class Clock:
    """What the caches take for the time."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


async def seen(office: Office, who: Person, record: str) -> str:
    """What becomes of reading the record with the credential, through caches that are as they are."""
    try:
        token = (await office.company.identify(f"Bearer {who.sign_in.access_token}", "192.0.2.1")).token
        await office.customer.method("GetCustomer", token)(name=record)
        return "seen"
    except Exception as no:
        return getattr(no, "reason", "") or reason_of(no)[0]  # type: ignore[arg-type]


async def other(office: Office, method: str, **fields: Any) -> None:
    """Something the administrator does, whose own identity is not looked up anew for it."""
    await office.company.access.method(method, office.hand.token)(**fields)


Change = Callable[[Office, Person, str], Awaitable[Any]]


async def take_the_role(office: Office, who: Person, record: str) -> None:
    wanted = {"name": who.name, "roles": ["roles/warehouse"]}
    await other(office, "UpdateUser", user=wanted, update_mask={"paths": ["roles"]})


async def move_the_user(office: Office, who: Person, record: str) -> None:
    wanted = {"name": who.name, "team": office.teams["west"]}
    await other(office, "UpdateUser", user=wanted, update_mask={"paths": ["team"]})


async def move_the_team(office: Office, who: Person, record: str) -> None:
    await other(office, "MoveTeam", name=office.teams["shore"], parent=office.teams["west"])


async def disable_the_user(office: Office, who: Person, record: str) -> None:
    await other(office, "DisableUser", name=who.name)


async def narrow_the_role(office: Office, who: Person, record: str) -> None:
    role = (await office.company.access.method("GetUser", office.hand.token)(name=who.name)).roles[0]
    grants = [{"permission": "customers.read", "scope": "OWN"}]
    await other(
        office, "UpdateRole", role={"name": role, "grants": grants}, update_mask={"paths": ["grants"]}
    )


async def revoke_the_share(office: Office, who: Person, record: str) -> None:
    (share,) = (await office.customer.method("ListShares", office.hand.token)(record=record)).shares
    await office.do("RevokeShare", name=share.name)


CHANGES = {
    take_the_role: "seen",  # as warehouse they see all customers
    move_the_user: "NOT_FOUND",
    move_the_team: "NOT_FOUND",
    disable_the_user: "UNAUTHENTICATED",
    narrow_the_role: "NOT_FOUND",
}


@pytest.mark.parametrize(("change", "after"), CHANGES.items(), ids=[change.__name__ for change in CHANGES])
async def test_a_change_is_felt_within_five_seconds(
    company: Company, customer: Running, change: Change, after: str
) -> None:
    clock, access = Clock(), company.access
    company = replace(company, identify=Identifier(access.runtime.store, access.runtime.signer, clock))
    office = await office_of(company, customer)
    role = await office.boss.CreateRole(
        role={"display_name": "Looks", "grants": [{"permission": "customers.read", "scope": "SUBTREE"}]}
    )
    who = await company.person(role.name, team=office.teams["east"])
    company.identify.forget()
    record = office.common["other's" if change is take_the_role else "below"]
    before = "NOT_FOUND" if change is take_the_role else "seen"
    # The worst way the caches can fall: roles and teams are read for somebody else just before the change,
    # and serve this one as long as they may, whose identity is then used for as long as it may be.
    mate = await company.person("auditor")
    await company.identify(f"Bearer {office.boss.sign_in.access_token}", "192.0.2.1")
    changed = clock.at + identify.DIRECTORY_SECONDS
    clock.at = changed + identify.DIRECTORY_SECONDS - 0.01 - identify.IDENTITY_SECONDS
    assert await seen(office, who, record) == before
    clock.at = changed
    await company.identify(f"Bearer {mate.sign_in.access_token}", "192.0.2.1")
    await change(office, who, record)
    clock.at = changed + identify.DIRECTORY_SECONDS - 0.01
    late = await seen(office, who, record)
    assert late == before or change not in (narrow_the_role, move_the_team)
    clock.at = changed + 5
    assert await seen(office, who, record) == after


async def test_a_share_is_felt_at_once(company: Company, customer: Running) -> None:
    """It is no part of who somebody is: nothing remembers it."""
    office = await office_of(company, customer)
    who = await company.person("sales_rep")
    record = await office.record()
    assert await seen(office, who, record) == "NOT_FOUND"
    await office.share(record, who.name, 1)
    assert await seen(office, who, record) == "seen"
    await revoke_the_share(office, who, record)
    assert await seen(office, who, record) == "NOT_FOUND"


async def test_roles_teams_and_territories_are_read_again_once_any_of_them_changed(company: Company) -> None:
    clock, access = Clock(), company.access
    look = Identifier(access.runtime.store, access.runtime.signer, clock)
    boss = await company.administrator()

    async def directory() -> identify.Directory:
        clock.at += 10
        await look(f"Bearer {boss.sign_in.access_token}", "192.0.2.1")
        return look._directories[company.tenant][1]

    known = await directory()
    assert await directory() is known
    team = await boss.CreateTeam(team={"display_name": "New"})
    assert await directory() is not known
    role = await boss.CreateRole(
        role={"display_name": "R", "grants": [{"permission": "leads.read", "scope": "OWN"}]}
    )
    known = await directory()
    assert role.name in known.roles
    changes = (
        boss.UpdateTeam(
            team={"name": team.name, "display_name": "Newer"}, update_mask={"paths": ["display_name"]}
        ),
        boss.CreateTerritory(territory={"display_name": "East"}),
        boss.UpdateOrganization(
            organization={
                "name": f"organizations/{company.tenant}",
                "locale": "zh-CN",
                "time_zone": "Asia/Tokyo",
            },
            update_mask={"paths": ["locale", "time_zone"]},
        ),
        boss.DeleteRole(name=role.name),
    )
    for change in changes:
        await change
        before, known = known, await directory()
        assert known is not before
        assert await directory() is known
    assert role.name not in known.roles and known.organization.locale == "zh-CN"
    clock.at += 10
    who = await look(f"Bearer {boss.sign_in.access_token}", "192.0.2.1")
    assert jwt.decode(who.token, options={"verify_signature": False})["zone"] == "Asia/Tokyo"
