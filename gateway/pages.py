"""The gateway's own pages: is it alive, are the services ready, what did it count, and what the API is."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chassis.telemetry import METRICS
from gateway import jsontext, openapi, reference
from gateway.contract import Contract
from gateway.exchange import Answer, Request
from gateway.routes import Routes
from gateway.upstream import Upstream

Page = Callable[[Request], Awaitable[Answer]]
READING = frozenset({"GET", "HEAD"})
HTML = b"text/html; charset=utf-8"
# How long an answer about the services stands, however many ask.
FRESH = 1.0

METRICS.describe("tradewind_http_seconds", "histogram", "How long HTTP requests took, by method and status.")
METRICS.describe("tradewind_http_in_flight", "gauge", "HTTP requests being answered.")


@dataclass(frozen=True)
class Door:
    """A page that does something for a stranger: bounded like the methods that need no sign-in."""

    page: Page
    verbs: frozenset[str] = READING

    async def __call__(self, request: Request) -> Answer:
        """What it answers."""
        return await self.page(request)


def pages(contract: Contract, routes: Routes, upstream: Upstream, leaving: asyncio.Event) -> dict[str, Page]:
    """Path → page; once *leaving* is set the gateway is not ready, whatever the services say."""
    document = openapi.document(contract, routes)
    described = jsontext.render(document)
    shown = reference.page(document).encode()
    return {
        "/": redirect("/docs"),
        "/healthz": _healthz,
        "/readyz": Readiness(upstream, leaving).page,
        "/metrics": _metrics,
        "/openapi.json": fixed(described, b"application/json"),
        "/docs": fixed(shown, HTML, ((b"content-security-policy", reference.POLICY.encode()),)),
    }


async def _healthz(_request: Request) -> Answer:
    return Answer(200, b'{"status":"alive"}')


async def _metrics(_request: Request) -> Answer:
    return Answer(200, (await METRICS.collected()).encode(), b"text/plain; version=0.0.4; charset=utf-8")


class Readiness:
    """Whether every service answers its health check, asked at most once a second, and we stay."""

    def __init__(self, upstream: Upstream, leaving: asyncio.Event) -> None:
        self._upstream, self._leaving = upstream, leaving
        self._known: dict[str, str] = {}
        self._at = -FRESH
        self._asking: asyncio.Task[None] | None = None

    async def page(self, _request: Request) -> Answer:
        """200 when all serve, 503 with who does not."""
        if time.monotonic() - self._at >= FRESH and not self._leaving.is_set():
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask())
            await asyncio.shield(self._asking)  # all who come meanwhile wait for the same, whoever leaves
        ready = all(state == "SERVING" for state in self._known.values()) and not self._leaving.is_set()
        status = "leaving" if self._leaving.is_set() else "ready" if ready else "not ready"
        said = {"status": status, "services": self._known}
        return Answer(200 if ready else 503, jsontext.render(said))

    async def _ask(self) -> None:
        self._known = await self._upstream.health()
        self._at = time.monotonic()


def fixed(body: bytes, kind: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Page:
    """A page that never changes while the process runs."""
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'.encode()
    headers = (*headers, (b"etag", etag), (b"vary", b"accept-encoding"))
    packed = gzip.compress(body, mtime=0)

    async def page(request: Request) -> Answer:
        if request.headers.get(b"if-none-match") == etag:
            return Answer(304, b"", kind, headers)
        if "gzip" in request.header(b"accept-encoding"):
            return Answer(200, packed, kind, (*headers, (b"content-encoding", b"gzip")))
        return Answer(200, body, kind, headers)

    return page


def redirect(to: str) -> Page:
    """A page that is elsewhere."""

    async def page(_request: Request) -> Answer:
        return Answer(307, b"", HTML, ((b"location", to.encode()),))

    return page
