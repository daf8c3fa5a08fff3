"""The processes of one service, each at the end of a connection of ours; who is well takes calls in turn."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import time
from typing import Any

from chassis.deadlines import Deadlines
from chassis.tls import HANDSHAKE_SECONDS, Identity, process_of
from gateway.direct import Connection

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
CONNECTS_WITHIN = 5.0
Address = tuple[str, int]


class Peers:
    """Keeps a connection to every process that an address stands for, for as long as it is asked to."""

    def __init__(self, address: str, service: str = "", identity: Identity | None = None) -> None:
        self._process, self._identity = process_of(service), identity
        self.authority = address.removeprefix("dns:///").partition(",")[0]
        self._places = [_place(part) for part in address.removeprefix("dns:///").split(",")]
        self._deadlines = Deadlines()
        self._open: list[Connection] = []
        self._turn = 0
        self._held: dict[Address, asyncio.Task[None]] = {}
        self._look = asyncio.Event()
        self._keeping = asyncio.create_task(self._keep())

    def next(self, size: int) -> Connection | None:
        """Whose turn it is to take a call with a message of so many bytes; None when nobody can."""
        count = len(self._open)
        for _ in range(count):
            self._turn = (self._turn + 1) % count
            if self._open[self._turn].takes(size):
                return self._open[self._turn]
        return None

    async def close(self) -> None:
        """Let go of every connection."""
        tasks = [self._keeping, *self._held.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self) -> None:
        """Look up who there is: at first, and again whenever a connection ended."""
        while True:
            self._look.clear()
            with contextlib.suppress(OSError):  # a name nobody knows now is asked for again
                found = await self._found()
                for address in found - self._held.keys():
                    self._held[address] = asyncio.create_task(self._hold(address))
                for address in self._held.keys() - found:
                    self._held.pop(address).cancel()
            await asyncio.sleep(LONGEST_PAUSE)
            if self._held:
                await self._look.wait()

    async def _found(self) -> set[Address]:
        found: set[Address] = set()
        for host, port in self._places:
            try:
                ipaddress.ip_address(host)
                found.add((host, port))
            except ValueError:
                told = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
                found |= {(str(each[4][0]), port) for each in told}
        return found

    async def _hold(self, address: Address) -> None:
        """One connection after the other to one process."""
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            with contextlib.suppress(OSError, TimeoutError):
                connection = await self._connect(address)
                self._open.append(connection)
                try:
                    await asyncio.wait({connection.left})
                finally:
                    self._open.remove(connection)
                    connection.leave()
            if time.monotonic() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            self._look.set()
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _connect(self, address: Address) -> Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECTS_WITHIN):
            transport, connection = await loop.create_connection(
                lambda: Connection(self.authority, self._deadlines), *address, **self._secured()
            )
        seen = transport.get_extra_info("peercert")
        if self._identity is not None and not self._identity.is_that_of(self._process, seen):
            transport.abort()
            log.warning("who answers at %s:%d is not %s", *address, self._process)
            raise ConnectionAbortedError("another process than was meant")
        return connection

    def _secured(self) -> dict[str, Any]:
        """How both sides show their certificates; nothing where processes speak in plain."""
        if self._identity is None:
            return {}
        return {
            "ssl": self._identity.client_context("h2"),
            "server_hostname": self._process,
            "ssl_handshake_timeout": HANDSHAKE_SECONDS,
        }


def _place(part: str) -> Address:
    host, _, port = part.rpartition(":")
    return host.strip("[]"), int(port)


def reaches(address: str) -> bool:
    """Whether the address is one of those that are connected to here: by name or number, and port."""
    plain = address.removeprefix("dns:///")
    return all(part.rpartition(":")[2].isdigit() and "/" not in part for part in plain.split(","))
