"""Streams over HTTP: as events and as lines, broken, refused and given up."""

from __future__ import annotations

import asyncio
import json

from chassis.kernel.refusals import Refused
from tests.gateway.notes import stage


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
