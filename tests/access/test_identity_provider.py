"""Signing in by an OpenID provider, from the first redirect to a session; and all that is no way in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chassis.call import new_id
from gateway.providers import challenge_of, entrance, way_back
from tests.access.conftest import Company, Person, make_company
from tests.access.doors import ORIGIN, Doors
from tests.access.provider import CLIENT, SECRET, Provider, running_provider
from tests.platform import Running, refused

VERIFIER = "v" * 43
COOKIE = "__Host-tradewind-sign-in"
DOMAIN = "corp.example"


@dataclass
class Browser:
    """A browser that is sent to and fro, as far as a test lets it."""

    doors: Doors
    provider: str  # the id of the identity provider at Tradewind
    cookies: dict[str, str] = field(default_factory=dict)
    client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=20))

    async def ask(self, url: str) -> httpx.Response:
        """GET, at the gateway with its cookies."""
        if url.startswith(ORIGIN):
            url = url.removeprefix(ORIGIN)
        if not url.startswith("/"):
            return await self.client.get(url)
        sent = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())} if self.cookies else {}
        answer = await self.doors.client.get(url, headers=sent)
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    async def away(self, home: str = "/start") -> str:
        """The address at the provider that a sign-in sends to."""
        query = urlencode({"returnTo": home, "challenge": challenge_of(VERIFIER)})
        answer = await self.ask(f"{entrance(self.provider)}?{query}")
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def granted(self) -> str:
        """The address at the gateway that the provider sends back to."""
        answer = await self.ask(await self.away())
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    async def home(self, url: str = "") -> tuple[str, str]:
        """("code" or "error", its value) with which the browser comes home."""
        answer = await self.ask(url or await self.granted())
        assert answer.status_code == 303, answer.text
        path, _, said = answer.headers["location"].partition("#")
        assert path == "/start"
        return said.partition("=")[0], said.partition("=")[2]

    async def signed_in(self) -> Any:
        """The tokens of somebody who comes in."""
        kind, code = await self.home()
        assert kind == "code", code
        return await redeemed(self.doors, code)


async def redeemed(doors: Doors, code: str, verifier: str = VERIFIER, **more: Any) -> Any:
    """What the code is exchanged for; a problem's reason when it is not."""
    status, said = await doors.ask(
        "POST", "/v1/sessions:redeem", body={"code": code, "verifier": verifier, **more}
    )
    return said if status == 200 else said["reason"]


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with running_provider() as found:
        yield found


@pytest.fixture
def provider(running: Provider) -> Provider:
    """The provider, as good as new."""
    running.reset()
    running.person = person()
    return running


def person(**claims: Any) -> dict[str, Any]:
    """Somebody new, as the provider knows them."""
    key = new_id()
    return {"sub": f"sub-{key}", "email": f"{key}@{DOMAIN}", "email_verified": True, "name": "李雷",
            "groups": ["sales"]} | claims  # fmt: skip


def trusting(provider: Provider, **more: Any) -> dict[str, Any]:
    """The record of an organization that trusts the provider."""
    return {
        "display_name": "Corp", "issuer": provider.issuer, "client_id": CLIENT, "client_secret": SECRET,
        "email_domains": [DOMAIN], "creates_users": True, "enabled": True, "role_claim": "groups",
        "role_mappings": [
            {"value": "sales", "role": "roles/sales_rep"}, {"value": "money", "role": "roles/finance"},
            {"value": "it", "role": "roles/administrator"},
        ],
    } | more  # fmt: skip


async def known(boss: Person, provider: Provider, **more: Any) -> str:
    """The id under which an organization trusts the provider, which knows where to send people back to."""
    made = await boss.CreateIdentityProvider(identity_provider=trusting(provider, **more))
    key = made.name.removeprefix("identityProviders/")
    provider.redirect_uris.add(ORIGIN + way_back(key))
    return key


@pytest_asyncio.fixture(scope="module")
async def boss(access: Running) -> Person:
    """The administrator of the organization that most of these tests share."""
    return await (await make_company(access)).administrator()


@pytest_asyncio.fixture(scope="module")
async def trusted(boss: Person, running: Provider) -> str:
    """The provider, as that organization knows it."""
    return await known(boss, running)


@pytest_asyncio.fixture
async def browser(doors: Doors, trusted: str, provider: Provider) -> AsyncIterator[Browser]:
    found = Browser(doors, trusted)
    yield found
    await found.client.aclose()


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


