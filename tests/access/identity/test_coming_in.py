"""Who comes in by an OpenID provider, with which roles, and for how long; and who does not."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from chassis.call import new_id
from gateway.providers import challenge_of, entrance, way_back
from gateway.second_factor import code_at
from tests.access.conftest import Company, Person, make_company
from tests.access.doors import ORIGIN, Doors
from tests.access.identity.browser import COOKIE, DOMAIN, VERIFIER, Browser, known, person, redeemed
from tests.access.provider import Provider, running_provider
from tests.access.test_sign_in import shift
from tests.platform import Running


@pytest.mark.req("X-08")
@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_who_has_an_account_there_comes_in_with_the_roles_of_the_groups(
    browser: Browser, provider: Provider, boss: Person, algorithm: str
) -> None:
    provider.algorithm = algorithm
    said = await browser.signed_in()
    assert said["user"]["email"] == provider.person["email"] and said["user"]["displayName"] == "李雷"
    assert (said["user"]["state"], said["user"]["roles"]) == ("ACTIVE", ["roles/sales_rep"])
    status, me = await browser.doors.ask("GET", "/v1/me", said["accessToken"])
    assert (status, me["organization"]["name"]) == (200, boss.company.name)
    fresh = (await browser.doors.ask("POST", "/v1/sessions:refresh", body={
        "refreshToken": said["refreshToken"]}))[1]  # fmt: skip
    assert fresh["session"]["name"] == said["session"]["name"]


@pytest.mark.req("X-08")
@pytest.mark.parametrize("way", ["client_secret_post", "none"])
async def test_providers_that_are_otherwise_will_do(doors: Doors, boss: Person, way: str) -> None:
    more = {"client_secret": ""} if way == "none" else {}
    with running_provider() as provider:
        provider.auth_method, provider.tells_late, provider.names_itself = way, True, False
        provider.person = person()
        said = await Browser(doors, await known(boss, provider, **more)).signed_in()
    assert said["user"]["email"] == provider.person["email"]
    assert said["user"]["roles"] == ["roles/sales_rep"]


async def test_what_is_sent_to_the_provider_is_what_the_rfcs_ask_for(browser: Browser) -> None:
    first, second = [dict(parse_qsl(urlsplit(await browser.away()).query)) for _ in range(2)]
    assert first["response_type"] == "code" and first["code_challenge_method"] == "S256"
    assert set(first["scope"].split()) == {"openid", "email", "profile"}
    assert first["redirect_uri"] == ORIGIN + way_back(browser.provider)
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) >= 43 and first[name] != second[name]
    answer = await browser.ask(f"{entrance(browser.provider)}?challenge={challenge_of(VERIFIER)}")
    cookie = answer.headers["set-cookie"]
    assert all(trait in cookie for trait in (COOKIE, "HttpOnly", "Secure", "SameSite=Lax", "Path=/"))
    sealed = cookie.partition("=")[2].partition(";")[0]
    assert first["state"] not in sealed and answer.headers["referrer-policy"] == "no-referrer"


async def test_somebody_is_found_by_address_once_and_by_identity_ever_after(
    browser: Browser, provider: Provider, boss: Person
) -> None:
    email = f"{new_id()}@{DOMAIN}"
    invited = await boss.CreateUser(user={"display_name": "Mei", "email": email, "roles": ["roles/support"]})
    provider.person = person(email=email.upper(), groups=["money"])
    said = await browser.signed_in()
    assert (said["user"]["name"], said["user"]["state"]) == (invited.name, "ACTIVE")
    assert said["user"]["roles"] == ["roles/finance"]
    moved = provider.person | {"email": f"elsewhere@{DOMAIN}", "email_verified": False}
    provider.person = moved
    assert (await browser.signed_in())["user"]["name"] == invited.name
    provider.person = person(email=email)  # another person got the address
    assert await browser.home() == ("error", "IDENTITY_UNKNOWN")


@pytest.mark.req("X-08")
async def test_roles_follow_the_groups_and_who_has_none_left_stays_out(
    browser: Browser, provider: Provider, boss: Person
) -> None:
    first = await browser.signed_in()
    provider.person["groups"] = ["money", "something else"]
    assert (await browser.signed_in())["user"]["roles"] == ["roles/finance"]
    provider.person["groups"] = []
    assert await browser.home() == ("error", "ROLE_MISSING")
    assert list((await boss.GetUser(name=first["user"]["name"])).roles) == []
    provider.person = person(groups="it")  # one value, and no list
    assert (await browser.signed_in())["user"]["roles"] == ["roles/administrator"]


async def test_the_last_administrator_keeps_the_role_whatever_the_groups_say(
    doors: Doors, company: Company, provider: Provider
) -> None:
    boss, domain = await company.administrator(), company.administrator_email.partition("@")[2]
    browser = Browser(doors, await known(boss, provider, email_domains=[domain]))
    provider.person = person(email=company.administrator_email)
    said = await browser.signed_in()
    assert said["user"]["name"] == boss.name
    assert set(said["user"]["roles"]) == {"roles/administrator", "roles/sales_rep"}


async def test_who_is_disabled_stays_out(browser: Browser, boss: Person) -> None:
    said = await browser.signed_in()
    kind, code = await browser.home()
    await boss.DisableUser(name=said["user"]["name"])
    assert kind == "code" and await redeemed(browser.doors, code) == "IDENTITY_UNKNOWN"
    assert await browser.home() == ("error", "IDENTITY_UNKNOWN")


@pytest.mark.parametrize(("claims", "reason"), [
    ({"email_verified": False}, "EMAIL_UNVERIFIED"), ({"email_verified": None}, "EMAIL_UNVERIFIED"),
    ({"email_verified": "yes"}, "EMAIL_UNVERIFIED"), ({"email": ""}, "EMAIL_UNVERIFIED"),
    ({"email": ["a@corp.example"]}, "EMAIL_UNVERIFIED"), ({"email": f"a@evil.example@{DOMAIN}.evil"},
    "EMAIL_DOMAIN_REFUSED"), ({"email": "li@corp.example.evil"}, "EMAIL_DOMAIN_REFUSED"),
    ({"email": "li@sub.corp.example"}, "EMAIL_DOMAIN_REFUSED"), ({"groups": ["nobody"]}, "ROLE_MISSING"),
    ({"groups": {"sales": True}}, "ROLE_MISSING"), ({"groups": [["sales"]]}, "ROLE_MISSING"),
])  # fmt: skip
async def test_who_is_not_vouched_for_does_not_come_in(
    browser: Browser, provider: Provider, boss: Person, claims: dict[str, Any], reason: str
) -> None:
    before = len((await boss.ListUsers(page_size=200)).users)
    provider.person = person(**claims)
    assert await browser.home() == ("error", reason)
    assert len((await boss.ListUsers(page_size=200)).users) == before  # nobody was made


async def test_an_address_in_another_claim_counts_where_the_provider_gives_the_addresses_out(
    doors: Doors, boss: Person, provider: Provider, access: Running
) -> None:
    address = f"{new_id()}@{DOMAIN}"
    claim = {"email_claim": "preferred_username", "trusts_email": True}
    browser = Browser(doors, await known(boss, provider, **claim))
    provider.person = person(email=f"{new_id()}@private.example", preferred_username=address)
    assert (await browser.signed_in())["user"]["email"] == address
    # Of before such a record was refused: email_verified says something of the claim email alone.
    provider.person = person(email=f"{new_id()}@private.example", preferred_username=f"{new_id()}@{DOMAIN}")
    told_less = "UPDATE identity_providers SET trusts_email = %s WHERE id = %s"
    await shift(access, boss.company.tenant, told_less, False, browser.provider)
    assert await browser.home() == ("error", "EMAIL_UNVERIFIED")


@pytest.mark.req("SEC-06")
async def test_who_was_refused_is_on_record_by_the_provider_and_the_reason(
    browser: Browser, provider: Provider, boss: Person, access: Running
) -> None:
    provider.person = person(email="li@elsewhere.example")
    assert await browser.home() == ("error", "EMAIL_DOMAIN_REFUSED")
    await access.runtime.trail.flush()
    asked = {"outcome": "SIGN_IN_FAILED", "record": f"identityProviders/{browser.provider}"}
    query = urlencode(asked | {"pageSize": 200})
    _, page = await browser.doors.ask("GET", f"/v1/auditEntries?{query}", boss.sign_in.access_token)
    found = [each for each in page["auditEntries"] if each["reason"] == "EMAIL_DOMAIN_REFUSED"]
    assert found and found[0]["network"] == "127.0.0.1" and "elsewhere" not in str(found)


async def test_the_networks_count_here_too(browser: Browser, provider: Provider, access: Running) -> None:
    boss = await (await make_company(access)).administrator()
    other = Browser(browser.doors, await known(boss, provider))
    allowed = {"name": boss.company.name, "allowed_networks": ["192.0.2.0/24"]}
    kind, code = await other.home()
    await boss.UpdateOrganization(organization=allowed)
    assert kind == "code" and await redeemed(browser.doors, code) == "NETWORK_REFUSED"


async def test_a_second_factor_is_asked_for_however_strong_the_provider_says_it_was(
    doors: Doors, provider: Provider, access: Running
) -> None:
    boss = await (await make_company(access)).administrator()
    other = Browser(doors, await known(boss, provider))
    provider.person = person(
        amr=["mfa", "otp", "hwk"], acr="http://schemas.openid.net/pape/policies/2007/06/multi-factor"
    )
    await boss.UpdateOrganization(organization={"name": boss.company.name, "second_factor_roles": ["*"]})
    token = (await other.signed_in())["accessToken"]
    status, said = await doors.ask("GET", "/v1/customers", token)
    assert (status, said["reason"]) == (403, "SECOND_FACTOR_NEEDED")
    # Without a password to show, a sign-in of just now says who sets it up.
    older = "UPDATE sessions SET create_time = create_time - interval '11 minutes'"
    assert (await doors.ask("POST", "/v1/me:enrollTotp", token, body={"password": "guessed at"}))[0] == 401
    await shift(access, boss.company.tenant, older)
    _, said = await doors.ask("POST", "/v1/me:enrollTotp", token, body={})
    assert said["reason"] == "SIGN_IN_ANEW" and said["facts"]["minutes"] == "10"
    token = (await other.signed_in())["accessToken"]
    _, made = await doors.ask("POST", "/v1/me:enrollTotp", token, body={})
    code = code_at(base64.b32decode(made["secret"]), datetime.now(UTC))
    assert (await doors.ask("POST", "/v1/me:confirmTotp", token, body={"code": code}))[0] == 200
    assert (await doors.ask("GET", "/v1/customers", token))[0] == 200
    assert (await other.signed_in())["challenge"]["token"].startswith(
        "twc_"
    )  # from now on, after the provider


async def test_a_session_begun_at_a_provider_lives_and_ends_here(
    doors: Doors, boss: Person, provider: Provider
) -> None:
    browser = Browser(doors, await known(boss, provider))
    _, code = await browser.home()
    begun = await doors.client.post(
        "/v1/sessions:redeem", json={"code": code, "verifier": VERIFIER, "kind": "BROWSER"},
        headers={"Sec-Fetch-Site": "same-origin"},
    )  # fmt: skip
    cookie = {"Cookie": begun.headers["set-cookie"].partition(";")[0]}
    session = begun.json()["session"]
    lasts = datetime.fromisoformat(session["expireTime"]) - datetime.fromisoformat(session["createTime"])
    assert timedelta(0) < lasts <= timedelta(hours=12)
    await boss.DeleteIdentityProvider(name=f"identityProviders/{browser.provider}")
    asked = list(provider.asked)
    assert (await doors.client.get("/v1/me", headers=cookie)).status_code == 200
    page = {**cookie, "Sec-Fetch-Site": "same-origin"}
    ended = await doors.client.post("/v1/me:signOut", json={}, headers=page)
    assert (ended.json()["name"], ended.json()["state"]) == (session["name"], "REVOKED")
    assert provider.asked == asked  # neither asked while it lived, nor told of its end


async def test_a_browser_may_take_its_session_as_a_cookie(browser: Browser, doors: Doors) -> None:
    _, code = await browser.home()
    answer = await doors.client.post(
        "/v1/sessions:redeem", json={"code": code, "verifier": VERIFIER, "kind": "BROWSER"},
        headers={"Sec-Fetch-Site": "same-origin"},
    )  # fmt: skip
    assert answer.status_code == 200 and "accessToken" not in answer.json()
    name, _, value = answer.headers["set-cookie"].partition(";")[0].partition("=")
    me = await doors.client.get("/v1/me", headers={"Cookie": f"{name}={value}"})
    assert me.json()["user"]["email"] == answer.json()["user"]["email"]


async def test_strangers_stay_out_where_people_are_invited(
    doors: Doors, boss: Person, provider: Provider
) -> None:
    browser = Browser(doors, await known(boss, provider, creates_users=False))
    assert await browser.home() == ("error", "IDENTITY_UNKNOWN")
