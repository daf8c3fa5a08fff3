"""A TCP proxy that can be told to behave like a bad network: slow, torn, silent, or dead at one end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass

HERE = "127.0.0.1"
CHUNK = 64 * 1024


@dataclass(frozen=True)
class Weather:
    """How a proxy treats what passes: seconds of delay ± jitter, the share of connections that are torn.

    A black hole keeps everything back in both directions and lets new connections hang; when it is over,
    what was kept back arrives, as after retransmission. Half open: the far end is gone and nobody was told.
    Refuse: connections are torn and new ones turned away, as when the far end does not run.
    """

    delay: float = 0.0
    jitter: float = 0.0
    torn: float = 0.0
    black_hole: bool = False
    half_open: bool = False
    refuse: bool = False


CLEAR = Weather()


class Link:
    """One connection through the proxy: the near end (who called) and the far end."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.near, self.far = near, far
        self.silent = False  # the far end is gone: what the near end says goes nowhere

    def tear(self) -> None:
        """Reset both ends."""
        for writer in (self.near, self.far):
            reset(writer)

    def lose_far_end(self) -> None:
        """The far end is told that we are gone; the near end is told nothing."""
        self.silent = True
        reset(self.far)


class Proxy:
    """Listens on a port of its own and passes everything on to *target*, a port of this machine."""

    def __init__(self, name: str, target: int, chance: random.Random | None = None) -> None:
        self.name, self.target, self.port = name, target, 0
        self.chance = chance or random.Random(name)
        self.weather = CLEAR
        self.links: set[Link] = set()
        self._server: asyncio.Server | None = None
        self._clear = asyncio.Event()
        self._clear.set()

    async def start(self, port: int = 0) -> Proxy:
        """Listen on *port*, or on a free one."""
        self._server = await asyncio.start_server(self._take, HERE, port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Close everything."""
        self.set(CLEAR)
        if self._server:
            self._server.close()
        for link in list(self.links):
            link.tear()

    def set(self, weather: Weather) -> None:
        """Change how connections are treated, from now on; what a passed weather did stays done."""
        before, self.weather = self.weather, weather
        if weather.black_hole:
            self._clear.clear()
        else:
            self._clear.set()
        for link in list(self.links):
            if weather.refuse or self.chance.random() < weather.torn:
                link.tear()
            elif weather.half_open:
                link.lose_far_end()
            elif before.half_open and link.silent:
                link.tear()  # the near end finds out at last

    async def _take(self, near_in: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        if self.weather.refuse or self.chance.random() < self.weather.torn:
            reset(near)
            return
        await self._clear.wait()
        try:
            far_in, far = await asyncio.open_connection(HERE, self.target)
        except OSError:
            reset(near)
            return
        link = Link(near, far)
        self.links.add(link)
        try:
            await asyncio.gather(self._pump(link, near_in, far), self._pump(link, far_in, near))
        finally:
            self.links.discard(link)
            near.close()
            far.close()

    async def _pump(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes from one end until it closes; then close the other, unless it is not to know."""
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(CHUNK):
                if self.weather is not CLEAR:
                    await self._hold()
                if not link.silent:
                    writer.write(data)
                    await writer.drain()
        if not (link.silent and writer is link.near):
            writer.close()

    async def _hold(self) -> None:
        await self._clear.wait()
        weather = self.weather
        if weather.delay or weather.jitter:
            await asyncio.sleep(max(0.0, weather.delay + self.chance.uniform(-1, 1) * weather.jitter))


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, as a process that dies or a firewall does."""
    handle = writer.get_extra_info("socket")
    if handle is not None and handle.fileno() >= 0:
        with contextlib.suppress(OSError):
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
