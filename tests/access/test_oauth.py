"""Tokens for programs by OAuth 2.0: what a key opens, for ten minutes, in the words of the RFCs."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote_plus

import pytest

from gateway.domain.role import within
from gateway.domain.throttle import PROGRAMS
from gateway.permissions import catalogue
from tests.access.conftest import Company
from tests.access.doors import ORIGIN, Doors
from tests.access.test_sign_in import shift
from tests.platform import Running, refused

GRANT = {"grant_type": "client_credentials"}


def basic(name: str, secret: str) -> dict[str, str]:
    """The header of RFC 6749 §2.3.1: both parts encoded as in a form, then in base64."""
    said = f"{quote_plus(name)}:{quote_plus(secret)}"
    return {"Authorization": f"Basic {base64.b64encode(said.encode()).decode()}"}


async def asked(doors: Doors, form: Any, **more: Any) -> tuple[int, dict[str, Any], Any]:
    """(status, JSON, headers) of POST /oauth/token."""
    answer = await doors.client.post("/oauth/token", data=form, **more)
    return answer.status_code, answer.json(), answer.headers


async def robot(company: Company, *permissions: str) -> Any:
    """A key of a service account in finance."""
    boss = await company.administrator()
    bot = await boss.CreateUser(
        user={"display_name": "ERP", "kind": "SERVICE_ACCOUNT", "roles": ["roles/finance"]}
    )
    named = list(permissions) or ["invoices.*", "customers.read"]
    return await boss.CreateApiKey(api_key={"display_name": "erp", "permissions": named, "owner": bot.name})


@pytest.mark.req("X-07")
@pytest.mark.parametrize("how", ["key", "key name", "account", "account name", "form"])
async def test_a_key_is_exchanged_for_a_token_that_opens_both_doors(
    doors: Doors, company: Company, how: str
) -> None:
    key = await robot(company)
    client = {
        "key": key.name.removeprefix("apiKeys/"), "key name": key.name, "account name": key.owner,
        "account": key.owner.removeprefix("users/"), "form": key.name,
    }[how]  # fmt: skip
    if how == "form":
        status, said, headers = await asked(doors, {**GRANT, "client_id": client, "client_secret": key.key})
    else:
        status, said, headers = await asked(doors, GRANT, headers=basic(client, key.key))
    assert (status, said["token_type"], said["scope"]) == (200, "Bearer", "invoices.* customers.read")
    assert 595 <= said["expires_in"] <= 600 and said["access_token"].startswith("twt_")
    assert (headers["cache-control"], headers["pragma"]) == ("no-store", "no-cache")
    for me in (
        (await doors.ask("GET", "/v1/me", said["access_token"]))[1]["credential"],
        (await doors.me(said["access_token"])).credential,
    ):
        assert me == key.name
    assert (await doors.ask("GET", "/v1/customers", said["access_token"]))[0] == 200
    assert (await doors.ask("GET", "/v1/users", said["access_token"]))[0] == 403


@pytest.mark.req("X-07")
async def test_a_token_may_be_for_less_than_its_key(doors: Doors, company: Company) -> None:
    key = await robot(company)
    form = {**GRANT, "scope": "invoices.read invoices.post invoices.read"}
    status, said, _ = await asked(doors, form, headers=basic(key.name, key.key))
    assert (status, said["scope"]) == (200, "invoices.read invoices.post")
    me = await company.call("GetMe", said["access_token"])
    assert {grant.permission for grant in me.permissions} == {"invoices.read", "invoices.post"}
    for scope in ("orders.read", "*", "*.read", "invoices.nothing", "invoices.read orders.read", "x" * 1001):
        refusal = await asked(doors, {**GRANT, "scope": scope}, headers=basic(key.name, key.key))
        assert refusal[:1] == (400,) and refusal[1]["error"] == "invalid_scope", scope


def test_a_pattern_lies_within_others_when_they_hold_all_it_stands_for() -> None:
    every = catalogue()
    assert within("invoices.read", ["invoices.*"], every) and within("invoices.*", ["*"], every)
    assert within("*.read", ["*.read", "x"], every) and not within("*", ["*.read"], every)
    assert not within("invoices.*", ["invoices.read"], every) and not within("nothing.here", ["*"], every)


async def test_what_is_wrong_is_said_in_the_words_of_the_rfc(doors: Doors, company: Company) -> None:
    key = await robot(company)
    good, by = {"client_id": key.name, "client_secret": key.key}, basic(key.name, key.key)
    kind = "application/x-www-form-urlencoded"
    wrong: list[tuple[str, int, Any, dict[str, Any]]] = [
        ("invalid_request", 400, good, {}),
        ("unsupported_grant_type", 400, good | {"grant_type": "password"}, {}),
        ("unsupported_grant_type", 400, good | {"grant_type": "authorization_code"}, {}),
        ("invalid_request", 400, GRANT | {"client_secret": key.key}, {"headers": by}),
        ("invalid_request", 400, GRANT | {"client_id": "another"}, {"headers": by}),
        ("invalid_request", 400, GRANT | good, {"params": {"scope": "invoices.read"}}),
        ("invalid_client", 401, GRANT, {}),
        ("invalid_client", 401, GRANT | good | {"client_secret": "twk_" + "x" * 43}, {}),
        ("invalid_client", 401, GRANT | good | {"client_id": "users/somebody"}, {}),
        ("invalid_client", 401, GRANT | good | {"client_id": ""}, {}),
        ("invalid_client", 401, GRANT, {"headers": {"Authorization": "Basic !!"}}),
        ("invalid_client", 401, GRANT, {"headers": {"Authorization": f"Bearer {key.key}"}}),
    ]  # fmt: skip
    for error, status, form, more in wrong:
        found, said, headers = await asked(doors, form, **more)
        assert (found, said["error"]) == (status, error), (form, more, said)
        assert headers["content-type"] == "application/json" and headers["cache-control"] == "no-store"
        assert ("basic" in headers.get("www-authenticate", "").lower()) is (status == 401)
    for content, type_ in (
        (b"grant_type=client_credentials&grant_type=client_credentials", kind),
        (b"grant_type=%ff", kind), (b"\xff\xfe", kind), (b"&".join([b"a=1"] * 50), kind),
        (b'{"grant_type": "client_credentials"}', "application/json"),
    ):  # fmt: skip
        headers = by | {"Content-Type": type_}
        answer = await doors.client.post("/oauth/token", content=content, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), content
    answer = await doors.client.get("/oauth/token")
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")


async def test_the_authorization_server_describes_itself(doors: Doors) -> None:
    said = (await doors.client.get("/.well-known/oauth-authorization-server")).json()
    assert (said["issuer"], said["token_endpoint"]) == (ORIGIN, f"{ORIGIN}/oauth/token")
    assert said["grant_types_supported"] == ["client_credentials"] and said["response_types_supported"] == []
    assert set(said["token_endpoint_auth_methods_supported"]) == {"client_secret_basic", "client_secret_post"}
    assert "invoices.post" in said["scopes_supported"]


@pytest.mark.req("X-07")
async def test_whoever_may_act_no_more_gets_no_tokens_and_those_given_are_over(
    doors: Doors, company: Company, access: Running
) -> None:
    boss, tenant = await company.administrator(), company.name.removeprefix("organizations/")
    end: dict[str, Any] = {
        "revoked": lambda key: boss.RevokeApiKey(name=key.name),
        "disabled": lambda key: boss.DisableUser(name=key.owner),
        "expired": lambda key: shift(
            access, tenant, "UPDATE api_keys SET expire_time = now() WHERE id = %s",
            key.name.removeprefix("apiKeys/")),
    }  # fmt: skip
    for how, over in end.items():
        key = await robot(company)
        _, said, _ = await asked(doors, GRANT, headers=basic(key.name, key.key))
        assert (await company.call("GetMe", said["access_token"])).user.name == key.owner
        await over(key)
        status, refusal, _ = await asked(doors, GRANT, headers=basic(key.name, key.key))
        assert (status, refusal["error"]) == (401, "invalid_client"), how
        with pytest.raises(Exception, match="UNAUTHENTICATED"):
            await company.call("GetMe", said["access_token"])


async def test_a_token_ends_with_its_key_if_that_is_sooner(
    doors: Doors, company: Company, access: Running
) -> None:
    key, tenant = await robot(company), company.name.removeprefix("organizations/")
    sooner = "UPDATE api_keys SET expire_time = now() + interval '90 seconds' WHERE id = %s"
    await shift(access, tenant, sooner, key.name.removeprefix("apiKeys/"))
    _, said, _ = await asked(doors, GRANT, headers=basic(key.name, key.key))
    assert 80 <= said["expires_in"] <= 90


async def test_who_guesses_secrets_has_to_wait(doors: Doors, company: Company) -> None:
    key = await robot(company)
    for _ in range(PROGRAMS.free):
        assert (await asked(doors, GRANT, headers=basic(key.name, "twk_wrong")))[0] == 401
    status, said, headers = await asked(doors, GRANT, headers=basic(key.name, key.key))
    assert (status, said["error"]) == (429, "temporarily_unavailable") and int(headers["retry-after"]) > 0


async def test_a_token_obtained_with_a_key_is_no_key(doors: Doors, company: Company) -> None:
    key = await robot(company)
    _, said, _ = await asked(doors, GRANT, headers=basic(key.name, key.key))
    status, refusal, _ = await asked(doors, GRANT, headers=basic(key.name, said["access_token"]))
    assert (status, refusal["error"]) == (401, "invalid_client")
    refresh = company.access.method("RefreshSession")
    await refused(refresh(refresh_token=said["access_token"]), "SESSION_ENDED")


@pytest.mark.req("X-07")
async def test_a_key_says_when_it_was_last_used_written_once_a_minute(
    company: Company, access: Running
) -> None:
    boss, key, tenant = (
        await company.administrator(), await robot(company), company.name.removeprefix("organizations/")
    )  # fmt: skip
    assert not (await boss.GetApiKey(name=key.name)).HasField("last_used_time")
    await company.call("GetMe", key.key)
    seen = await boss.GetApiKey(name=key.name)
    first = seen.last_used_time.ToDatetime(tzinfo=UTC)
    assert datetime.now(UTC) - first < timedelta(seconds=50) and seen.etag == key.etag
    await company.call("GetMe", key.key)
    assert (await boss.GetApiKey(name=key.name)).last_used_time == seen.last_used_time
    ago = "UPDATE api_keys SET last_used_time = last_used_time - interval '61 seconds' WHERE id = %s"
    await shift(access, tenant, ago, key.name.removeprefix("apiKeys/"))
    await company.call("GetMe", key.key)
    assert (await boss.GetApiKey(name=key.name)).last_used_time.ToDatetime(tzinfo=UTC) > first


async def test_no_token_is_given_outside_the_organizations_networks(doors: Doors, company: Company) -> None:
    key, boss = await robot(company), await company.administrator()
    allowed = {"name": company.name, "allowed_networks": ["192.0.2.0/24"]}
    await boss.UpdateOrganization(organization=allowed)
    status, said, _ = await asked(doors, GRANT, headers=basic(key.name, key.key))
    assert (status, said["error"]) == (400, "unauthorized_client")
