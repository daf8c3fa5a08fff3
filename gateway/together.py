"""Writes to a socket put together: a system call and a wake-up of the other side cost more than joining."""

from __future__ import annotations

import asyncio
from typing import Any


class Together:
    """A transport that sends what is written within one step of the event loop as one."""

    def __init__(
        self, transport: Any, loop: asyncio.AbstractEventLoop, closes_within: float | None = None
    ) -> None:
        """*closes_within*: the seconds that a reader has for what is unsent at the close, if any bound."""
        self._transport, self._loop, self._closes_within = transport, loop, closes_within
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Sent when this step is over."""
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(data)

    def close(self) -> None:
        """What was written goes out before."""
        self._send()
        self._transport.close()
        if self._closes_within is not None and self._transport.get_write_buffer_size():
            self._loop.call_later(self._closes_within, self._transport.abort)

    def write_eof(self) -> None:
        """What was written goes out before."""
        self._send()
        self._transport.write_eof()

    def _send(self) -> None:
        parts, self._parts = self._parts, []
        if parts:
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
