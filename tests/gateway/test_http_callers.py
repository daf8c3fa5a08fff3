"""Who asks over HTTP and what is said on the way: tokens, headers, deadlines, traces and refusals."""

from __future__ import annotations

import uuid

import pytest

from chassis import telemetry
from chassis.kernel.refusals import Refused

PROBLEM = "application/problem+json"


async def test_nobody_is_let_in_without_a_good_token(notes):
    for headers in (
        {"authorization": ""},
        {"authorization": "Bearer bad"},
        {"authorization": "Basic Z29vZA=="},
    ):
        answer = await notes.http.get("/v1/notes/1", headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (401, "UNAUTHENTICATED")
        assert answer.headers["www-authenticate"] == 'Bearer realm="tradewind"'
    assert notes.server.asked == []


async def test_a_public_method_needs_no_token_and_forwards_none(notes):
    answer = await notes.http.post("/v1/notes:knock", json={}, headers={"user-agent": "Knocker/1"})
    assert answer.status_code == 200
    told = notes.server.told
    assert "authorization" not in told
    assert (told["x-internal-peer"], told["x-internal-agent"]) == ("127.0.0.1", "Knocker/1")


async def test_what_a_client_says_of_itself_does_not_reach_the_service(notes):
    forged = {
        "x-internal-peer": "9.9.9.9",
        "x-tenant": "other",
        "x-internal-agent": "x",
        "grpc-timeout": "1H",
    }
    await notes.http.get("/v1/notes/1", headers={**forged, "x-forwarded-for": "9.9.9.9"})
    assert not {"x-tenant", "x-forwarded-for"} & notes.server.told.keys()
    told = (notes.server.told["x-internal-peer"], notes.server.told["x-internal-agent"])
    assert told[0] == "127.0.0.1" and told[1] != "x"
    await notes.http.post("/v1/notes:knock", json={}, headers={**forged, "x-forwarded-for": "9.9.9.9"})
    assert notes.server.told["x-internal-peer"] == "127.0.0.1"


async def test_an_idempotency_key_becomes_the_request_id(notes):
    key = str(uuid.uuid4())
    await notes.http.post("/v1/notes", json={}, headers={"idempotency-key": key})
    assert notes.server.request.request_id == key
    await notes.http.post("/v1/notes/1:sign", json={}, headers={"idempotency-key": "order 66"})
    first = notes.server.request.request_id
    await notes.http.post("/v1/notes/1:sign", json={}, headers={"idempotency-key": "order 66"})
    assert notes.server.request.request_id == first == str(uuid.UUID(first))


async def test_without_a_key_each_request_gets_one_of_its_own(notes):
    seen = set()
    for _ in range(3):
        await notes.http.post("/v1/notes/1:sign", json={})
        seen.add(str(uuid.UUID(notes.server.request.request_id)))
    assert len(seen) == 3


async def test_a_key_that_contradicts_the_body_is_refused(notes):
    body = {"requestId": str(uuid.uuid4())}
    answer = await notes.http.post(
        "/v1/notes/1:sign", json=body, headers={"idempotency-key": str(uuid.uuid4())}
    )
    assert (answer.status_code, answer.json()["facts"]["field"]) == (400, "Idempotency-Key")


async def test_if_match_becomes_the_etag_of_request_or_resource(notes):
    await notes.http.post("/v1/notes/1:sign", json={}, headers={"if-match": '"12"'})
    assert notes.server.request.etag == "12"
    await notes.http.patch("/v1/notes/1", json={"size": 1}, headers={"if-match": 'W/"13"'})
    assert notes.server.request.note.etag == "13"
    answer = await notes.http.patch(
        "/v1/notes/1", json={"size": 1, "etag": "4"}, headers={"if-match": '"13"'}
    )
    assert (answer.status_code, answer.json()["facts"]["field"]) == (400, "If-Match")


async def test_a_header_given_twice_is_refused(notes):
    answer = await notes.http.post(
        "/v1/notes", json={}, headers=[("idempotency-key", "a"), ("idempotency-key", "b")]
    )
    assert (answer.status_code, answer.json()["facts"]["field"]) == (400, "idempotency-key")


async def test_the_deadline_is_ten_seconds_or_what_the_caller_says(notes):
    await notes.http.get("/v1/notes/1")
    assert 8 < notes.server.asked[-1][3] < 11
    await notes.http.get("/v1/notes/1", headers={"x-request-timeout": "2.5"})
    assert 1 < notes.server.asked[-1][3] < 3
    for wrong in ("0", "-1", "inf", "999", "soon"):
        answer = await notes.http.get("/v1/notes/1", headers={"x-request-timeout": wrong})
        assert (answer.status_code, answer.json()["facts"]["field"]) == (400, "X-Request-Timeout")


async def test_a_trace_goes_through_and_comes_back_in_a_problem(notes):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    answer = await notes.http.get("/v1/nothing", headers={"traceparent": trace})
    assert answer.json()["trace"] == "0af7651916cd43dd8448eb211c80319c"
    await notes.http.get("/v1/notes/1", headers={"traceparent": trace})
    assert notes.server.told["traceparent"].split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
    await notes.http.get("/v1/notes/1", headers={"traceparent": "00-nonsense"})
    assert len(notes.server.told["traceparent"]) == 55


async def test_the_ratio_decides_about_a_request_without_a_trace_and_the_client_about_its_own(
    notes, monkeypatch
):
    monkeypatch.setattr(telemetry, "_tracer", telemetry._provider("gateway").get_tracer("test"))

    async def recorded(ratio: float, **headers: str) -> bool:
        monkeypatch.setattr(telemetry, "_ratio", ratio)
        await notes.http.get("/v1/notes/1", headers=headers)
        return bool(int(notes.server.told["traceparent"][-2:], 16) & 1)

    assert [await recorded(0.0), await recorded(1.0), await recorded(1.0, traceparent="x")] == [
        False,
        True,
        True,
    ]
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"
    assert await recorded(0.0, traceparent=f"{trace}-01")
    assert not await recorded(1.0, traceparent=f"{trace}-00")


@pytest.mark.parametrize(
    ("refused", "status", "code"),
    [
        (Refused("STATE_FORBIDS", verb="sign", state="SIGNED", allowed="OPEN"), 400, "FAILED_PRECONDITION"),
        (Refused("ETAG_MISMATCH", name="notes/1"), 412, "ABORTED"),
        (Refused("CONFLICT"), 409, "ABORTED"),
        (Refused("ALREADY_EXISTS", field="number"), 409, "ALREADY_EXISTS"),
        (Refused("NOT_FOUND", name="notes/1"), 404, "NOT_FOUND"),
        (Refused("PERMISSION_DENIED", permission="notes.sign"), 403, "PERMISSION_DENIED"),
        (Refused("OVERLOADED", limit="64"), 429, "RESOURCE_EXHAUSTED"),
        (Refused("UNAVAILABLE", what="the database"), 503, "UNAVAILABLE"),
        (Refused("DEADLINE_EXCEEDED"), 504, "DEADLINE_EXCEEDED"),
        (Refused("INTERNAL", trace="abc"), 500, "INTERNAL"),
    ],
)
async def test_a_services_no_comes_out_as_a_problem_with_its_reason_and_facts(notes, refused, status, code):
    def no(asked):
        raise refused

    notes.server.answers["SignNote"] = no
    answer = await notes.http.post("/v1/notes/1:sign", json={}, headers={"accept-language": "zh"})
    said = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert (said["code"], said["reason"], said["facts"], said["status"]) == (
        code,
        refused.reason,
        refused.facts,
        status,
    )
    assert any("\u4e00" <= c <= "\u9fff" for c in said["detail"])
    assert ("retry-after" in answer.headers) == (status in (429, 503))


async def test_a_restart_of_the_service_is_not_noticed(notes):
    notes.server.failures = 2
    answer = await notes.http.post("/v1/notes/1:sign", json={})
    assert answer.status_code == 200
    assert len({request.request_id for _, request, _, _ in notes.server.asked}) == 1
    assert len(notes.server.asked) == 3


async def test_a_defect_of_the_service_says_nothing_of_its_inside(notes):
    def broken(asked):
        raise ZeroDivisionError("secret")

    notes.server.answers["GetNote"] = broken
    answer = await notes.http.get("/v1/notes/1")
    assert (answer.status_code, answer.json()["reason"]) == (500, "INTERNAL")
    assert "secret" not in answer.text
    assert answer.json()["facts"]["trace"] == answer.json()["trace"]


async def test_fields_are_named_as_json_names_them_whoever_refuses(notes):
    def no(_asked):
        raise Refused("FIELD_INVALID", field="note.price_list[2].unit_price", problem="must be more")

    notes.server.answers["GetNote"] = no
    problem = (await notes.http.get("/v1/notes/42")).json()
    assert problem["facts"]["field"] == "note.priceList[2].unitPrice"
    assert problem["violations"][0]["field"] == "note.priceList[2].unitPrice"
    assert problem["detail"] == "note.priceList[2].unitPrice: must be more."


async def test_a_name_that_is_none_stands_as_it_was_sent(notes):
    problem = (await notes.http.post("/v1/notes", json={"text_line": {"no_such": 1}})).json()
    assert problem["facts"]["field"] == "note.textLine"
    problem = (await notes.http.post("/v1/notes", json={"price": {"no_such": 1}})).json()
    assert problem["facts"]["field"] == "note.price.no_such"
