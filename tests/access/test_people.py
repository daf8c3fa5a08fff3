"""Inviting, activating, changing and disabling people, and what nobody may do to whom."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tradewind.access.v1 import user_pb2

from chassis.call import new_id
from chassis.kernel.refusals import Refused
from chassis.outbox import part_of
from tests.access.conftest import PASSWORD, Company, make_company
from tests.platform import Running, refused, settle

INVITED, ACTIVE, DISABLED = 1, 2, 3
MANAGER = {"display_name": "People", "grants": [{"permission": "users.*", "scope": "ALL"}]}


def mask(*paths: str) -> FieldMask:
    return FieldMask(paths=paths)


async def test_an_invited_person_sets_a_password_and_signs_in(company: Company) -> None:
    boss, email = await company.administrator(), f"{new_id()}@Example.com"
    user = await boss.CreateUser(user={"display_name": "李雷", "email": email, "roles": ["roles/sales_rep"]})
    assert (user.state, user.email, user.HasField("password_time")) == (INVITED, email.lower(), False)
    await refused(company.sign_in(email), "SIGN_IN_REFUSED")
    activate = company.access.method("ActivateUser")
    await refused(activate(invitation_code=user.invitation_code, password="too short"), "PASSWORD_WEAK")
    await refused(activate(invitation_code=user.invitation_code, password=email), "PASSWORD_WEAK")
    await refused(activate(invitation_code="twi_" + "x" * 43, password=PASSWORD), "CODE_INVALID")
    active = await activate(invitation_code=user.invitation_code, password=PASSWORD)
    assert (active.state, active.invitation_code, active.HasField("password_time")) == (ACTIVE, "", True)
    await refused(
        activate(invitation_code=user.invitation_code, password="another one entirely"), "CODE_INVALID"
    )
    assert (await company.sign_in(email.upper())).user.name == user.name


async def test_the_same_request_again_shows_the_same_code_and_makes_one_user(company: Company) -> None:
    boss, key = await company.administrator(), new_id()
    wanted = {"display_name": "Han", "email": f"{new_id()}@example.com"}
    answers = await asyncio.gather(*(boss.CreateUser(user=wanted, request_id=key) for _ in range(4)))
    assert len({(a.name, a.invitation_code) for a in answers}) == 1 and answers[0].invitation_code
    activate, again = company.access.method("ActivateUser"), new_id()
    fields = {"invitation_code": answers[0].invitation_code, "password": PASSWORD, "request_id": again}
    assert await activate(**fields) == await activate(**fields)
    await refused(boss.CreateUser(user=wanted), "ALREADY_EXISTS")


async def test_a_reset_ends_everything_and_its_code_sets_a_new_password(company: Company) -> None:
    boss, rep = await company.administrator(), await company.person("sales_rep")
    reset = await boss.ResetPassword(name=rep.name)
    assert reset.invitation_code and not reset.HasField("password_time")
    await refused(company.sign_in(rep.email), "SIGN_IN_REFUSED")
    refresh = company.access.method("RefreshSession")
    await refused(refresh(refresh_token=rep.sign_in.refresh_token), "SESSION_ENDED")
    newer = await boss.ResetPassword(name=rep.name)
    activate = company.access.method("ActivateUser")
    await refused(activate(invitation_code=reset.invitation_code, password=PASSWORD), "CODE_INVALID")
    await activate(invitation_code=newer.invitation_code, password="a new and longer one")
    assert (await company.sign_in(rep.email, "a new and longer one")).access_token


async def test_ones_own_password_changes_with_the_old_one_and_ends_other_sessions(company: Company) -> None:
    rep = await company.person("sales_rep")
    other = await company.sign_in(rep.email)
    fresh = "a new and longer one"
    await refused(rep.ChangePassword(password="not the old one", new_password=fresh), "SIGN_IN_REFUSED")
    await refused(rep.ChangePassword(password=PASSWORD, new_password="password1234"), "PASSWORD_WEAK")
    key = new_id()
    first = await rep.ChangePassword(password=PASSWORD, new_password=fresh, request_id=key)
    assert await rep.ChangePassword(password=PASSWORD, new_password=fresh, request_id=key) == first
    states = {s.name: s.state for s in (await rep.ListSessions()).sessions}
    assert states == {rep.sign_in.session.name: 1, other.session.name: 2}
    await refused(company.sign_in(rep.email), "SIGN_IN_REFUSED")
    assert (await company.sign_in(rep.email, fresh)).access_token


async def test_who_signs_out_is_out_and_their_other_devices_are_not(company: Company) -> None:
    rep = await company.person("sales_rep")
    other = await company.sign_in(rep.email)
    assert (await rep.SignOut()).name == rep.sign_in.session.name
    with pytest.raises(Refused, match="UNAUTHENTICATED"):
        await rep.GetMe()
    assert (await company.call("GetMe", other.access_token)).user.name == rep.name


async def test_a_role_and_a_team_have_to_be_there(company: Company) -> None:
    boss = await company.administrator()
    wanted = {"display_name": "Han", "email": f"{new_id()}@example.com"}
    facts = await refused(boss.CreateUser(user={**wanted, "roles": ["roles/pirate"]}), "REFERENCE_UNKNOWN")
    assert facts["field"] == "user.roles[0]"
    facts = await refused(boss.CreateUser(user={**wanted, "team": "teams/none"}), "REFERENCE_UNKNOWN")
    assert facts["field"] == "user.team"
    await refused(boss.CreateUser(user={"display_name": "Han"}), "FIELD_INVALID")
    await refused(boss.CreateUser(user={**wanted, "email": "no address"}), "FIELD_INVALID")
    await refused(boss.CreateUser(user={**wanted, "state": "ACTIVE"}), "FIELD_NOT_WRITABLE")


async def test_somebody_always_administers_even_when_two_leave_at_once(company: Company) -> None:
    boss = await company.administrator()
    await refused(boss.DisableUser(name=boss.name), "LAST_ADMINISTRATOR")
    update = {"name": boss.name, "roles": ["roles/sales_rep"]}
    await refused(boss.UpdateUser(user=update, update_mask=mask("roles")), "LAST_ADMINISTRATOR")
    second = await company.person("administrator")
    answers = await asyncio.gather(
        boss.DisableUser(name=second.name), second.DisableUser(name=boss.name), return_exceptions=True
    )
    assert [isinstance(answer, user_pb2.User) for answer in answers].count(True) == 1


async def test_nobody_raises_themselves_or_reaches_whoever_may_do_more(company: Company) -> None:
    boss = await company.administrator()
    role = await boss.CreateRole(role=MANAGER)
    clerk, rep = await company.person(role.name), await company.person("sales_rep")
    themselves = {"name": clerk.name, "roles": [role.name, "roles/administrator"]}
    await refused(clerk.UpdateUser(user=themselves, update_mask=mask("roles")), "GRANT_EXCEEDS_OWN")
    for verb in (clerk.ResetPassword, clerk.DisableUser):
        await refused(verb(name=boss.name), "GRANT_EXCEEDS_OWN")
    stolen = {"name": boss.name, "email": f"{new_id()}@example.com"}
    await refused(clerk.UpdateUser(user=stolen, update_mask=mask("email")), "GRANT_EXCEEDS_OWN")
    invited = {"display_name": "Han", "email": f"{new_id()}@example.com", "roles": ["roles/finance"]}
    await refused(clerk.CreateUser(user=invited), "GRANT_EXCEEDS_OWN")
    await refused(rep.CreateUser(user=invited), "PERMISSION_DENIED")
    peer = await clerk.CreateUser(user={**invited, "roles": [role.name]})
    assert (await clerk.DisableUser(name=peer.name)).state == DISABLED


async def test_a_service_account_has_keys_and_no_password(company: Company) -> None:
    boss = await company.administrator()
    bot = await boss.CreateUser(user={"display_name": "Importer", "kind": "SERVICE_ACCOUNT"})
    another = await boss.CreateUser(user={"display_name": "Another", "kind": "SERVICE_ACCOUNT"})
    assert (bot.state, bot.invitation_code, another.email) == (ACTIVE, "", "")
    await refused(boss.ResetPassword(name=bot.name), "NOT_A_PERSON")


@pytest.mark.req("X-25")
async def test_nothing_of_one_organization_is_seen_by_another(company: Company, access: Running) -> None:
    other = await make_company(access)
    here, there = await company.administrator(), await other.administrator()
    team = await here.CreateTeam(team={"display_name": "East"})
    key = await here.CreateApiKey(api_key={"display_name": "x", "permissions": ["orders.read"]})
    seen = [
        there.GetUser(name=here.name), there.GetTeam(name=team.name), there.GetApiKey(name=key.name),
        there.GetSession(name=here.sign_in.session.name), there.GetOrganization(name=company.name),
        there.DisableUser(name=here.name), there.MoveTeam(name=team.name), there.DeleteTeam(name=team.name),
        there.RevokeApiKey(name=key.name), there.RevokeSession(name=here.sign_in.session.name),
        there.ResetPassword(name=here.name),
    ]  # fmt: skip
    for call in seen:
        await refused(call, "NOT_FOUND")
    user = {"display_name": "Han", "email": f"{new_id()}@example.com", "team": team.name}
    await refused(there.CreateUser(user=user), "REFERENCE_UNKNOWN")
    assert [u.name for u in (await there.ListUsers()).users] == [there.name]
    assert (await here.GetMe()).organization.name == company.name


async def test_events_tell_names_and_teams_and_no_addresses(company: Company, access: Running) -> None:
    boss = await company.administrator()
    email = f"{new_id()}@example.com"
    await boss.CreateUser(user={"display_name": "韩梅梅", "email": email, "roles": ["roles/finance"]})
    await company.sign_in(company.administrator_email)
    await settle(access)
    tenant = company.name.removeprefix("organizations/")
    async with access.store.database.connection() as connection:
        asked = "SELECT type, payload, tenant_id FROM outbox_read(%s::smallint, 1, 100000)"
        found = await connection.execute(asked, (part_of(tenant),))
        facts = [
            (row[0].rpartition(".")[2], bytes(row[1])) for row in await found.fetchall() if row[2] == tenant
        ]
    kinds = [kind for kind, _ in facts]
    assert kinds[0] == "OrganizationCreated" and kinds.count("RoleCreated") == 9
    assert {"UserCreated", "UserActivated", "SessionCreated"} <= set(kinds)
    payloads = b"".join(payload for _, payload in facts)
    assert "韩梅梅".encode() in payloads
    for personal in (email, company.administrator_email, "192.0.2.1", "twi_", "twa_"):
        assert personal.encode() not in payloads


async def test_an_organization_changes_its_settings_but_not_its_currency(
    company: Company, access: Running
) -> None:
    boss, other = await company.administrator(), await make_company(access)
    change = {"name": company.name, "time_zone": "Europe/Paris", "fiscal_year_start_month": 4}
    changed = await boss.UpdateOrganization(organization=change)
    assert (changed.time_zone, changed.fiscal_year_start_month, changed.currency) == (
        "Europe/Paris",
        4,
        "CNY",
    )
    wrong = {"name": company.name, "time_zone": "Mars/Olympus"}
    await refused(boss.UpdateOrganization(organization=wrong), "FIELD_INVALID")
    wrong = {"name": company.name, "currency": "EUR"}
    await refused(
        boss.UpdateOrganization(organization=wrong, update_mask=mask("currency")), "FIELD_NOT_WRITABLE"
    )
    taken = {"name": company.name, "display_name": other.display_name}
    await refused(boss.UpdateOrganization(organization=taken), "ALREADY_EXISTS")
