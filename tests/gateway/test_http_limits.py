"""The HTTP door as a whole: health, limits, the contract that it needs and the language that it speaks."""

from __future__ import annotations

import asyncio

import pytest

from gateway.contract import Contract, ContractIncomplete
from gateway.limits import LimitSettings, Rate
from gateway.pages import FRESH
from gateway.problem import locale_of
from gateway.routes import Routes
from tests.gateway.notes import NOTES, stage
from tests.gateway.small import image


@pytest.mark.req("OPS-13")
async def test_health_readiness_and_metrics_are_told(notes):
    assert (await notes.http.get("/healthz")).json() == {"status": "alive"}
    ready = await notes.http.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "services": {"notes": "SERVING"}})
    await notes.http.get("/v1/notes/1")
    metrics = (await notes.http.get("/metrics")).text
    assert (
        'tradewind_http_seconds_count{method="tradewind.notes.v1.NoteService.GetNote",status="200"}'
        in metrics
    )


@pytest.mark.req("OPS-13")
async def test_a_service_that_does_not_answer_makes_the_gateway_not_ready():
    async with stage(elsewhere={"absent": "127.0.0.1:1"}) as running:
        ready = await running.http.get("/readyz")
        assert (ready.status_code, ready.json()["services"]["notes"]) == (503, "SERVING")
        assert ready.json()["services"]["absent"] != "SERVING"


async def test_the_services_are_asked_once_a_second_however_many_ask_whether_we_are_ready():
    async with stage(elsewhere={"absent": "127.0.0.1:1"}) as running:
        asked, health = [], running.upstream.health

        async def counted():
            asked.append(1)
            return await health()

        running.upstream.health = counted
        requests = [asyncio.create_task(running.http.get("/readyz")) for _ in range(30)]
        await asyncio.sleep(0.02)
        requests[0].cancel()  # the first may leave, the others are told
        ready = await asyncio.gather(*requests[1:])
        assert {answer.status_code for answer in ready} == {503}
        assert len(asked) == 1
        await asyncio.sleep(FRESH)
        await running.http.get("/readyz")
        assert len(asked) == 2


@pytest.mark.req("X-63")
async def test_too_often_is_429_with_when_to_come_back():
    slow = LimitSettings(
        principal=Rate("principal", per_second=0.01, burst=2), sign_in=Rate("address", 0.01, 1)
    )
    async with stage(slow) as running:
        for left in (1, 0):
            answer = await running.http.get("/v1/notes/1")
            assert answer.headers["ratelimit"].startswith(f'"principal";r={left};')
        answer = await running.http.get("/v1/notes/1")
        assert (answer.status_code, answer.json()["reason"]) == (429, "OVERLOADED")
        assert 90 <= int(answer.headers["retry-after"]) <= 100
        assert answer.headers["ratelimit-policy"] == '"principal";q=2;w=200'
        assert (await running.http.post("/v1/notes:knock", json={})).status_code == 200
        assert (await running.http.post("/v1/notes:knock", json={})).status_code == 429
        assert (await running.http.get("/healthz")).status_code == 200
        assert len(running.server.asked) == 3


async def test_who_guesses_tokens_is_slowed_down():
    async with stage(LimitSettings(stranger=Rate("stranger", 0.01, 2))) as running:
        guesses = [
            await running.http.get("/v1/notes/1", headers={"authorization": "Bearer x"}) for _ in range(3)
        ]
        assert [guess.status_code for guess in guesses] == [401, 401, 429]
        assert (await running.http.get("/v1/notes/1")).status_code == 200


async def test_more_than_fits_in_flight_is_refused_and_the_rest_is_served():
    async with stage(LimitSettings(in_flight_each=2)) as running:
        answers = await asyncio.gather(*(running.http.get("/v1/notes/1") for _ in range(40)))
        assert {answer.status_code for answer in answers} <= {200, 429}
        assert running.limits._each == {} and running.limits.in_flight == 0
        assert (await running.http.get("/v1/notes/1")).status_code == 200


def without(marker: str, instead: str = "") -> str:
    assert marker in NOTES
    return NOTES.replace(marker, instead, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            without('option (google.api.http) = {get: "/v1/notes"};'),
            "NoteService.ListNotes has no google.api.http option",
        ),
        (
            without('option (tradewind.type.v1.access) = {permission: "notes.sign" scope: RECORDS};'),
            "NoteService.SignNote has no .*access.*permission",
        ),
        (without(" scope: RECORDS};", "};"), "NoteService.GetNote has .*without a scope"),
        (
            without('get: "/v1/notes:whisper"', 'custom: {kind: "X" path: "/"}'),
            "NoteService.Whisper has .*without get, post",
        ),
        (
            without('get: "/v1/notes"', 'get: "/v1/{name=notes/*}"'),
            "takes name from its path, which is no string field",
        ),
        (
            without('"/v1/notes:knock"', '"/v1/notes"'),
            "CreateNote .* both reached by POST /v1/notes|Knock and .*CreateNote",
        ),
        (without('body: "note"', 'body: "nope"'), "CreateNote has no field nope for the body"),
        (without('get: "/v1/notes"', 'get: "/v1/**"'), "ListNotes has a path that is not understood"),
    ],
)
def test_a_method_that_does_not_say_what_it_must_stops_the_process(text, says):
    with pytest.raises(ContractIncomplete, match=says):
        Routes(Contract(image(notes=text)))


def test_the_platforms_own_contract_is_complete():
    contract = Contract.load()
    assert len(Routes(contract).rules) >= len(contract.public) > 100


@pytest.mark.parametrize(
    ("header", "locale"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB,zh;q=0.5", "en"),
        ("fr", "en"),
        ("zh;q=x,en;q=0.1", "en"),
        ("de,zh;q=0.1", "zh"),
    ],
)
def test_the_language_is_the_one_asked_for_first(header, locale):
    assert locale_of(header) == locale
