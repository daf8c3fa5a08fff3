"""What comes over HTTP: routes, callers, bodies, headers and refusals, against a real gRPC service."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis import telemetry
from chassis.kernel.refusals import Refused
from gateway.contract import Contract, ContractIncomplete
from gateway.http import App
from gateway.limits import LimitSettings, Rate
from gateway.problem import locale_of
from gateway.routes import Routes
from tests.gateway.notes import NOTES, identify, stage
from tests.gateway.small import image

PROBLEM = "application/problem+json"
LISTED = "tradewind.notes.v1.ListNotesResponse"


@pytest.fixture(scope="module")
async def notes():
    async with stage() as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_said_yet(request):
    if "notes" in request.fixturenames:
        server = request.getfixturevalue("notes").server
        server.answers.clear()
        server.asked.clear()


async def test_a_name_in_the_path_reaches_the_method(notes):
    notes.server.answers["GetNote"] = lambda asked: notes.server.note(
        name=asked.name, text_line="Ähre 穗", size=5, etag="3"
    )
    answer = await notes.http.get("/v1/notes/42")
    assert (answer.status_code, answer.json()) == (
        200,
        {"name": "notes/42", "textLine": "Ähre 穗", "size": "5", "etag": "3"},
    )
    assert answer.headers["etag"] == '"3"'
    assert answer.headers["content-type"] == "application/json"
    assert notes.server.told["authorization"] == "Bearer principal-token"


async def test_a_second_binding_reaches_it_too(notes):
    answer = await notes.http.post("/v1/papers/notes/4%31/signature", json={"hand": "left"})
    assert answer.status_code == 200
    assert (notes.server.request.name, notes.server.request.hand) == ("notes/41", "left")


async def test_the_query_fills_what_path_and_body_leave(notes):
    notes.server.answers["ListNotes"] = lambda asked: notes.server.make(LISTED)()
    query = "pageSize=5&show_deleted=true&states=OPEN&states=2&range.fromSize=3&range.to_size=0"
    query += "&readMask=textLine,size"
    answer = await notes.http.get(
        f"/v1/notes?{query}&since=2026-01-31T08:00:00Z&filter=a%20%3D%20%22b%26c%22"
    )
    assert (answer.status_code, answer.json()) == (200, {})
    asked = notes.server.request
    assert (asked.page_size, asked.show_deleted, list(asked.states), asked.filter) == (
        5,
        True,
        [1, 2],
        'a = "b&c"',
    )
    assert (asked.range.from_size, asked.range.HasField("to_size")) == (3, True)
    assert (list(asked.read_mask.paths), asked.since.seconds) == (["text_line", "size"], 1769846400)


@pytest.mark.parametrize(
    ("query", "field", "problem"),
    [
        ("pageSize=x", "pageSize", "must be a whole number"),
        ("pageSize=1&pageSize=2", "pageSize", "must be given once"),
        ("showDeleted=1", "showDeleted", "must be true or false"),
        ("states=NOPE", "states[0]", "must be one of STATE_UNSPECIFIED, OPEN, SIGNED"),
        ("range.fromSize=99999999999999999999", "range.fromSize", "must be from"),
        ("since=yesterday", "since", "must be a time like"),
        ("filter=%FF", "query", "must be percent-encoded UTF-8"),
    ],
)
async def test_a_wrong_parameter_is_named(notes, query, field, problem):
    answer = await notes.http.get(f"/v1/notes?{query}")
    said = answer.json()
    assert (answer.status_code, said["reason"]) == (400, "FIELD_INVALID")
    assert said["violations"][0]["field"].lower().replace("_", "") == field.lower().replace("_", "")
    assert problem in said["violations"][0]["description"]


@pytest.mark.parametrize(
    "name", ["nope", "range", "range.nope", "pageSize.a", "a" * 300, "states.x", ".", "näme", "since.seconds"]
)
async def test_an_unknown_parameter_is_refused(notes, name):
    answer = await notes.http.get("/v1/notes", params={name: "1"})
    assert (answer.status_code, answer.json()["reason"]) == (400, "FIELD_UNKNOWN")
    assert notes.server.asked == []


async def test_a_body_that_is_the_request_takes_no_parameters(notes):
    answer = await notes.http.post("/v1/notes/1:sign?hand=left", json={})
    assert (answer.status_code, answer.json()["reason"]) == (400, "FIELD_UNKNOWN")


async def test_a_body_that_is_one_field_fills_it(notes):
    body = {"textLine": "a", "price": {"currencyCode": "CNY", "units": "12", "nanos": 500000000}}
    answer = await notes.http.post("/v1/notes?validateOnly=true", json=body)
    asked = notes.server.request
    assert answer.status_code == 200
    assert (asked.note.text_line, asked.note.price.units, asked.validate_only) == ("a", 12, True)


@pytest.mark.parametrize(
    ("body", "mask"),
    [
        ({"textLine": "b", "size": 0}, ["text_line", "size"]),
        ({"price": None, "name": "notes/1", "etag": "4", "state": "OPEN"}, ["price"]),
    ],
)
async def test_a_patch_without_a_mask_means_the_fields_it_holds(notes, body, mask):
    assert (await notes.http.patch("/v1/notes/1", json=body)).status_code == 200
    assert sorted(notes.server.request.update_mask.paths) == sorted(mask)


async def test_a_mask_that_is_given_stands(notes):
    assert (await notes.http.patch("/v1/notes/1?updateMask=size", json={"textLine": "b"})).status_code == 200
    assert list(notes.server.request.update_mask.paths) == ["size"]
    assert notes.server.request.note.name == "notes/1"


async def test_path_and_body_may_not_disagree(notes):
    answer = await notes.http.patch("/v1/notes/1", json={"name": "notes/2", "size": 1})
    assert answer.status_code == 400
    assert answer.json()["violations"] == [
        {"field": "note.name", "description": "must be notes/1, as in the path, or be left out"}
    ]


async def test_a_wrong_field_is_named_with_its_path_and_the_sentence(notes):
    answer = await notes.http.post("/v1/notes", json={"price": {"units": "x"}})
    said = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM)
    assert said == {
        "type": "/docs#reason-FIELD_INVALID",
        "title": "Field invalid",
        "status": 400,
        "detail": "note.price.units: must be a whole number.",
        "code": "INVALID_ARGUMENT",
        "reason": "FIELD_INVALID",
        "domain": "tradewind",
        "facts": {"field": "note.price.units", "problem": "must be a whole number"},
        "trace": said["trace"],
        "violations": [{"field": "note.price.units", "description": "must be a whole number"}],
    }
    assert notes.server.asked == []


async def test_an_unknown_field_is_refused_in_the_language_asked_for(notes):
    answer = await notes.http.post(
        "/v1/notes", json={"nope": 1}, headers={"accept-language": "fr, zh-CN;q=0.8"}
    )
    assert (answer.json()["reason"], answer.json()["detail"]) == ("FIELD_UNKNOWN", "没有字段 note.nope。")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("{", "line 1, column"),
        ('{"a":1,"a":2}', "stands twice"),
        ("NaN", "not a JSON number"),
        ("\xff", "not UTF-8"),
    ],
)
async def test_a_body_that_is_no_json_is_refused(notes, body, problem):
    answer = await notes.http.post(
        "/v1/notes", content=body.encode("latin-1"), headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["reason"]) == (400, "BODY_INVALID")
    assert problem in answer.json()["detail"]


async def test_a_body_of_another_kind_is_415(notes):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", ""):
        answer = await notes.http.post("/v1/notes", content=b"{}", headers={"content-type": kind})
        assert (answer.status_code, answer.json()["reason"]) == (415, "BODY_INVALID"), kind


async def test_a_body_where_none_is_taken_is_refused(notes):
    answer = await notes.http.request("DELETE", "/v1/notes/1", json={"etag": "4"})
    assert (answer.status_code, answer.json()["reason"]) == (400, "BODY_INVALID")
    answer = await notes.http.request("GET", "/v1/notes/1", json={})
    assert (answer.status_code, answer.json()["reason"]) == (400, "BODY_INVALID")


async def test_a_body_over_a_mebibyte_is_413(notes):
    big = json.dumps({"textLine": "x" * 2**20}).encode()

    async def in_pieces():
        for start in range(0, len(big), 65536):
            yield big[start : start + 65536]

    for content in (big, in_pieces()):
        answer = await notes.http.post(
            "/v1/notes", content=content, headers={"content-type": "application/json"}
        )
        assert (answer.status_code, answer.json()["reason"]) == (413, "TOO_LARGE")
    assert notes.server.asked == []


async def test_a_url_or_head_without_end_is_refused(notes):
    assert (await notes.http.get("/v1/notes?filter=" + "x" * 9000)).status_code == 414
    assert (await notes.http.get("/v1/notes", headers={"x-much": "x" * 40000})).status_code == 431
    port = int(notes.address.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /v1/notes HTTP/1.1\r\n")
    with contextlib.suppress(ConnectionError):
        for _ in range(200):
            writer.write(b"x-more: " + b"x" * 1000 + b"\r\n")
            await writer.drain()
    assert b" 431 " in await reader.read(200)
    writer.close()


async def test_who_connects_and_says_nothing_is_let_go():
    async with stage(LimitSettings(head_seconds=0.05)) as notes:
        port = int(notes.address.rpartition(":")[2])
        for said in (b"", b"GET /v1/notes HTTP/1.1\r\nhost: x\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            assert await reader.read() == b""
            writer.close()


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /v1/notes HTTP/9\r\n\r\n",
        b"POST /v1/notes HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/notes HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/notes HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"GET /v1/notes\r\n bad: x\r\n\r\n",
    ],
)
async def test_what_is_no_http_or_could_be_read_two_ways_is_refused(notes, said):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(notes.address.rpartition(":")[2]))
    writer.write(said)
    assert (await reader.read()).startswith(b"HTTP/1.1 4")
    writer.close()
    assert notes.server.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/nothing",
        "/v1/notes/",
        "/v1/notes/1/2",
        "/v1/notes/1:nope",
        "/v1/notes:whisper",
        "//v1/notes",
        "/v1/notes/%2e%2e%2fx",
    ],
)
async def test_a_path_nobody_has_is_404_or_refused(notes, path):
    answer = await notes.http.get(path)
    assert answer.json()["reason"] in ("ROUTE_UNKNOWN", "FIELD_INVALID")
    assert answer.status_code in (404, 400)
    assert notes.server.asked == []


async def test_a_verb_nobody_has_is_405_with_those_there_are(notes):
    answer = await notes.http.put("/v1/notes/1", json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS, PATCH")
    answer = await notes.http.options("/v1/notes/1:sign")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, "OPTIONS, POST", b"")


async def test_head_is_get_without_the_body(notes):
    full = await notes.http.get("/v1/notes/1")
    head = await notes.http.head("/v1/notes/1")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", full.headers["etag"])
    assert head.headers["content-length"] == str(len(full.content))


async def test_an_etag_that_is_known_saves_the_body(notes):
    answer = await notes.http.get("/v1/notes/1", headers={"if-none-match": '"7"'})
    assert (answer.status_code, answer.content) == (304, b"")


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
    assert (
        not {"x-internal-peer", "x-tenant", "x-internal-agent", "x-forwarded-for"} & notes.server.told.keys()
    )
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


def events(notes, count):
    event = notes.server.make("tradewind.type.v1.FeedEvent")
    held = notes.server.note(name="notes/1", text_line="a")
    for position in range(1, count + 1):
        made = event(position=position, type="tradewind.notes.v1.NoteSigned", record="notes/1")
        made.payload.Pack(held)
        yield made


async def test_a_stream_comes_as_server_sent_events(notes):
    notes.server.answers["WatchEvents"] = lambda asked: events(notes, 2)
    headers = {"accept": "text/event-stream", "last-event-id": "41"}
    answer = await notes.http.get("/v1/events/notes?untilNow=true&types=a&types=b", headers=headers)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (notes.server.request.after_position, list(notes.server.request.types)) == (41, ["a", "b"])
    first, second = answer.text.strip().split("\n\n")
    assert first.startswith("id: 1\nevent: tradewind.notes.v1.NoteSigned\ndata: {")
    assert json.loads(second.partition("data: ")[2]) == {
        "position": "2", "type": "tradewind.notes.v1.NoteSigned", "record": "notes/1",
        "payload": {
            "@type": "type.googleapis.com/tradewind.notes.v1.Note", "name": "notes/1", "textLine": "a",
        },
    }  # fmt: skip


async def test_a_stream_comes_as_lines(notes):
    notes.server.answers["WatchEvents"] = lambda asked: events(notes, 3)
    answer = await notes.http.get("/v1/events/notes")
    assert answer.headers["content-type"] == "application/x-ndjson; charset=utf-8"
    assert [json.loads(line)["position"] for line in answer.text.splitlines()] == ["1", "2", "3"]


async def test_a_stream_has_no_head(notes):
    answer = await notes.http.head("/v1/events/notes")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, OPTIONS")


async def test_a_stream_that_is_refused_at_once_is_a_problem(notes):
    def no(asked):
        raise Refused("PERMISSION_DENIED", permission="events.read")
        yield

    notes.server.answers["WatchEvents"] = no
    answer = await notes.http.get("/v1/events/notes")
    assert (answer.status_code, answer.json()["reason"]) == (403, "PERMISSION_DENIED")


async def test_a_stream_that_breaks_says_so_in_its_own_words(notes):
    def breaks(asked):
        yield from events(notes, 1)
        raise Refused("UNAVAILABLE", what="the database")

    notes.server.answers["WatchEvents"] = breaks
    last = (await notes.http.get("/v1/events/notes")).text.splitlines()[-1]
    assert json.loads(last)["problem"]["reason"] == "UNAVAILABLE"
    answer = await notes.http.get("/v1/events/notes", headers={"accept": "text/event-stream"})
    assert "event: problem\ndata: {" in answer.text


async def test_a_listener_that_hangs_up_ends_the_services_stream_too(notes):
    ended = asyncio.Event()
    notes.server.forever = ended
    async with notes.http.stream("GET", "/v1/events/notes") as answer:
        assert json.loads(await anext(answer.aiter_lines()))["position"] == "1"
        assert notes.limits._each == {"acme/users/ann True": 1}
    await asyncio.wait_for(ended.wait(), 10)
    notes.server.forever = None


async def test_a_stream_does_not_keep_the_gateway_from_stopping():
    async with stage() as running:
        running.server.forever = asyncio.Event()
        async with running.http.stream("GET", "/v1/events/notes") as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            await asyncio.wait_for(running.front.stop(), 10)
            assert [line async for line in lines] == []


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


async def answered(app, method: str, path: bytes, query: bytes, headers: list, body: bytes) -> int:
    """The status of one request, without a socket, so that anything at all can be asked."""
    said = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        said.append(message)

    scope = {"type": "http", "method": method, "path": "", "raw_path": path, "query_string": query}
    await app({**scope, "headers": headers, "client": ("127.0.0.1", 1)}, receive, send)
    assert [message["type"] for message in said] == ["http.response.start", "http.response.body"]
    if said[0]["status"] >= 400 and method != "HEAD":
        assert {"reason", "detail", "trace"} <= json.loads(said[1]["body"]).keys()
    return said[0]["status"]


pieces = st.sampled_from(
    [b"/v1", b"/notes", b"/", b":sign", b":", b"/1", b"%", b"%00", b"%ff", b"\xff", b"*", b"{", b"//"]
)
paths = st.builds(b"".join, st.lists(pieces | st.binary(max_size=4), max_size=6)).map(
    lambda rest: b"/v1/notes" + rest
)
words = st.sampled_from(
    [b"pageSize", b"range.", b"fromSize", b"states", b"=", b"&", b"%", b"+", b"1", b".", b"readMask", b";"]
)
queries = st.builds(b"".join, st.lists(words | st.binary(max_size=3), max_size=8))
values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["textLine", "price", "units", "name", "size", "etag", "hand", "requestId", "x"]),
            inner,
        )
    ),
    max_leaves=8,
)
bodies = values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20)
NAMES = [
    b"if-match",
    b"idempotency-key",
    b"x-request-timeout",
    b"accept-language",
    b"traceparent",
    b"last-event-id",
]
extra = st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=12)), max_size=3)


async def test_whatever_is_sent_is_answered_or_refused_never_a_defect(notes):
    app = App(notes.contract, notes.upstream, identify)
    notes.server.answers["ListNotes"] = lambda asked: notes.server.make(LISTED)()
    given_headers = [(b"authorization", b"Bearer good"), (b"content-type", b"application/json")]
    loop, seen = asyncio.get_running_loop(), set()

    @settings(max_examples=150, deadline=None, database=None)
    @given(
        st.sampled_from(["GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "X"]),
        paths,
        queries,
        extra,
        bodies,
    )
    def anything(method, path, query, headers, body):
        made = answered(
            app, method, path, query, given_headers + headers, body if method not in ("GET", "HEAD") else b""
        )
        status = asyncio.run_coroutine_threadsafe(made, loop).result(30)
        seen.add(status)
        assert status < 500

    await asyncio.to_thread(anything)
    assert {200, 400, 404} <= seen


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


@pytest.mark.parametrize(
    "said", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\nhost: x\r\n\r\n"]
)
async def test_what_is_no_http_is_refused_as_everything_is(notes, said):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(notes.address.rpartition(":")[2]))
    writer.write(said)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 400 Bad Request") and PROBLEM.encode() in head
    assert (json.loads(body)["status"], json.loads(body)["reason"]) == (400, "BODY_INVALID")


@pytest.mark.parametrize("target", [b"*", b"example.org:443", b"v1/notes"])
async def test_a_target_that_is_no_path_is_no_route(notes, target):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(notes.address.rpartition(":")[2]))
    writer.write(b"OPTIONS " + target + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert b" 40" in (await reader.read()).partition(b"\r\n")[0]
    writer.close()
