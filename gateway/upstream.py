"""The services behind the gateway: how each is reached, calls as bytes by method, and whether they are well.

A call of one message each way goes over a connection of our own, at a third of what a channel of gRPC costs.
Streams go over a channel, and so does whatever our own connection cannot take or has lost: the channel
tries again, elsewhere if it must.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from chassis.clients import Channels
from chassis.tls import Identity
from gateway.caller import Metadata
from gateway.contract import Method
from gateway.direct import head_of
from gateway.peers import Peers, reaches
from gateway.replies import Lost


class Upstream:
    """Channels by service name, made when they are first needed."""

    def __init__(self, addresses: Mapping[str, str], identity: Identity | None = None) -> None:
        self.addresses, self.identity = dict(addresses), identity
        self._channels = Channels(addresses, identity)
        self._peers: dict[str, Peers] = {}
        self._calls: dict[str, Any] = {}

    def channel(self, home: str) -> grpc.aio.Channel:
        """The channel to a service; KeyError when nobody said where it is."""
        return self._channels.to(home)

    def call(self, method: Method) -> Any:
        """The callable of *method*: bytes in, bytes (or a stream of bytes) out."""
        if self._channels.renewed():
            self._calls.clear()
        known = self._calls.get(method.path)
        if known is None:
            known = self._calls[method.path] = self._callable(method)
        return known

    def _callable(self, method: Method) -> Any:
        home = self.channel(method.home)
        if method.streams:
            return home.unary_stream(method.path)
        through: Any = home.unary_unary(method.path)
        if not reaches(self.addresses[method.home]):
            return through
        if method.home not in self._peers:
            self._peers[method.home] = Peers(self.addresses[method.home], method.home, self.identity)
        return _Call(self._peers[method.home], method.path, through)

    async def health(self, within: float = 1.0) -> dict[str, str]:
        """Service → SERVING, or what is wrong, asked of all at once."""
        names = sorted(self.addresses)
        answers = await asyncio.gather(*(self._ask(name, within) for name in names))
        return dict(zip(names, answers, strict=True))

    async def _ask(self, home: str, within: float) -> str:
        check = self.channel(home).unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(health_pb2.HealthCheckRequest(), timeout=within)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    async def close(self) -> None:
        """Let go of every connection."""
        for peers in self._peers.values():
            await peers.close()
        await self._channels.close()


class _Call:
    """A method of one message each way."""

    def __init__(self, peers: Peers, path: str, through: Any) -> None:
        self._peers, self._through = peers, through
        self._head = head_of(path, peers.authority)

    async def __call__(self, request: bytes, *, timeout: float, metadata: Metadata) -> bytes:
        """The answer; raises AioRpcError. *timeout* in seconds."""
        connection = self._peers.next(len(request))
        if connection is not None:
            until = time.monotonic() + timeout
            try:
                return await connection.ask(self._head, request, timeout, metadata)
            except Lost:
                timeout = max(0.001, until - time.monotonic())
        answer: bytes = await self._through(request, timeout=timeout, metadata=metadata)
        return answer
