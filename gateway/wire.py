"""How HTTP bytes are taken in: no head without end, and nobody who holds a connection and says nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.exchange import LARGEST_HEADERS, LARGEST_URL

LARGEST_HEAD = 2 * (LARGEST_HEADERS + LARGEST_URL)
# Seconds for the first byte of a connection and for a whole head once begun.
SLOWEST_HEAD = 15.0
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 22\r\nconnection: close\r\n\r\nThe head is too large."
)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a bound on the size and the time of a request's head."""

    _waited: asyncio.TimerHandle | None = None
    _taken = 0
    _in_head = True

    def connection_made(self, transport: Any) -> None:
        """A client that connects is expected to say something."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is waited for any more."""
        self._heard()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes before a head is complete."""
        if self._in_head:
            self._taken += len(data)
        super().data_received(data)
        if self._in_head and self._taken > LARGEST_HEAD and not self.transport.is_closing():
            self.transport.write(TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head, self._taken = True, 0
        if self._waited is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """A head is complete."""
        self._in_head = False
        self._heard()
        super().on_headers_complete()

    def _wait(self) -> None:
        self._waited = self.loop.call_later(SLOWEST_HEAD, self.transport.close)

    def _heard(self) -> None:
        if self._waited is not None:
            self._waited.cancel()
            self._waited = None
