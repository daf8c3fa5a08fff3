"""How HTTP bytes are taken in: no head without end, nobody who holds a connection and says or reads nothing,
and no more connections than the bounds allow."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chassis import telemetry
from chassis.kernel.refusals import Refused
from gateway import jsontext
from gateway.bounds import LimitSettings
from gateway.domain.throttle import network_of
from gateway.exchange import LINGER
from gateway.problem import Problems
from gateway.together import Together

# What is said before there is a request to answer.
TOO_LARGE = Refused("TOO_LARGE", field="the head", limit="the bound of this server")
NOT_HTTP = Refused("BODY_INVALID", problem="this is no HTTP/1.1 request")


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds on the size and the time of a request's head, on how long an answer
    stays unread, and on connections."""

    bounds: LimitSettings
    problems: Problems
    open: Counter[str]
    _peer: str | None = None
    _waited: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _taken = 0
    _in_head = True
    _refused = False

    def connection_made(self, transport: Any) -> None:
        """A client that connects is expected to say something; one too many is let go at once."""
        super().connection_made(transport)
        self.transport = Together(transport, self.loop, self.bounds.write_seconds)  # type: ignore[assignment]
        peer = self.client[0] if self.client else ""
        most = self.bounds.connections if self.bounds.trusts(peer) else self.bounds.connections_each
        peer = network_of(peer)
        if self.open.total() >= self.bounds.connections or self.open[peer] >= most:
            telemetry.METRICS.count("tradewind_limited_total", limit="connections")
            transport.abort()
            return
        self._peer = peer
        self.open[peer] += 1
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is waited for any more."""
        self._heard()
        self._read()
        if self._peer is not None:
            self.open[self._peer] -= 1
            if not self.open[self._peer]:
                del self.open[self._peer]
            self._peer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what is of no body: a head before it is complete, trailers, what frames chunks."""
        if self._refused:
            return
        self._taken += len(data)
        super().data_received(data)
        if self._taken > 2 * (self.bounds.head_bytes + self.bounds.url_bytes) and not self._refused:
            if self._in_head:
                self._refuse(431, TOO_LARGE)
            else:
                self._refused = True
                self.transport.abort()
        elif self._waited is None and self._rests() and self.timeout_keep_alive_task is None:
            self._wait()  # uvicorn took it for the beginning of a request, and watches no more

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head, self._taken = True, 0
        if self._waited is None:
            self._wait()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; what comes after the body (a trailer) is not to be taken for one."""
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """A part of the body, which is bounded by who reads it."""
        self._taken = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """A head is complete."""
        self._in_head = False
        self._heard()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP, as every refusal is said."""
        self._refuse(400, NOT_HTTP)

    def _refuse(self, status: int, refused: Refused) -> None:
        problem = replace(self.problems.refused(refused, "en"), exactly=status)
        body = jsontext.render(problem.body(telemetry.unrecorded()[3:35]))
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self._refused = True
        if not self._rests():
            self.transport.close()
            return
        # Closed while bytes are still coming in, the connection would take the answer with it.
        if self.transport.can_write_eof():  # over TLS nobody can say that he has said all
            self.transport.write_eof()
        self._heard()
        self._waited = self.loop.call_later(LINGER, self.transport.close)

    def pause_writing(self) -> None:
        """The client reads more slowly than we write: it has a while to catch up."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self.bounds.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._read()

    def _rests(self) -> bool:
        """Whether nothing is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        self._waited = self.loop.call_later(self.bounds.head_seconds, self.transport.close)

    def _heard(self) -> None:
        if self._waited is not None:
            self._waited.cancel()
            self._waited = None

    def _read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


def bounded(bounds: LimitSettings, problems: Problems) -> type[BoundedProtocol]:
    """The protocol of one server, which counts its own connections."""
    return type("Bounded", (BoundedProtocol,), {"bounds": bounds, "problems": problems, "open": Counter()})
