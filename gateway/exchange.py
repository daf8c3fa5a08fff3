"""One HTTP request as it is read, within its limits, and one answer as it is sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from chassis.kernel.refusals import Refused, invalid
from gateway.bounds import LimitSettings
from gateway.limits import Headers

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LINGER, LARGEST_LINGER = 2.0, 16 * 2**20
# What is said on every answer: nothing of this belongs in a cache, and nothing is to be guessed.
ALWAYS: Headers = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
# A second one of these could be read either way; nobody gets to choose.
ONCE = frozenset(
    (
        b"authorization",
        b"idempotency-key",
        b"if-match",
        b"if-none-match",
        b"content-type",
        b"content-length",
        b"host",
        b"cookie",
        b"origin",
        b"sec-fetch-site",
    )
)


class Gone(Exception):
    """The client hung up before its request was read."""


class BrokenOff(Exception):
    """An answer that has begun will not be whole: its end is not sent, so that nobody takes it for one."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Exactly(Exception):
    """A refusal with an HTTP status (and headers) more exact than its reason's own."""

    def __init__(self, refused: Refused, status: int, headers: Headers = ()) -> None:
        super().__init__(str(refused))
        self.refused, self.status, self.headers = refused, status, headers


@dataclass(slots=True)
class Request:
    """What came in: the head at once, the body when it is asked for."""

    method: str
    path: str
    query: bytes
    headers: dict[bytes, bytes]
    peer: str
    receive: Receive
    bounds: LimitSettings
    locale: str = ""
    traceparent: str = ""
    unread: bool = True  # nobody has asked for the body yet
    secure: bool = False  # it came over TLS, all the way or to a proxy of ours
    chunked: bool = True  # the answer's end can be told from that of the connection: not in HTTP/1.0

    def header(self, name: bytes) -> str:
        """A header's value, or ""."""
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def trace(self) -> str:
        """What to quote when asking about this request."""
        return self.traceparent[3:35]

    async def body(self) -> bytes:
        """The whole body, if it is small and quick enough."""
        self.unread = False
        declared = self.headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.bounds.body_bytes:
            await self._drain()
            raise self._too_large()
        try:
            async with asyncio.timeout(self.bounds.body_seconds):
                return await self._whole()
        except TimeoutError:
            raise Exactly(Refused("DEADLINE_EXCEEDED"), 408, ((b"connection", b"close"),)) from None

    async def _whole(self) -> bytes:
        parts, size = list[bytes](), 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if not message.get("more_body"):
                return self._bounded(b"".join(parts))
            if size > self.bounds.body_bytes:
                await self._drain()
                raise self._too_large()

    def _bounded(self, body: bytes) -> bytes:
        if len(body) > self.bounds.body_bytes:
            raise self._too_large()
        return body

    def _too_large(self) -> Exactly:
        return too_large("the body", f"{self.bounds.body_bytes} bytes", 413)

    async def refuse_unread(self) -> None:
        """Let a client finish sending a body that nobody will read; one that waits to be told is not.

        A connection that is closed while bytes are still coming in takes the answer with it.
        """
        sends = b"transfer-encoding" in self.headers or self.headers.get(b"content-length", b"0") != b"0"
        if self.unread and sends and b"expect" not in self.headers:
            self.unread = False
            await self._drain()

    async def _drain(self) -> None:
        """Let a client finish what it is sending, so that it reads the refusal; not for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                dropped = 0
                while dropped < LARGEST_LINGER:
                    message = await self.receive()
                    if not message.get("more_body"):
                        return
                    dropped += len(message.get("body", b""))


@dataclass(slots=True)
class Answer:
    """What goes out: a whole body, or one that comes bit by bit."""

    status: int
    body: bytes | AsyncIterator[bytes]
    kind: bytes = b"application/json"
    headers: Headers = ()


def read_head(scope: Scope, receive: Receive, bounds: LimitSettings) -> Request:
    """The head of a request, refused when it is too large or says a thing twice."""
    pairs = scope["headers"]
    path, query = scope.get("raw_path") or scope["path"].encode(), scope.get("query_string", b"")
    if len(path) + len(query) > bounds.url_bytes:
        raise too_large("the URL", f"{bounds.url_bytes} bytes", 414)
    headers = dict(pairs)
    if len(headers) != len(pairs):
        _refuse_twins(pairs)
    if sum(len(name) + len(value) for name, value in pairs) > bounds.head_bytes:
        raise too_large("the head", f"{bounds.head_bytes} bytes", 431)
    client = scope.get("client")
    peer = client[0] if client else ""
    secure = scope.get("scheme") == "https"
    if bounds.trusted_proxies:
        secure = secure or (bounds.trusts(peer) and headers.get(b"x-forwarded-proto") == b"https")
        forwarded = b",".join(value for name, value in pairs if name == b"x-forwarded-for")
        peer = bounds.client(peer, forwarded.decode("latin-1"))
    return Request(
        scope["method"], path.decode("latin-1"), query, headers, peer, receive, bounds, secure=secure,
        chunked=scope.get("http_version") != "1.0",
    )  # fmt: skip


def _refuse_twins(pairs: list[tuple[bytes, bytes]]) -> None:
    seen: set[bytes] = set()
    for name, _ in pairs:
        if name in seen and name in ONCE:
            raise invalid(name.decode("latin-1"), "must be given once")
        seen.add(name)


def too_large(what: str, limit: str, status: int) -> Exactly:
    """The refusal of what exceeds a limit; the rest of it is not waited for."""
    return Exactly(Refused("TOO_LARGE", field=what, limit=limit), status, ((b"connection", b"close"),))


async def send_answer(answer: Answer, send: Send, head_only: bool) -> None:
    """Put an answer on the wire; BrokenOff when its body came to no end."""
    headers = [(b"content-type", answer.kind), *ALWAYS, *answer.headers]
    body = answer.body
    if isinstance(body, bytes):
        if answer.status not in (204, 304):
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if head_only else body})
        return
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if not head_only:
        async for part in body:
            await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
