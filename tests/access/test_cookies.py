"""Sessions of browsers at the HTTP door: a cookie, changes from this site alone, idle and absolute ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from tradewind.access.v1 import session_pb2

from chassis.kernel.refusals import Refused
from gateway.bounds import LimitSettings
from gateway.caller import RECHECK_SECONDS
from gateway.cookies import PLAIN, SECURE
from gateway.domain.session import ABSOLUTE, IDLE
from gateway.identify import IDENTITY_SECONDS
from tests.access.authenticator import enrolled
from tests.access.conftest import PASSWORD, Company
from tests.access.doors import Doors, opened
from tests.access.test_sign_in import shift
from tests.platform import Running, refused

HERE = {"Sec-Fetch-Site": "same-origin"}


class Browser:
    """Keeps one cookie, and sends it with everything, as a browser does."""

    def __init__(self, doors: Doors) -> None:
        self.client, self.jar, self.set_cookie = doors.client, {}, ""

    async def ask(self, verb: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """A request of a page of this site, unless *headers* say otherwise (with _ for -)."""
        said = {name.replace("_", "-"): value for name, value in headers.items()} or HERE
        cookie = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.jar.items())} if self.jar else {}
        answer = await self.client.request(verb, path, json=body, headers={**said, **cookie})
        self.set_cookie = answer.headers.get("set-cookie", "")
        for name, morsel in SimpleCookie(self.set_cookie).items():
            self.jar[name] = morsel.value
            if morsel["max-age"] == "0":
                del self.jar[name]
        return answer

    async def sign_in(self, email: str, **headers: str) -> Any:
        """What POST /v1/sessions says to a browser."""
        body = {"email": email, "password": PASSWORD, "kind": "BROWSER"}
        return await self.ask("POST", "/v1/sessions", body, **headers)


@pytest.fixture
def browser(doors: Doors) -> Browser:
    return Browser(doors)


@pytest_asyncio.fixture
async def proxied(access: Running) -> AsyncIterator[Doors]:
    """Doors behind a proxy that they trust."""
    bounds = LimitSettings.from_env({"TRADEWIND_TRUSTED_PROXIES": "127.0.0.1/32"})
    async with opened(access, bounds=bounds) as found:
        yield found


@pytest.mark.req("X-09")
async def test_a_browser_gets_a_cookie_that_no_script_reads(browser: Browser, company: Company) -> None:
    signed_in = await browser.sign_in(company.administrator_email)
    said = signed_in.json()
    assert signed_in.status_code == 200 and said["session"]["kind"] == "BROWSER"
    assert not {"accessToken", "refreshToken", "accessExpireTime"} & said.keys()
    name, _, rest = browser.set_cookie.partition("=")
    assert name == PLAIN and browser.jar[name] not in signed_in.text
    # Over TLS the same is called __Host-… and has Secure: see the test of a proxy below.
    assert rest.partition("; ")[2] == "Path=/; Max-Age=43200; HttpOnly; SameSite=Lax"
    me = (await browser.ask("GET", "/v1/me")).json()
    assert (me["user"]["email"], me["credential"]) == (company.administrator_email, said["session"]["name"])
    made = await browser.ask("POST", "/v1/teams", {"displayName": "East"})
    assert made.status_code == 200 and not browser.set_cookie
    refresh = await browser.ask("POST", "/v1/sessions:refresh", {"refreshToken": browser.jar[PLAIN]})
    assert refresh.json()["reason"] == "SESSION_ENDED"


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"Sec_Fetch_Site": "cross-site"}, "Sec-Fetch-Site"),
        ({"Sec_Fetch_Site": "same-site", "Origin": "http://evil.example.com"}, "Sec-Fetch-Site"),
        ({"Sec_Fetch_Site": "none"}, "Sec-Fetch-Site"),
        ({"Origin": "https://evil.example.com"}, "Origin is another site"),
        ({"Origin": "null"}, "Origin is another site"),
        ({"Accept": "*/*"}, "neither"),
    ],
)
async def test_another_site_changes_nothing_and_signs_nobody_in(
    browser: Browser, company: Company, headers: dict[str, str], problem: str
) -> None:
    await browser.sign_in(company.administrator_email)
    for ask in (
        browser.ask("POST", "/v1/teams", {"displayName": "Evil"}, **headers),
        browser.ask("PATCH", f"/v1/{company.name}", {"displayName": "Evil"}, **headers),
        browser.ask("POST", "/v1/me:signOut", {}, **headers),
        browser.sign_in(company.administrator_email, **headers),
    ):
        no = await ask
        assert (no.status_code, no.json()["reason"]) == (403, "CROSS_SITE")
        assert problem in no.json()["detail"]
    assert (await browser.ask("GET", "/v1/me", **headers)).status_code == 200  # it changes nothing


async def test_a_browser_without_fetch_metadata_is_known_by_its_origin(
    browser: Browser, doors: Doors, company: Company
) -> None:
    origin = str(doors.client.base_url).rstrip("/")
    assert (await browser.sign_in(company.administrator_email, Origin=origin)).status_code == 200
    assert (await browser.ask("POST", "/v1/teams", {"displayName": "A"}, Origin=origin)).status_code == 200
    nobody = await browser.ask("POST", "/v1/teams", {"displayName": "B"}, Origin=origin, Host="evil.example")
    assert nobody.json()["reason"] == "CROSS_SITE"


async def test_a_bearer_token_wins_and_needs_no_site(
    browser: Browser, doors: Doors, company: Company
) -> None:
    rep = await company.person("sales_rep")
    await browser.sign_in(company.administrator_email)
    bearer = {"Authorization": f"Bearer {rep.sign_in.access_token}", "Sec_Fetch_Site": "cross-site"}
    assert (await browser.ask("GET", "/v1/me", **bearer)).json()["user"]["name"] == rep.name
    assert (await browser.ask("POST", "/v1/leads", {}, **bearer)).json()["reason"] != "CROSS_SITE"
    wrong = {"Authorization": "Bearer nonsense"}
    assert (await browser.ask("GET", "/v1/me", **wrong)).status_code == 401


async def test_a_cookie_is_no_bearer_token_and_a_token_no_cookie(
    browser: Browser, doors: Doors, company: Company
) -> None:
    await browser.sign_in(company.administrator_email)
    assert (await browser.ask("GET", "/v1/me")).status_code == 200  # and remembered at the door
    assert (await doors.ask("GET", "/v1/me", browser.jar[PLAIN]))[0] == 401
    with pytest.raises(grpc.aio.AioRpcError):
        await doors.me(browser.jar[PLAIN])
    boss = await company.administrator()
    browser.jar[PLAIN] = boss.sign_in.access_token
    assert (await browser.ask("GET", "/v1/me")).status_code == 401


async def test_signing_out_ends_the_session_and_clears_the_cookie(
    browser: Browser, doors: Doors, company: Company
) -> None:
    for sign_out in ("/v1/me:signOut", "revoke"):
        name = (await browser.sign_in(company.administrator_email)).json()["session"]["name"]
        before = dict(browser.jar)
        path = f"/v1/{name}:revoke" if sign_out == "revoke" else sign_out
        dry = await browser.ask("POST", path, {"validateOnly": True})
        assert dry.status_code == 200 and browser.jar == before
        assert (await browser.ask("POST", path, {})).json()["state"] == "REVOKED"
        assert not browser.jar and "Max-Age=0" in browser.set_cookie
        browser.jar = before
        company.identify.forget()
        with pytest.raises(Refused, match="ended"):
            await company.identify.by_cookie(before[PLAIN], "127.0.0.1")
        browser.jar = {}
    boss = await company.administrator()
    key = await boss.CreateApiKey(api_key={"display_name": "k", "permissions": ["orders.read"]})
    status, no = await doors.ask("POST", "/v1/me:signOut", key.key, {})
    assert (status, no["reason"]) == (400, "NO_SESSION")


async def test_who_signs_in_anew_gets_another_cookie_and_leaves_the_session_before(
    browser: Browser, company: Company
) -> None:
    first = (await browser.sign_in(company.administrator_email)).json()["session"]["name"]
    before = browser.jar[PLAIN]
    await browser.sign_in(company.administrator_email)
    assert browser.jar[PLAIN] != before
    boss = await company.administrator()
    ended = await boss.GetSession(name=first)
    assert (ended.state, ended.end_reason) == (session_pb2.Session.REVOKED, "signed in anew")


async def test_the_second_factor_comes_before_the_cookie(browser: Browser, company: Company) -> None:
    app = await enrolled(rep := await company.person("sales_rep"))
    first = (await browser.sign_in(rep.email)).json()
    assert not browser.jar and first["challenge"]["token"]
    answer = {"challenge": first["challenge"]["token"], "code": await app.again()}
    second = (await browser.ask("POST", "/v1/sessions:complete", answer)).json()
    assert browser.jar[PLAIN] and second["session"]["kind"] == "BROWSER" and "accessToken" not in second


@pytest.mark.parametrize(("lasts", "over"), [(IDLE, False), (ABSOLUTE, False), (IDLE, True)])
async def test_a_browser_session_ends_idle_after_half_an_hour_and_in_any_case_after_twelve(
    browser: Browser, company: Company, access: Running, lasts: timedelta, over: bool
) -> None:
    await browser.sign_in(company.administrator_email)
    passed = lasts + timedelta(seconds=5) if over or lasts is ABSOLUTE else lasts - timedelta(minutes=1)
    if lasts is IDLE:
        sql = "UPDATE sessions SET last_used_time = last_used_time - %s WHERE kind = 'BROWSER'"
        await shift(access, company.tenant, sql, passed)
    else:
        sql = "UPDATE sessions SET expire_time = expire_time - %s WHERE kind = 'BROWSER'"
        await shift(access, company.tenant, sql, passed)
    company.identify.forget()
    if over or lasts is ABSOLUTE:
        with pytest.raises(Refused, match="UNAUTHENTICATED"):
            await company.identify.by_cookie(browser.jar[PLAIN], "127.0.0.1")
    else:
        assert await company.identify.by_cookie(browser.jar[PLAIN], "127.0.0.1")


@pytest.mark.req("X-09")
async def test_the_list_says_what_a_session_is_and_when_it_was_used_written_once_a_minute(
    browser: Browser, company: Company, access: Running
) -> None:
    name = (await browser.sign_in(company.administrator_email)).json()["session"]["name"]
    boss = await company.administrator()

    async def listed() -> Any:
        return {s.name: s for s in (await boss.ListSessions()).sessions}[name]

    first = await listed()
    assert (first.kind, first.network) == (session_pb2.Session.BROWSER, "127.0.0.1")
    assert first.device.startswith("python-httpx") and first.last_used_time == first.create_time
    company.identify.forget()
    await company.identify.by_cookie(browser.jar[PLAIN], "127.0.0.1")
    assert (await listed()).last_used_time == first.last_used_time
    sql = "UPDATE sessions SET last_used_time = last_used_time - interval '2 minutes' WHERE id = %s"
    await shift(access, company.tenant, sql, name.removeprefix("sessions/"))
    company.identify.forget()
    await company.identify.by_cookie(browser.jar[PLAIN], "127.0.0.1")
    after = await listed()
    assert after.last_used_time.ToDatetime() > first.last_used_time.ToDatetime()
    assert after.etag == first.etag  # to be seen is no change of it


async def test_a_page_that_listens_is_no_use_of_its_session_and_a_request_beside_it_is(
    browser: Browser, doors: Doors, company: Company, access: Running
) -> None:
    name = (await browser.sign_in(company.administrator_email)).json()["session"]["name"]
    boss = await company.administrator()
    sql = "UPDATE sessions SET last_used_time = last_used_time - interval '10 minutes' WHERE id = %s"
    await shift(access, company.tenant, sql, name.removeprefix("sessions/"))

    async def last_used() -> Any:
        return {s.name: s for s in (await boss.ListSessions()).sessions}[name].last_used_time.ToDatetime()

    before = await last_used()
    cookie = {"Cookie": f"{PLAIN}={browser.jar[PLAIN]}", "Accept": "text/event-stream", **HERE}
    for _ in range(2):  # it comes back by itself
        async with doors.client.stream("GET", "/v1/events/access", headers=cookie) as answer:
            assert answer.status_code == 200
            await asyncio.sleep(IDENTITY_SECONDS + 2 * RECHECK_SECONDS)
            assert await last_used() == before
    async with doors.client.stream("GET", "/v1/events/access", headers=cookie):
        await asyncio.gather(*(browser.ask("GET", "/v1/me") for _ in range(5)))
        assert await last_used() > before


async def test_a_cookie_is_for_tls_or_a_developers_own_machine(
    proxied: Doors, doors: Doors, company: Company
) -> None:
    outside = {"X_Forwarded_For": "203.0.113.9", "Sec_Fetch_Site": "same-origin"}
    email = company.administrator_email
    browser = Browser(proxied)
    no = await browser.sign_in(email, **outside, X_Forwarded_Proto="http")
    assert (no.status_code, no.json()["facts"]["field"]) == (400, "kind")
    assert (await browser.sign_in(email, **outside, X_Forwarded_Proto="https")).status_code == 200
    assert browser.set_cookie.startswith(f"{SECURE}=twb_")
    assert browser.set_cookie.endswith("; HttpOnly; SameSite=Lax; Secure")
    assert "Domain" not in browser.set_cookie and "Path=/;" in browser.set_cookie
    for proto, status in (("https", 200), ("http", 401)):
        answer = await browser.ask("GET", "/v1/me", **outside, X_Forwarded_Proto=proto)
        assert answer.status_code == status
    elsewhere = await Browser(doors).sign_in(company.administrator_email, **HERE, Host="rebound.example")
    assert elsewhere.status_code == 400


async def test_over_grpc_a_browsers_session_comes_without_anything_that_opens_it(company: Company) -> None:
    said = await company.sign_in(company.administrator_email, kind="BROWSER")
    assert said.session.kind == session_pb2.Session.BROWSER
    assert not (said.access_token or said.refresh_token or said.HasField("refresh_expire_time"))
    refresh = company.access.method("RefreshSession")
    await refused(refresh(refresh_token="twb_" + "x" * 43), "SESSION_ENDED")
