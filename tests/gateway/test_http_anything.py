"""Whatever is sent over HTTP is answered or refused."""

from __future__ import annotations

import asyncio
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http import App
from tests.gateway.notes import identify

LISTED = "tradewind.notes.v1.ListNotesResponse"


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
