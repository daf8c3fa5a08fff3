"""Calls from one service to another: channels that fail over, deadlines that shrink, tokens of our own."""

from __future__ import annotations

import asyncio
import importlib
import json
import time
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis import telemetry
from chassis.audit.places import HERE
from chassis.call import Call
from chassis.identity import Principal, Signer
from chassis.kernel.refusals import Refused
from chassis.reasons import from_wire, status_of
from chassis.tls import Identity, process_of

_RETRY = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,  # over 1.6 s in all: a peer that came back is found again within one
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 3,
                # gRPC's server tells CANCELLED to whom it had not looked at when it was ended.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
    "loadBalancingConfig": [{"round_robin": {}}],
    # Every peer is watched: one that says NOT_SERVING is left before it closes, see service.
    "healthCheckConfig": {"serviceName": ""},
}
OPTIONS = [
    ("grpc.service_config", json.dumps(_RETRY)),
    ("grpc.keepalive_time_ms", 10_000),
    # keepalive_timeout_ms alone has no effect in this grpcio: a frozen peer would stay in use for ever.
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Half a minute by default: all replicas may have been replaced by then, at other addresses.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    # 256 KiB by default: a longer request was not sent again when its connection had grown too old for it.
    ("grpc.per_rpc_retry_buffer_size", 5 * 1024 * 1024),
    ("grpc.max_metadata_size", 16_384),
]
DEFAULT_SECONDS = 5.0
MARGIN = 0.05
FINISHES_WITHIN = 30.0  # what is under way on a channel that another took the place of


def target(address: str) -> str:
    """What gRPC dials: a name as it is, and several IP addresses as one target that it balances over."""
    if "," not in address:
        return address
    return f"{'ipv6' if address.startswith('[') else 'ipv4'}:{address}"


def channel(address: str, service: str = "", identity: Identity | None = None) -> grpc.aio.Channel:
    """A channel to all replicas of a peer, made the one way that was measured.

    *address* is host:port, dns:///name:port, or IP:port of every replica with commas between. With an
    *identity* both sides show certificates, and the other has to be the *service* that was meant.
    """
    if identity is None:
        return grpc.aio.insecure_channel(target(address), options=OPTIONS)
    meant = process_of(service)
    named = [("grpc.ssl_target_name_override", meant), ("grpc.default_authority", meant)]
    return grpc.aio.secure_channel(target(address), identity.channel_credentials(), [*OPTIONS, *named])


class Channels:
    """One channel to each service; after the certificate changed, new ones, and the old are let finish."""

    def __init__(self, addresses: Mapping[str, str], identity: Identity | None) -> None:
        self.addresses, self.identity = dict(addresses), identity
        self._open: dict[str, grpc.aio.Channel] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._version = identity.version if identity else 0

    def to(self, service: str) -> grpc.aio.Channel:
        """The channel to a service; KeyError when nobody said where it is."""
        if service not in self._open:
            self._open[service] = channel(self.addresses[service], service, self.identity)
        return self._open[service]

    def renewed(self) -> bool:
        """Whether all channels, and what was made of them, have just been let go for a new certificate."""
        if self.identity is None or self._version == (version := self.identity.version):
            return False
        self._version = version
        for old in self._open.values():
            task = asyncio.create_task(old.close(FINISHES_WITHIN))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        self._open.clear()
        return True

    async def close(self) -> None:
        """Close every channel."""
        for task in list(self._leaving):
            task.cancel()
        for open_channel in self._open.values():
            await open_channel.close()


class Clients:
    """The other services, as one service calls them: under its own name, for the person behind the call."""

    def __init__(
        self, service: str, signer: Signer, addresses: dict[str, str], identity: Identity | None = None
    ) -> None:
        self.service, self.signer = service, signer
        self._channels = Channels(addresses, identity)
        self._stubs: dict[str, Any] = {}
        self._tokens: dict[tuple[str, str, str], tuple[float, str]] = {}

    @property
    def addresses(self) -> dict[str, str]:
        """Where each service is."""
        return self._channels.addresses

    def channel(self, service: str) -> grpc.aio.Channel:
        """The one channel to a service."""
        try:
            return self._channels.to(service)
        except KeyError:
            raise Refused("UNAVAILABLE", what=f"the {service} service") from None

    def _token(self, tenant: str, actor: str, zone: str) -> str:
        expires, token = self._tokens.get((tenant, actor, zone), (0.0, ""))
        if expires < time.time():
            if len(self._tokens) > 10_000:
                self._tokens.clear()
            me = f"services/{self.service}"
            who = Principal(user=me, tenant=tenant, permissions={}, actor=actor, zone=zone)
            token = self.signer.mint(who)
            self._tokens[tenant, actor, zone] = (time.time() + 45, token)
        return token

    async def ask(self, method: str, request: Message, call: Call) -> Any:
        """Call `tradewind.contract.v1.CreditService.HoldCredit`; a refusal comes back as Refused."""
        service = method.split(".")[1]
        actor = call.actor or (call.user if call.user.startswith("users/") else "")
        seconds = min(DEFAULT_SECONDS, call.remaining() - MARGIN)
        if seconds <= 0:
            raise Refused("DEADLINE_EXCEEDED")
        metadata = [
            ("authorization", f"Bearer {self._token(call.tenant, actor, call.zone)}"),
            ("accept-language", call.locale),
            ("x-internal-peer", HERE),
            ("x-internal-agent", f"services/{self.service}"),
        ]
        if trace := telemetry.traceparent() or call.traceparent:
            metadata.append(("traceparent", trace))
        stub = self._stub(service, method)
        try:
            return await stub(request, timeout=seconds, metadata=metadata)
        except grpc.aio.AioRpcError as problem:
            if problem.code() is grpc.StatusCode.DEADLINE_EXCEEDED and status_of(problem) is None:
                raise Refused("DEADLINE_EXCEEDED", service=service) from problem
            raise from_wire(problem, f"the {service} service") from problem

    def _stub(self, service: str, method: str) -> Any:
        if self._channels.renewed():
            self._stubs.clear()
        if method not in self._stubs:
            described = _described(service, method)
            owner, _, name = method.rpartition(".")
            self._stubs[method] = self.channel(service).unary_unary(
                f"/{owner}/{name}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=GetMessageClass(described.output_type).FromString,
            )
        return self._stubs[method]

    async def close(self) -> None:
        """Close every channel."""
        await self._channels.close()


def _described(service: str, method: str) -> Any:
    """What the contract says of a method; also of a service that this process knows nothing else of."""
    try:
        return descriptor_pool.Default().FindMethodByName(method)
    except KeyError:
        importlib.import_module(f"tradewind.{service}.v1.events_pb2")
        return descriptor_pool.Default().FindMethodByName(method)