async def test_a_second_factor_and_the_networks_count_here_too(
    browser: Browser, provider: Provider, access: Running
) -> None:
    boss = await (await make_company(access)).administrator()
    other = Browser(browser.doors, await known(boss, provider))
    allowed = {"name": boss.company.name, "allowed_networks": ["192.0.2.0/24"]}
    kind, code = await other.home()
    await boss.UpdateOrganization(organization=allowed)
    assert kind == "code" and await redeemed(browser.doors, code) == "NETWORK_REFUSED"


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


Lie = Callable[[dict[str, Any], dict[str, Any], Provider], str | None]
STRANGER = Ed25519PrivateKey.generate()


def resigned(head: dict[str, Any], claims: dict[str, Any], provider: Provider, **said: Any) -> str:
    """Other claims under the provider's true signature; None leaves one out."""
    told = {name: value for name, value in (claims | said).items() if value is not None}
    key = provider.key.as_pem(private=True)
    return jwt.encode(told, key, algorithm=head["alg"], headers={"kid": head.get("kid")})


def raw(head: dict[str, Any], claims: dict[str, Any], signature: Callable[[bytes], bytes]) -> str:
    """A token no library would make."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims)]
    text = b".".join(parts)
    return (text + b"." + base64.urlsafe_b64encode(signature(text)).rstrip(b"=")).decode()


def public_pem(provider: Provider) -> bytes:
    """What everyone knows of the key."""
    return provider.key.as_pem(private=False)


def claim(**said: Any) -> Lie:
    """A lie in the claims."""
    return lambda head, claims, provider: resigned(head, claims, provider, **said)


def now() -> int:
    """Unix seconds."""
    return int(time.time())


LIES: dict[str, Lie] = {
    "another sign-in's nonce": claim(nonce="n" * 43),
    "no nonce": claim(nonce=None),
    "a nonce that is no text": claim(nonce=7),
    "another issuer": claim(iss="https://login.example.com"),
    "the issuer with a stroke": lambda h, c, p: resigned(h, c, p, iss=p.issuer + "/"),
    "no issuer": claim(iss=None),
    "another audience": claim(aud="somebody-else"),
    "an audience among others": claim(aud=[CLIENT, "somebody-else"]),
    "no audience": claim(aud=None),
    "given to another": claim(azp="somebody-else"),
    "expired": lambda h, c, p: resigned(h, c, p, exp=now() - 61, iat=now() - 300),
    "no expiry": claim(exp=None),
    "of the future": lambda h, c, p: resigned(h, c, p, iat=now() + 300),
    "not valid yet": lambda h, c, p: resigned(h, c, p, nbf=now() + 300),
    "old": lambda h, c, p: resigned(h, c, p, iat=now() - 3600),
    "no time of issue": claim(iat=None),
    "nobody": claim(sub=None),
    "nobody at all": claim(sub=""),
    "a subject too long": claim(sub="s" * 256),
    "another access token's": claim(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
    "alg none": lambda h, c, p: raw({"alg": "none", "kid": "r"}, c, lambda _: b""),
    "alg None": lambda h, c, p: raw({"alg": "NONE", "kid": "r"}, c, lambda _: b""),
    "HS256 with the public key": lambda h, c, p: raw(
        {"alg": "HS256", "kid": "r"}, c, lambda text: hmac.new(public_pem(p), text, hashlib.sha256).digest()
    ),
    "HS256 with the client's secret": lambda h, c, p: jwt.encode(c, SECRET, algorithm="HS256"),
    "RS512": lambda h, c, p: jwt.encode(
        c, p.key.as_pem(private=True), algorithm="RS512", headers={"kid": "r"}
    ),
    "a stranger's key": lambda h, c, p: jwt.encode(c, STRANGER, algorithm="EdDSA", headers={"kid": "o"}),
    "a key it brings along": lambda h, c, p: jwt.encode(
        c, STRANGER, algorithm="EdDSA", headers={"kid": "x", "jwk": {
            "kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(STRANGER.public_key().public_bytes(
                Encoding.Raw, PublicFormat.Raw)).decode().rstrip("=")}}),
    "a key to be fetched": lambda h, c, p: jwt.encode(
        c, STRANGER, algorithm="EdDSA", headers={"kid": "x", "jku": f"{p.issuer}/elsewhere"}
    ),
    "an unknown key": lambda h, c, p: jwt.encode(
        c, p.key.as_pem(private=True), algorithm="RS256", headers={"kid": "unknown"}
    ),
    "another kind of key under the name": lambda h, c, p: jwt.encode(
        c, p.key.as_pem(private=True), algorithm="RS256", headers={"kid": "e"}
    ),
    "an access token": lambda h, c, p: jwt.encode(
        c, p.key.as_pem(private=True), algorithm="RS256", headers={"kid": "r", "typ": "at+jwt"}
    ),
    "something critical": lambda h, c, p: raw(
        {"alg": "RS256", "kid": "r", "crit": ["x"], "x": 1}, c, lambda text: b"s"
    ),
    "claims exchanged": lambda h, c, p: ".".join((
        (good := resigned(h, c, p)).split(".")[0],
        base64.urlsafe_b64encode(json.dumps(c | {"sub": "boss"}).encode()).decode().rstrip("="),
        good.split(".")[2],
    )),
    "no token": lambda h, c, p: "nothing",
    "a large token": claim(padding="x" * 33_000),
}  # fmt: skip


@pytest.mark.req("X-08")
@pytest.mark.parametrize("lie", LIES)
async def test_a_token_that_is_not_right_in_everything_lets_nobody_in(
    browser: Browser, provider: Provider, lie: str
) -> None:
    provider.spoil = lambda head, claims: LIES[lie](head, claims, provider)
    assert await browser.home() == ("error", "IDENTITY_REFUSED")
    assert "/elsewhere" not in provider.asked


async def test_the_truth_in_the_same_hand_lets_them_in(browser: Browser, provider: Provider) -> None:
    provider.spoil = lambda head, claims: resigned(head, claims, provider)
    assert (await browser.signed_in())["user"]["email"] == provider.person["email"]


async def test_an_answer_counts_once_and_in_the_browser_that_asked(
    browser: Browser, provider: Provider, doors: Doors
) -> None:
    provider.forgetful = True  # it would take the code again
    back = await browser.granted()
    cookies = dict(browser.cookies)
    stolen = await Browser(doors, browser.provider).ask(back)  # in another browser
    assert (stolen.status_code, stolen.json()["reason"]) == (400, "SIGN_IN_NOT_BEGUN")
    assert (await browser.home(back))[0] == "code" and browser.cookies[COOKIE] == ""
    assert (await browser.ask(back)).json()["reason"] == "SIGN_IN_NOT_BEGUN"
    browser.cookies = cookies  # kept by whoever copied them
    assert await browser.home(back) == ("error", "SIGN_IN_NOT_BEGUN")


async def test_a_code_of_another_sign_in_is_refused_by_pkce(
    browser: Browser, provider: Provider, doors: Doors
) -> None:
    theirs = parse_qs(urlsplit(await Browser(doors, browser.provider).granted()).query)["code"][0]
    mine = urlsplit(await browser.granted())
    said = dict(parse_qsl(mine.query)) | {"code": theirs}
    assert await browser.home(f"{mine.path}?{urlencode(said)}") == ("error", "IDENTITY_REFUSED")


@pytest.mark.parametrize("change", [
    {"state": "s" * 43}, {"state": ""}, {"iss": "https://evil.example"}, {"iss": ""}, {"code": ""},
    {"error": "access_denied"}, {"error": "<script>"},
])  # fmt: skip
async def test_an_answer_that_was_changed_on_the_way_is_refused(
    browser: Browser, change: dict[str, str]
) -> None:
    back = urlsplit(await browser.granted())
    said = {k: v for k, v in (dict(parse_qsl(back.query)) | change).items() if v}
    answer = await browser.ask(f"{back.path}?{urlencode(said)}")
    if "state" in change:
        assert (answer.status_code, answer.json()["reason"]) == (400, "SIGN_IN_NOT_BEGUN")
    else:
        assert answer.headers["location"] == "/start#error=IDENTITY_REFUSED"


async def test_one_organizations_sign_in_does_not_end_at_another_ones(
    browser: Browser, provider: Provider, access: Running
) -> None:
    other = await known(await (await make_company(access)).administrator(), provider)
    back = (await browser.granted()).replace(browser.provider, other)
    assert (await browser.ask(back)).json()["reason"] == "SIGN_IN_NOT_BEGUN"


@pytest.mark.parametrize("home", [
    "https://evil.example", "//evil.example", "/\\evil.example", "/%0d%0aLocation:x\r\n", "javascript:x", "",
    "/\tevil", "evil", "/a#b", "/ü", "/" + "x" * 600,
])  # fmt: skip
async def test_nobody_is_sent_to_another_host(browser: Browser, home: str) -> None:
    query = urlencode({"returnTo": home or "\x00", "challenge": challenge_of(VERIFIER)})
    answer = await browser.ask(f"{entrance(browser.provider)}?{query}")
    assert (answer.status_code, answer.json()["reason"]) == (400, "FIELD_INVALID")
    assert "location" not in answer.headers


async def test_a_code_is_exchanged_once_by_who_began(browser: Browser, doors: Doors) -> None:
    _, code = await browser.home()
    assert await redeemed(doors, code, "w" * 43) == "CODE_INVALID"
    key = new_id()
    said = await redeemed(doors, code, requestId=key, device="console")
    assert said["session"]["device"] == "console" and said == await redeemed(
        doors, code, requestId=key, device="console"
    )
    assert (await doors.ask("GET", "/v1/me", said["accessToken"]))[0] == 200
    assert await redeemed(doors, code) == "CODE_INVALID"  # copied by somebody: over for everyone
    answer = await doors.ask("POST", "/v1/sessions:refresh", body={"refreshToken": said["refreshToken"]})
    assert (answer[0], answer[1]["reason"]) == (401, "SESSION_ENDED")
    assert await redeemed(doors, "twe_" + "x" * 43) == "CODE_INVALID"
    status, _ = await doors.ask("GET", "/v1/me", code)
    assert status == 401


async def test_a_provider_that_is_not_enabled_or_deleted_or_unknown_is_none(
    doors: Doors, provider: Provider, boss: Person
) -> None:
    browser = Browser(doors, await known(boss, provider))
    name = f"identityProviders/{browser.provider}"
    back = await browser.granted()
    await boss.UpdateIdentityProvider(
        identity_provider={"name": name, "enabled": False}, update_mask={"paths": ["enabled"]}
    )
    assert (await browser.home(back)) == ("error", "NOT_FOUND")
    query = f"?challenge={challenge_of(VERIFIER)}"
    for key in (browser.provider, new_id(), "x" * 200):
        answer = await browser.ask(entrance(key) + query)
        assert (answer.status_code, answer.json()["reason"]) == (404, "NOT_FOUND")
    await boss.DeleteIdentityProvider(name=name)
    assert (await browser.ask(entrance(browser.provider) + query)).status_code == 404


async def test_the_client_secret_is_kept_encrypted_and_opens_in_its_place_alone(
    boss: Person, provider: Provider, access: Running, doors: Doors
) -> None:
    browser = Browser(doors, await known(boss, provider))
    name = f"identityProviders/{browser.provider}"
    shown = await boss.GetIdentityProvider(name=name)
    assert (shown.client_secret, shown.client_secret_hint) == ("", SECRET[-4:])
    assert all(not each.client_secret for each in (await boss.ListIdentityProviders()).identity_providers)
    await refused(boss.ListIdentityProviders(filter='client_secret = "x"'), "FILTER_INVALID")
    tenant, dump = boss.company.name.removeprefix("organizations/"), ""
    other = await known(boss, provider)
    async with access.store.database.connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant,))
        for table in ("identity_providers", "outbox", "answers", "identities", "tokens"):
            dump += repr(await (await connection.execute(f"SELECT * FROM {table}")).fetchall())
        await connection.execute(
            "UPDATE identity_providers a SET client_secret = b.client_secret FROM identity_providers b"
            " WHERE a.id = %s AND b.id = %s", (browser.provider, other))  # fmt: skip
        await connection.execute("COMMIT")
    assert SECRET not in dump and SECRET.encode().hex() not in dump and provider.person["sub"] not in dump
    assert await browser.home() == ("error", "PROVIDER_INVALID")
    assert (await Browser(doors, other).home())[0] == "code"
    renamed = await boss.UpdateIdentityProvider(
        identity_provider={"name": f"identityProviders/{other}", "display_name": "Corp 2"}
    )
    assert renamed.client_secret_hint == SECRET[-4:]
    assert (await Browser(doors, other).home())[0] == "code"  # it is still there


async def test_only_who_may_do_everything_says_whom_to_trust(boss: Person, provider: Provider) -> None:
    company = boss.company
    grants = [{"permission": f"{noun}.*", "scope": "ALL"} for noun in ("identityProviders", "users")]
    role = await boss.CreateRole(role={"display_name": "Directory", "grants": grants})
    clerk, rep = await company.person(role.name), await company.person("sales_rep")
    await refused(clerk.CreateIdentityProvider(identity_provider=trusting(provider)), "GRANT_EXCEEDS_OWN")
    await refused(rep.CreateIdentityProvider(identity_provider=trusting(provider)), "PERMISSION_DENIED")
    made = await boss.CreateIdentityProvider(identity_provider=trusting(provider))
    wider = {"name": made.name, "default_roles": ["roles/administrator"]}
    await refused(clerk.UpdateIdentityProvider(identity_provider=wider), "GRANT_EXCEEDS_OWN")
    key = await boss.CreateApiKey(api_key={"display_name": "it", "permissions": ["identityProviders.*"]})
    await refused(
        company.call("CreateIdentityProvider", key.key, identity_provider=trusting(provider)),
        "GRANT_EXCEEDS_OWN",
    )
    await refused(
        boss.UpdateIdentityProvider(
            identity_provider={"name": made.name, "issuer": "https://x.example"},
            update_mask={"paths": ["issuer"]},
        ),
        "FIELD_NOT_WRITABLE",
    )


@pytest.mark.parametrize(("wrong", "reason"), [
    ({"issuer": "http://login.example.com"}, "ADDRESS_REFUSED"),
    ({"issuer": "https://10.0.0.1/"}, "ADDRESS_REFUSED"), ({"issuer": "https://[::1]/"}, "ADDRESS_REFUSED"),
    ({"issuer": "https://169.254.169.254/latest"}, "ADDRESS_REFUSED"),
    ({"issuer": "https://[::ffff:10.0.0.1]/"}, "ADDRESS_REFUSED"),
    ({"issuer": "https://[64:ff9b::a00:1]/"}, "ADDRESS_REFUSED"),
    ({"issuer": "https://user@login.example.com"}, "ADDRESS_REFUSED"), ({"issuer": "file:///etc/passwd"},
    "ADDRESS_REFUSED"), ({"issuer": "login"}, "ADDRESS_REFUSED"),
    ({"default_roles": ["roles/none"]}, "REFERENCE_UNKNOWN"),
    ({"email_domains": [], "trusts_email": True}, "FIELD_INVALID"),
    ({"email_domains": [], "role_mappings": [], "default_roles": ["roles/support"]}, "FIELD_INVALID"),
    ({"role_claim": ""}, "FIELD_INVALID"), ({"email_domains": ["Corp Example"]}, "FIELD_INVALID"),
])  # fmt: skip
async def test_a_provider_that_cannot_be_or_opens_too_wide_is_refused(
    boss: Person, provider: Provider, wrong: dict[str, Any], reason: str
) -> None:
    await refused(boss.CreateIdentityProvider(identity_provider=trusting(provider, **wrong)), reason)


@pytest.mark.parametrize(("configuration", "words"), [
    ({}, ""), ({"issuer": "https://other.example"}, "calls itself"), ({"jwks_uri": None}, "no jwks_uri"),
    ({"token_endpoint": "http://10.0.0.1/token"}, "not a public address"),
    ({"jwks_uri": "http://intranet.example/keys"}, "must begin with https://"),
    ({"response_types_supported": ["id_token"]}, "lack code"),
    ({"code_challenge_methods_supported": ["plain"]}, "lack S256"),
    ({"id_token_signing_alg_values_supported": ["HS256", "none"]}, "signs with none of"),
    ({"padding": "x" * 300_000}, "more than"),
])  # fmt: skip
async def test_a_test_says_in_words_what_is_wrong(
    boss: Person, provider: Provider, configuration: dict[str, Any], words: str
) -> None:
    key = await known(boss, provider)
    provider.configuration = configuration
    said = await boss.TestIdentityProvider(name=f"identityProviders/{key}")
    assert said.redirect_uri.endswith(way_back(key)) and said.sign_in_uri.endswith(entrance(key))
    if words:
        assert len(said.problems) == 1 and words in said.problems[0]
    else:
        assert (list(said.problems), said.keys) == ([], 3)
        assert said.authorization_uri == f"{provider.issuer}/authorize"


async def test_nothing_that_redirects_or_is_away_is_followed(boss: Person, provider: Provider) -> None:
    key = await known(boss, provider, issuer="http://127.0.0.1:9")
    said = await boss.TestIdentityProvider(name=f"identityProviders/{key}")
    assert len(said.problems) == 1 and "does not answer at http://127.0.0.1:9" in said.problems[0]
    key = await known(boss, provider, issuer=f"{provider.issuer}/moved")
    said = await boss.TestIdentityProvider(name=f"identityProviders/{key}")
    assert "it says 302" in said.problems[0] and "/keys" not in provider.asked


async def test_keys_that_are_new_are_looked_for_but_not_each_time(
    browser: Browser, provider: Provider
) -> None:
    await browser.signed_in()
    for _ in range(3):
        provider.spoil = lambda head, claims: LIES["an unknown key"](head, claims, provider)
        assert await browser.home() == ("error", "IDENTITY_REFUSED")
    assert provider.asked.count("/keys") <= 2
