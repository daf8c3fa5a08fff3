"""Signing in, staying signed in and ending it, over real gRPC on a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from chassis.call import new_id
from chassis.kernel.refusals import Refused
from gateway.domain.session import GRACE, MOST
from tests.access.conftest import PASSWORD, Company, make_company
from tests.platform import Running, refused


async def test_who_signs_in_gets_tokens_that_say_who_they_are(company: Company) -> None:
    boss = await company.administrator()
    me = await boss.GetMe()
    assert me.user.email == company.administrator_email
    assert me.organization.name == company.name and me.organization.currency == "CNY"
    assert me.credential == boss.sign_in.session.name
    assert boss.sign_in.session.device == "tests" and boss.sign_in.session.network == "192.0.2.1"
    assert {g.permission: g.scope for g in me.permissions}["users.write"] == 4  # ALL


async def test_nothing_that_opens_a_door_is_kept_in_the_clear(company: Company, access: Running) -> None:
    sign_in = await company.sign_in(company.administrator_email, request_id=new_id())
    tenant = company.name.removeprefix("organizations/")
    dump = ""
    async with access.store.database.connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant,))
        for table in ("tokens", "passwords", "users", "sessions", "answers", "outbox"):
            for row in await (await connection.execute(f"SELECT * FROM {table}")).fetchall():
                dump += repr(row)
        await connection.execute("COMMIT")
    assert sign_in.session.name.removeprefix("sessions/") in dump
    for secret in (sign_in.access_token, sign_in.refresh_token, PASSWORD):
        assert secret not in dump
    assert "$argon2id$v=19$m=19456,t=2,p=1$" in dump


@pytest.mark.parametrize("wrong", ["password", "email", "organization", "state"])
async def test_whatever_is_wrong_the_refusal_is_the_same(company: Company, wrong: str) -> None:
    person = await company.person("sales_rep")
    email, password, organization = person.email, PASSWORD, ""
    if wrong == "password":
        password = "another long password"
    elif wrong == "email":
        email = "nobody@example.com"
    elif wrong == "organization":
        organization = "organizations/another"
    else:
        await (await company.administrator()).DisableUser(name=person.name)
    assert await refused(company.sign_in(email, password, organization=organization), "SIGN_IN_REFUSED") == {}


async def test_one_email_may_open_two_organizations_by_their_names(access: Running) -> None:
    email = f"{new_id()}@example.com"
    one, two = await make_company(access, email), await make_company(access, email)
    facts = await refused(one.sign_in(email), "ORGANIZATION_NEEDED")
    assert facts["organizations"] == ", ".join(sorted([one.display_name, two.display_name]))
    for company in (one, two):
        for hint in (company.display_name, company.name):
            signed_in = await company.sign_in(email, organization=hint)
            assert (await company.call("GetMe", signed_in.access_token)).organization.name == company.name


async def test_a_refresh_makes_the_next_pair_and_the_parent_gets_the_same_one(company: Company) -> None:
    first = (await company.administrator()).sign_in
    refresh = company.access.method("RefreshSession")
    second = await refresh(refresh_token=first.refresh_token)
    again = await refresh(refresh_token=first.refresh_token)
    assert second.session.generation == 2
    assert second.access_token == again.access_token != first.access_token
    assert second.refresh_token == again.refresh_token != first.refresh_token
    both = await asyncio.gather(*(refresh(refresh_token=second.refresh_token) for _ in range(8)))
    assert len({answer.refresh_token for answer in both}) == 1 and both[0].session.generation == 3


async def test_a_stolen_refresh_token_ends_the_session_for_everyone(company: Company) -> None:
    boss = await company.administrator()
    refresh = company.access.method("RefreshSession")
    second = await refresh(refresh_token=boss.sign_in.refresh_token)
    third = await refresh(refresh_token=second.refresh_token)
    await refused(refresh(refresh_token=boss.sign_in.refresh_token), "SESSION_ENDED")
    await refused(refresh(refresh_token=third.refresh_token), "SESSION_ENDED")
    with pytest.raises(Refused, match="UNAUTHENTICATED"):
        await company.call("GetMe", third.access_token)
    session = await (await company.administrator()).GetSession(name=boss.sign_in.session.name)
    assert session.end_reason == "token reused"


async def test_the_parent_is_forgiven_for_ten_seconds_only(company: Company, access: Running) -> None:
    boss = await company.administrator()
    refresh = access.method("RefreshSession")
    await refresh(refresh_token=boss.sign_in.refresh_token)
    tenant, key = (
        company.name.removeprefix("organizations/"),
        boss.sign_in.session.name.removeprefix("sessions/"),
    )
    await shift(access, tenant, "UPDATE sessions SET rotate_time = rotate_time - %s WHERE id = %s",
                GRACE + timedelta(seconds=1), key)  # fmt: skip
    await refused(refresh(refresh_token=boss.sign_in.refresh_token), "SESSION_ENDED")


async def shift(access: Running, tenant: str, sql: str, *params: object) -> None:
    """Let time pass for a row."""
    async with access.store.database.connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant,))
        await connection.execute(sql, params)
        await connection.execute("COMMIT")


@pytest.mark.parametrize("method", ["CreateSession", "RefreshSession"])
async def test_the_same_request_again_gets_the_same_tokens(company: Company, method: str) -> None:
    sign_in = (await company.administrator()).sign_in
    call = company.access.method(method, **{"x-internal-peer": "192.0.2.1"})
    fields = {"refresh_token": sign_in.refresh_token}
    if method == "CreateSession":
        fields = {"email": company.administrator_email, "password": PASSWORD}
    key = new_id()
    first = await call(**fields, request_id=key)
    assert await call(**fields, request_id=key) == first
    both = new_id()
    if method == "CreateSession":
        one, other = await asyncio.gather(*(call(**fields, request_id=both) for _ in range(2)))
        assert one == other != first


async def test_a_dry_run_signs_nobody_in(company: Company) -> None:
    said = await company.sign_in(company.administrator_email, validate_only=True)
    assert said.session.name and not said.access_token and not said.refresh_token
    boss = await company.administrator()
    await refused(boss.GetSession(name=said.session.name), "NOT_FOUND")


async def test_an_access_token_ends_after_ten_minutes(company: Company, access: Running) -> None:
    boss = await company.administrator()
    end = boss.sign_in.access_expire_time.ToDatetime(tzinfo=UTC)
    assert timedelta(minutes=9) < end - datetime.now(UTC) <= timedelta(minutes=10)
    tenant = company.name.removeprefix("organizations/")
    await shift(access, tenant, "UPDATE tokens SET expire_time = now() WHERE kind = 'access'")
    with pytest.raises(Refused, match="UNAUTHENTICATED"):
        await boss.GetMe()


async def test_sessions_are_seen_and_ended_by_their_owner_alone(company: Company) -> None:
    rep, other = await company.person("sales_rep"), await company.person("sales_rep")
    listed = await rep.ListSessions()
    assert [session.name for session in listed.sessions] == [rep.sign_in.session.name]
    await refused(other.RevokeSession(name=rep.sign_in.session.name), "NOT_FOUND")
    assert (await rep.RevokeSession(name=rep.sign_in.session.name)).end_reason == "revoked"
    with pytest.raises(Refused, match="UNAUTHENTICATED"):
        await rep.GetMe()
    boss = await company.administrator()
    assert rep.sign_in.session.name in {s.name for s in (await boss.ListSessions(page_size=200)).sessions}


async def test_who_is_disabled_is_out_everywhere_at_once(company: Company) -> None:
    rep, boss = await company.person("sales_rep"), await company.administrator()
    key = await rep.CreateApiKey(api_key={"display_name": "mine", "permissions": ["orders.read"]})
    assert (await boss.DisableUser(name=rep.name)).state == 3
    for credential in (rep.sign_in.access_token, key.key):
        with pytest.raises(Refused, match="UNAUTHENTICATED"):
            await company.call("GetMe", credential)
    await refused(
        company.access.method("RefreshSession")(refresh_token=rep.sign_in.refresh_token), "SESSION_ENDED"
    )
    session = await boss.GetSession(name=rep.sign_in.session.name)
    assert (session.state, session.end_reason) == (2, "disabled")
    await boss.EnableUser(name=rep.name)
    assert (await company.sign_in(rep.email)).user.name == rep.name


async def test_a_user_has_so_many_sessions_and_no_more(company: Company) -> None:
    for _ in range(MOST):
        await company.sign_in(company.administrator_email)
    boss = await company.administrator()
    states = [s.state for s in (await boss.ListSessions(page_size=200, order_by="create_time")).sessions]
    assert len(states) == MOST + 1 and states.count(2) == 1 and states[0] == 2


async def test_guessing_has_to_wait_and_the_owner_elsewhere_does_not(company: Company) -> None:
    email = company.administrator_email
    await company.sign_in(email, peer="198.51.100.7")
    for _ in range(5):
        await refused(company.sign_in(email, "wrong wrong wrong", peer="203.0.113.9"), "SIGN_IN_REFUSED")
    facts = await refused(company.sign_in(email, peer="203.0.113.9"), "SIGN_IN_THROTTLED")
    assert int(facts["seconds"]) > 0
    assert (await company.sign_in(email, peer="198.51.100.7")).access_token
