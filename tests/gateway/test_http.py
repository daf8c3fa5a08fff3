"""What comes over HTTP: routes, paths, queries, bodies and framing, against a real gRPC service."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from functools import partial

import pytest

from gateway.limits import LimitSettings
from tests.gateway.notes import Someone, stage

PROBLEM = "application/problem+json"
LISTED = "tradewind.notes.v1.ListNotesResponse"


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
    for _ in range(200):
        writer.write(b"x-more: " + b"x" * 1000 + b"\r\n")
        await writer.drain()
    assert b" 431 " in await reader.read(200)
    writer.close()


@pytest.mark.parametrize(
    "head, status",
    [
        (
            b"PATCH /v1/nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 900000\r\n\r\n",
            404,
        ),
        (b"GET /v1/notes HTTP/1.1\r\nx: " + b"x" * 40_000, 431),
        (b"NONSENSE\r\n\r\n", 400),
    ],
)
async def test_who_still_sends_reads_the_refusal_all_the_same(notes, head, status):
    """Closing at once would reset the connection, and the answer that nobody has read yet would be gone."""

    def asked() -> bytes:
        host, _, port = notes.address.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=60) as line:
            line.sendall(head)
            for _ in range(9):
                line.sendall(b"y" * 100_000)
                time.sleep(0.01)  # the answer may come before all is sent
            return line.recv(200)

    assert f" {status} ".encode() in await asyncio.to_thread(asked)


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


async def test_who_sees_less_has_an_etag_of_their_own(notes, monkeypatch):
    everything = (await notes.http.get("/v1/notes/1")).headers["etag"]
    monkeypatch.setattr("tests.gateway.notes.Someone", partial(Someone, view="ab12"))
    less = (await notes.http.get("/v1/notes/1")).headers["etag"]
    known = [
        await notes.http.get("/v1/notes/1", headers={"if-none-match": tag}) for tag in (everything, less)
    ]
    assert [answer.status_code for answer in known] == [200, 304]
    monkeypatch.undo()  # the rule is lifted: what was shown without a field is shown anew
    assert (await notes.http.get("/v1/notes/1", headers={"if-none-match": less})).status_code == 200
    seen = []
    notes.server.answers["DeleteNote"] = lambda asked: [seen.append(asked.etag), notes.server.note()][1]
    await notes.http.delete("/v1/notes/1", headers={"if-match": less})
    assert seen == ["7"] and less != everything


async def test_an_etag_that_is_known_saves_the_body(notes):
    answer = await notes.http.get("/v1/notes/1", headers={"if-none-match": '"7"'})
    assert (answer.status_code, answer.content) == (304, b"")


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
