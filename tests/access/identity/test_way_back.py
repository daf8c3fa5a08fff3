"""The way back from a provider: one answer, once, in the browser that asked, and to no other place."""

from __future__ import annotations

from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest

from chassis.call import new_id
from gateway.providers import challenge_of, entrance
from tests.access.conftest import Person, make_company
from tests.access.doors import Doors
from tests.access.identity.browser import COOKIE, VERIFIER, Browser, known, redeemed
from tests.access.provider import Provider
from tests.platform import Running


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
