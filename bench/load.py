"""A caller that costs little: HTTP requests made beforehand, on connections that stay open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Load:
    """What came back."""

    seconds: float = 0.0
    times: list[float] = field(default_factory=list)  # of each request, in seconds
    refused: list[bytes] = field(default_factory=list)  # answers that are no 2xx

    @property
    def count(self) -> int:
        """How many requests were answered well."""
        return len(self.times)


class _Connection(asyncio.Protocol):
    """One request after the other."""

    def __init__(self, make: Callable[[], bytes], load: Load) -> None:
        self.make, self.load = make, load
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ending = False
        self.buffer = bytearray()
        self.due: Iterator[float] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self.due is None:
            self.ask(time.perf_counter())

    def ask(self, at: float) -> None:
        self.began = at
        self.transport.write(self.make())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self.buffer.find(b"content-length: ")
        length = int(self.buffer[at + 16 : self.buffer.find(b"\r", at)])
        if len(self.buffer) < head + 4 + length:
            return
        now = time.perf_counter()
        if self.buffer[9:10] == b"2":
            self.load.times.append(now - self.began)
        else:
            self.load.refused.append(bytes(self.buffer))
        self.buffer.clear()
        if self.ending:
            self.finish()
        else:
            self.next()

    def next(self) -> None:
        """At once; or, at a fixed rate, when its time has come: being late counts as waiting."""
        now = time.perf_counter()
        if self.due is None:
            self.ask(now)
            return
        at = next(self.due)
        if at <= now:
            self.ask(at)
        else:
            asyncio.get_running_loop().call_later(at - now, self.when_due, at)

    def when_due(self, at: float) -> None:
        if self.ending:
            self.finish()
        else:
            self.ask(at)

    def connection_lost(self, problem: Exception | None) -> None:
        self.finish()

    def finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
        self.transport.close()


async def http(
    address: tuple[str, int], make: Callable[[], bytes], *, clients: int, seconds: float, rate: float = 0.0
) -> Load:
    """Requests from so many connections for so long: at a fixed *rate* of all, or one after the other."""
    loop, load = asyncio.get_running_loop(), Load()
    began = time.perf_counter()
    open_ones: list[_Connection] = []
    for number in range(clients):
        _, connection = await loop.create_connection(lambda: _Connection(make, load), *address)
        open_ones.append(connection)
        if rate:
            connection.due = _times(began + 0.2 + number / rate, clients / rate)
            connection.next()
    await asyncio.sleep(seconds)
    for connection in open_ones:
        connection.ending = True
    await asyncio.wait_for(asyncio.gather(*(connection.done for connection in open_ones)), 30)
    load.seconds = time.perf_counter() - began
    if load.refused:
        raise RuntimeError(f"{len(load.refused)} answers were no success, such as {load.refused[0][:600]!r}")
    return load


def _times(first: float, step: float) -> Iterator[float]:
    at = first
    while True:
        yield at
        at += step


def request(verb: str, path: str, token: str, body: bytes = b"") -> bytes:
    """The bytes of a request."""
    head = f"{verb} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body
