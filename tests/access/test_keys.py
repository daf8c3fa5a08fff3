"""Keys for programs: shown once, a share of their owner's permissions, ended at will."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from chassis.call import new_id
from chassis.kernel.refusals import Refused
from tests.access.conftest import Company
from tests.platform import refused

READ = {"display_name": "reader", "permissions": ["orders.read", "users.*"]}


async def test_a_key_acts_for_its_owner_within_its_share(company: Company) -> None:
    rep, key_request = await company.person("sales_rep"), new_id()
    key = await rep.CreateApiKey(api_key=READ, request_id=key_request)
    assert key.key.startswith("twk_") and key.key.endswith(key.hint) and key.owner == rep.name
    assert await rep.CreateApiKey(api_key=READ, request_id=key_request) == key
    assert (await rep.GetApiKey(name=key.name)).key == ""
    assert [k.name for k in (await rep.ListApiKeys()).api_keys] == [key.name]
    me = await company.call("GetMe", key.key)
    assert (me.user.name, me.credential) == (rep.name, key.name)
    assert {g.permission: g.scope for g in me.permissions} == {"orders.read": 1, "users.read": 4}
    await refused(company.call("ListTeams", key.key), "PERMISSION_DENIED")
    assert (await company.call("ListUsers", key.key)).users


async def test_a_service_account_acts_by_its_key_alone(company: Company) -> None:
    boss = await company.administrator()
    bot = await boss.CreateUser(
        user={"display_name": "Importer", "kind": "SERVICE_ACCOUNT", "roles": ["roles/finance"]}
    )
    wanted = {"display_name": "import", "permissions": ["invoices.*"], "owner": bot.name}
    key = await boss.CreateApiKey(api_key=wanted)
    me = await company.call("GetMe", key.key)
    assert me.user.name == bot.name
    assert "invoices.post" in {g.permission for g in me.permissions}
    await boss.DisableUser(name=bot.name)
    with pytest.raises(Refused, match="UNAUTHENTICATED"):
        await company.call("GetMe", key.key)


async def test_a_key_that_was_ended_or_is_over_opens_nothing(company: Company) -> None:
    rep = await company.person("sales_rep")
    key = await rep.CreateApiKey(api_key=READ)
    await rep.RevokeApiKey(name=key.name)
    await refused(rep.RevokeApiKey(name=key.name), "STATE_FORBIDS")
    over = await rep.CreateApiKey(api_key=READ)
    tenant = company.name.removeprefix("organizations/")
    async with company.access.store.database.connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant,))
        await connection.execute("UPDATE tokens SET expire_time = now() WHERE kind = 'key'")
        await connection.execute("COMMIT")
    for secret in (key.key, over.key, "twk_" + "x" * 43, "twk_", "x" * 5000):
        with pytest.raises(Refused, match="UNAUTHENTICATED"):
            await company.call("GetMe", secret)


async def test_a_key_never_holds_more_than_its_owner_and_its_maker(company: Company) -> None:
    boss, rep = await company.administrator(), await company.person("sales_rep")
    await refused(rep.CreateApiKey(api_key={**READ, "permissions": ["teams.write"]}), "GRANT_EXCEEDS_OWN")
    await refused(rep.CreateApiKey(api_key={**READ, "permissions": ["orders.raed"]}), "PERMISSION_UNKNOWN")
    await refused(boss.CreateApiKey(api_key={**READ, "owner": rep.name}), "KEY_FOR_ANOTHER")
    bot = await boss.CreateUser(
        user={"display_name": "Bot", "kind": "SERVICE_ACCOUNT", "roles": ["roles/finance"]}
    )
    theirs = {**READ, "permissions": ["invoices.read"], "owner": bot.name}
    await refused(rep.CreateApiKey(api_key=theirs), "PERMISSION_DENIED")  # one's own, and nobody else's
    grants = [{"permission": "apiKeys.write", "scope": "ALL"}]
    keeper = await boss.CreateRole(role={"display_name": "Keys", "grants": grants})
    await refused((await company.person(keeper.name)).CreateApiKey(api_key=theirs), "GRANT_EXCEEDS_OWN")
    key = await rep.CreateApiKey(api_key={**READ, "permissions": ["orders.read", "apiKeys.*"]})
    wider = {"display_name": "wider", "permissions": ["*"]}
    await refused(company.call("CreateApiKey", key.key, api_key=wider), "GRANT_EXCEEDS_OWN")


async def test_a_key_ends_within_a_year(company: Company) -> None:
    rep = await company.person("sales_rep")
    for days in (-1, 400):
        end = datetime.now(UTC) + timedelta(days=days)
        facts = await refused(rep.CreateApiKey(api_key={**READ, "expire_time": end}), "FIELD_INVALID")
        assert facts["field"] == "api_key.expire_time"


async def test_keys_of_others_are_seen_by_the_administrator_alone(company: Company) -> None:
    boss, rep, other = (await company.administrator(), await company.person("sales_rep"),
                        await company.person("sales_rep"))  # fmt: skip
    key = await rep.CreateApiKey(api_key=READ)
    await refused(other.GetApiKey(name=key.name), "NOT_FOUND")
    await refused(other.RevokeApiKey(name=key.name), "NOT_FOUND")
    assert not (await other.ListApiKeys()).api_keys
    assert (await boss.RevokeApiKey(name=key.name)).state == 2
