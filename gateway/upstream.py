"""The services behind the gateway: a channel each, calls as bytes by method, and whether they are well."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from chassis.clients import channel
from gateway.contract import Method


class Upstream:
    """Channels by service name, made when they are first needed."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self.addresses = dict(addresses)
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._calls: dict[str, Any] = {}

    def channel(self, home: str) -> grpc.aio.Channel:
        """The channel to a service; KeyError when nobody said where it is."""
        if home not in self._channels:
            self._channels[home] = channel(self.addresses[home])
        return self._channels[home]

    def call(self, method: Method) -> Any:
        """The callable of *method*: bytes in, bytes (or a stream of bytes) out."""
        known = self._calls.get(method.path)
        if known is None:
            home = self.channel(method.home)
            make = home.unary_stream if method.streams else home.unary_unary
            known = self._calls[method.path] = make(method.path)
        return known

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
        for open_channel in self._channels.values():
            await open_channel.close()
