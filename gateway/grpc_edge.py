"""The gRPC door: any public method by name, its bytes passed on after the same checks as over HTTP."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from urllib.parse import unquote

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2
from grpc_status import rpc_status

from chassis import telemetry
from chassis.kernel.refusals import Refused
from chassis.rpc import refusal_of
from chassis.service import GRACE_SECONDS, SERVER_OPTIONS
from chassis.tls import Door
from gateway.access_log import AccessLog
from gateway.anybody import Anybody, one_message
from gateway.caller import (
    RECHECK_SECONDS,
    Identify,
    Identity,
    changed,
    check_reach,
    metadata_for,
    trace_of,
)
from gateway.calls import DEFAULT_TIMEOUT, LONGEST_STREAM, LONGEST_TIMEOUT
from gateway.contract import PUBLIC, Contract, Method
from gateway.domain.throttle import network_of
from gateway.limits import STRANGERS, Exceeded, Headers, Limits, LimitSettings
from gateway.problem import DETAILS, Problems, locale_of
from gateway.upstream import Upstream

log = logging.getLogger(__name__)
OURS = "/tradewind."
# What the way through the gateway may take of the caller's time.
MARGIN = 0.02
# Before the port closes: seconds without a new call, and the most to wait for them.
QUIET, QUIET_WITHIN = 0.1, 2.0

telemetry.METRICS.describe(
    "tradewind_edge_seconds", "histogram", "How long gRPC calls took, by method and code."
)


class Edge(grpc.GenericRpcHandler):
    """Finds the handler of a path: every public method's bytes go through, everything else is unknown."""

    def __init__(self, contract: Contract, upstream: Upstream, identify: Identify, limits: Limits) -> None:
        self._upstream, self._identify, self._limits = upstream, identify, limits
        self._problems = Problems(contract)
        self._log = AccessLog(limits.settings.access_log)
        self.streams: set[Any] = set()
        self.calls = 0  # so far
        self._handlers = {path: self._handler(method) for path, method in contract.public.items()}

    def service(self, details: Any) -> Any:
        """The handler of a call's path."""
        self.calls += 1
        path = details.method
        if not path.startswith(OURS):
            return None
        return self._handlers.get(path) or grpc.stream_unary_rpc_method_handler(self._unknown(path))

    def _handler(self, method: Method) -> Any:
        if method.streams:
            return grpc.stream_stream_rpc_method_handler(self._many(method))
        return grpc.stream_unary_rpc_method_handler(self._one(method))

    def _unknown(self, path: str) -> Any:
        async def refuse(_requests: Any, context: grpc.aio.ServicerContext) -> bytes:
            await self.refuse(context, Refused("METHOD_UNKNOWN", method=path[1:200]))
            return b""

        return refuse

    async def refuse(self, context: Any, refused: Refused) -> None:
        """Tell no to a call of which nothing else is known."""
        status = self._status(refused, _told(context), "", telemetry.unrecorded())
        await context.abort_with_status(rpc_status.to_status(status))

    def place(self, context: Any, streams: bool) -> AbstractContextManager[None]:
        """A place among the calls of an address, for one that asks for nobody's name."""
        return self._limits.one_of(network_of(self._peer(context, _told(context))), streams=streams)

    def _peer(self, context: Any, told: dict[str, str]) -> str:
        return self._limits.settings.client(address_of(context.peer()), told.get("x-forwarded-for", ""))

    def _one(self, method: Method) -> Any:
        async def carry(_requests: Any, context: grpc.aio.ServicerContext) -> bytes:
            started, told, status, answer = time.perf_counter(), _told(context), None, b""
            trace = trace_of(told.get("traceparent", ""))
            with telemetry.entry(f"gRPC {method.path}", trace), ExitStack() as held:
                trace = telemetry.traceparent() or trace or telemetry.unrecorded()
                try:
                    call = await self._call(method, context, told, trace, held)
                    answer = await call
                except Exception as error:
                    status = self._status(error, told, method.home, trace)
            self._observe(method, started, status, trace)
            if status is not None:
                await _abort(context, status)
            return answer

        return carry

    def _many(self, method: Method) -> Any:
        async def carry(_requests: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
            started, told, status = time.perf_counter(), _told(context), None
            trace = trace_of(told.get("traceparent", "")) or telemetry.unrecorded()
            with ExitStack() as held:
                try:
                    call = await self._call(method, context, told, trace, held)
                    held.callback(call.cancel)
                    self.streams.add(call)
                    held.callback(self.streams.discard, call)
                    async for part in call:
                        yield part
                except asyncio.CancelledError:
                    if context.cancelled() or context.done():
                        raise
                    # We are stopping, or the caller may do otherwise than when this began: whoever
                    # listens comes back.
                    status = self._status(Refused("UNAVAILABLE", what="the gateway"), told, "", trace)
                except Exception as error:
                    status = self._status(error, told, method.home, trace)
            self._observe(method, started, status, trace)
            if status is not None:
                await _abort(context, status)

        return carry

    async def _call(
        self, method: Method, context: Any, told: dict[str, str], trace: str, held: ExitStack
    ) -> Any:
        """The call to the service, once caller, limits and deadline are in order."""
        remaining = context.time_remaining()
        longest = LONGEST_STREAM if method.streams else LONGEST_TIMEOUT
        timeout = min(remaining - MARGIN, longest) if remaining is not None else _default(method)
        if timeout <= 0:
            raise Refused("DEADLINE_EXCEEDED")
        until = time.monotonic() + timeout
        peer = self._peer(context, told)
        if not method.streams:
            held.enter_context(self._limits.flight())
        identity = await self._caller(method, told, peer, context)
        who = f"{identity.tenant}/{identity.user}" if identity else network_of(peer)
        held.enter_context(self._limits.one_of(who, streams=method.streams))
        request = await one_message(context, min(self._limits.settings.body_seconds, timeout))
        if not method.streams:
            whose = identity.tenant if identity else STRANGERS
            await self._limits.take_turn(whose, max(0.001, until - time.monotonic()))
            held.callback(self._limits.give_turn, whose)
        timeout = max(0.001, until - time.monotonic())
        language = told.get("accept-language", "")
        metadata = metadata_for(
            identity,
            locale=locale_of(language) if language else "",
            traceparent=trace,
            peer=peer,
            agent=told.get("user-agent", ""),
        )
        try:
            through = self._upstream.call(method)
        except KeyError:
            raise Refused("UNAVAILABLE", what=f"the {method.home} service") from None
        if identity and method.request_id:
            request = with_request_id(request, method.request_id)
        call = through(request, timeout=timeout, metadata=metadata)
        if method.streams and identity:
            watch = asyncio.ensure_future(self._until_changed(call, identity, told, peer))
            held.callback(watch.cancel)
        return call

    async def _until_changed(self, call: Any, identity: Identity, told: dict[str, str], peer: str) -> None:
        """End a stream once its caller is out, or may do otherwise than when it began."""
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            if await changed(self._identify(told.get("authorization", ""), peer), identity):
                call.cancel()
                return

    async def _caller(self, method: Method, told: dict[str, str], peer: str, context: Any) -> Identity | None:
        """Who calls, once their limit allows it; what is left of it goes with the answer."""
        if method.permission == PUBLIC:
            _tell_limits(context, self._limits.sign_in, peer)
            return None
        try:
            identity = await self._identify(told.get("authorization", ""), peer)
        except Refused:
            self._limits.stranger(peer)
            raise
        check_reach(identity, method.path)
        _tell_limits(context, self._limits.caller, identity.tenant, f"{identity.tenant}/{identity.user}")
        return identity

    def _observe(self, method: Method, started: float, status: status_pb2.Status | None, trace: str) -> None:
        seconds, code = time.perf_counter() - started, str(status.code) if status else "OK"
        telemetry.METRICS.observe("tradewind_edge_seconds", seconds, method=method.full_name, code=code)
        reason = _reason(status) if status else ""
        self._log.line("grpc", method.full_name, code, seconds, "", reason, trace[3:35])

    def _status(self, error: Exception, told: dict[str, str], home: str, trace: str) -> status_pb2.Status:
        """What went wrong; the service's own status goes through as it is."""
        locale = locale_of(told.get("accept-language", ""))
        if isinstance(error, grpc.aio.AioRpcError):
            for key, value in error.trailing_metadata() or ():
                if key == DETAILS:
                    return status_pb2.Status.FromString(value)
            return self._problems.of_call(error, locale, f"the {home} service", trace[3:35]).grpc_status()
        if isinstance(error, Exceeded):
            return self._problems.refused(error, locale, retry_after=error.retry_after).grpc_status()
        if isinstance(error, Refused):
            return self._problems.refused(error, locale).grpc_status()
        if understood := refusal_of(error):  # the gateway's own database may be away
            return self._problems.refused(understood, locale).grpc_status()
        log.exception("a defect", exc_info=error, extra={"facts": {"trace_id": trace[3:35]}})
        return self._problems.refused(Refused("INTERNAL", trace=trace[3:35]), locale).grpc_status()


def _tell_limits(context: Any, take: Callable[..., Headers], *whose: str) -> None:
    """Take one of a limit; what is left of it stands in the trailing metadata, also when it was none."""
    try:
        headers = take(*whose)
    except Exceeded as exceeded:
        headers = exceeded.headers
        raise
    finally:
        context.set_trailing_metadata(tuple((name.decode(), said.decode()) for name, said in headers))


async def _abort(context: Any, status: status_pb2.Status) -> None:
    made = rpc_status.to_status(status)
    told = (*(context.trailing_metadata() or ()), *made.trailing_metadata)
    await context.abort(made.code, made.details, told)


def _default(method: Method) -> float:
    return LONGEST_STREAM if method.streams else DEFAULT_TIMEOUT


def _reason(status: status_pb2.Status) -> str:
    """Why, by the first of the details, which is ours."""
    for detail in status.details[:1]:
        return error_details_pb2.ErrorInfo.FromString(detail.value).reason
    return code_pb2.Code.Name(status.code)


def _told(context: Any) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


def with_request_id(request: bytes, number: int) -> bytes:
    """The request under a fresh request_id (field *number*), unless it has one: of two, the last counts.

    A service that dies before it has answered is asked again; without an id that might do it twice.
    """
    tag = (number << 3) | 2
    head = bytes([tag]) if tag < 0x80 else bytes([tag & 0x7F | 0x80, tag >> 7])
    return head + b"\x24" + str(uuid.uuid4()).encode() + request


def address_of(peer: str) -> str:
    """ipv4:127.0.0.1:5000 → 127.0.0.1, ipv6:[::1]:5000 → ::1."""
    kind, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else peer


class EdgeServer:
    """The gRPC port, open."""

    def __init__(self, server: grpc.aio.Server, edge: Edge, checker: Any, port: int) -> None:
        self._server, self._edge, self._checker, self.port = server, edge, checker, port

    async def leave(self) -> None:
        """Say NOT_SERVING; calls are still taken."""
        await self._checker.enter_graceful_shutdown()

    async def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Take no more calls, end the streams, finish what else is under way."""
        await self._checker.enter_graceful_shutdown()
        for call in list(self._edge.streams):
            call.cancel()
        await self._look_at_all()
        await self._server.stop(grace)

    async def _look_at_all(self) -> None:
        """Let in what has arrived: calls nobody has looked at are told CANCELLED by gRPC as it closes."""
        seen, until = -1, time.monotonic() + QUIET_WITHIN
        while seen != self._edge.calls and time.monotonic() < until:
            seen = self._edge.calls
            await asyncio.sleep(QUIET)


async def serve_edge(
    host: str,
    port: int,
    *,
    identify: Identify,
    upstream: Upstream,
    contract: Contract | None = None,
    limits: Limits | None = None,
    door: Door | None = None,
) -> EdgeServer:
    """Open the gRPC port; the server that comes back is to be stopped with `stop()`."""
    contract = contract or Contract.load()
    limits = limits or Limits()
    server = grpc.aio.server(options=_options(limits.settings))
    edge = Edge(contract, upstream, identify, limits)
    server.add_generic_rpc_handlers((edge,))
    checker = health.aio.HealthServicer()
    names = sorted({method.service for method in contract.public.values()})
    within = limits.settings.body_seconds
    anybody = Anybody(checker, contract, names, edge.place, edge.refuse, within)
    server.add_generic_rpc_handlers(anybody.handlers())
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if door is None:
        bound = server.add_insecure_port(target)
    else:
        bound = server.add_secure_port(target, door.credentials())
    await server.start()
    for name in ("", *names):
        await checker.set(name, health_pb2.HealthCheckResponse.SERVING)
    return EdgeServer(server, edge, checker, bound)


def _options(bounds: LimitSettings) -> list[tuple[str, int]]:
    """What the edge takes from strangers: less than the services take from each other."""
    ours = {
        "grpc.max_receive_message_length": bounds.body_bytes,
        "grpc.max_metadata_size": bounds.metadata_bytes,
        # Between this and the one before, grpc would refuse some calls and not others, by chance.
        "grpc.absolute_max_metadata_size": bounds.metadata_bytes,
        "grpc.max_concurrent_streams": bounds.in_flight_each,
        "grpc.server_handshake_timeout_ms": int(bounds.head_seconds * 1000),
        "grpc.max_connection_idle_ms": int(bounds.idle_seconds * 1000),
        # Who pings more often than every five seconds is told to calm down, and then let go.
        "grpc.http2.max_ping_strikes": 2,
    }
    return [*((name, value) for name, value in SERVER_OPTIONS if name not in ours), *ours.items()]
