"""The HTTP door: a request finds its method, caller and limits, and every no is a problem document."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import cast

import grpc
import uvicorn
from opentelemetry import trace

from chassis import telemetry
from chassis.kernel.refusals import Refused
from chassis.reasons import reason_of
from chassis.rpc import refusal_of
from chassis.service import GRACE_SECONDS
from chassis.tls import HANDSHAKE_SECONDS, Door
from gateway import files, jsontext, pages, streams
from gateway.access_log import AccessLog
from gateway.caller import RECHECK_SECONDS, Identify, Identity, changed, check_reach, trace_of
from gateway.calls import Endpoint
from gateway.contract import PUBLIC, Contract
from gateway.cookies import Cookies
from gateway.domain.throttle import network_of
from gateway.exchange import (
    Answer,
    BrokenOff,
    Exactly,
    Gone,
    Receive,
    Request,
    Scope,
    Send,
    read_head,
    send_answer,
)
from gateway.limits import Exceeded, Headers, Limits
from gateway.problem import Problem, Problems, locale_of
from gateway.routes import Routes, Rule
from gateway.scalars import Wrong
from gateway.transcode import Transcoder
from gateway.upstream import Upstream
from gateway.wire import BoundedProtocol, bounded

log = logging.getLogger(__name__)
PROBLEM = b"application/problem+json"
LAST = (b"connection", b"close")
# Who came over TLS once comes over TLS for a year.
STRICT = (b"strict-transport-security", b"max-age=31536000")


class App:
    """The ASGI application: routes, identity, limits and transcoding around the services' methods."""

    def __init__(
        self,
        contract: Contract,
        upstream: Upstream,
        identify: Identify,
        limits: Limits | None = None,
        more_pages: Mapping[str, pages.Page] | None = None,
        cookies: Cookies | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._log = AccessLog(self.limits.settings.access_log)
        # Set when the process is told to stop: every answer is then the last of its connection.
        self.leaving = asyncio.Event()
        # Set when the port closes, so that streams end instead of being waited for.
        self.closing = asyncio.Event()
        self.routes = Routes(contract)
        self._identify, self._cookies = identify, cookies
        self.problems = Problems(contract)
        transcoder = Transcoder(contract.pool)
        self._endpoints = {
            id(rule): Endpoint(rule, transcoder, upstream, cookies) for rule in self.routes.rules
        }
        ours = pages.pages(contract, self.routes, upstream, self.leaving)
        self._pages = {**ours, **(more_pages or {})}

    async def measure(self) -> None:
        """Say how many requests are being answered, to whoever asks for the metrics of the process."""
        telemetry.METRICS.set("tradewind_http_in_flight", self.limits.in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started, seen = time.perf_counter(), _Seen()
        with seen.held:
            answer = await self._received(scope, receive, seen)
            if answer is not None:
                if scope.get("scheme") == "https":
                    answer = replace(answer, headers=(*answer.headers, STRICT))
                if self.leaving.is_set():
                    answer = replace(answer, headers=(*answer.headers, LAST))
                try:
                    await send_answer(answer, send, scope["method"] == "HEAD")
                except BrokenOff as broken:  # the server closes the connection, since no end was sent
                    seen.reason = broken.reason
        seconds, status = time.perf_counter() - started, str(seen.status)
        telemetry.METRICS.observe("tradewind_http_seconds", seconds, method=seen.method, status=status)
        self._log.line("http", seen.method, status, seconds, seen.organization, seen.reason, seen.trace)

    async def _received(self, scope: Scope, receive: Receive, seen: _Seen) -> Answer | None:
        """The answer within its trace; none for who hung up."""
        bounds = self.limits.settings
        try:
            request = read_head(scope, receive, bounds)
        except (Refused, Exactly) as error:
            unread = Request(
                scope["method"], "", b"", {}, "", receive, bounds, traceparent=telemetry.unrecorded()
            )
            return self._refusal(error, unread, seen)
        told = trace_of(request.header(b"traceparent"))
        if language := request.header(b"accept-language"):
            request.locale = locale_of(language)
        with telemetry.entry(f"HTTP {request.method}", told):
            request.traceparent = telemetry.traceparent() or told or telemetry.unrecorded()
            seen.trace = request.trace
            try:
                return await self._answered(request, seen)
            except Gone:
                seen.status = 499
                return None

    async def _answered(self, request: Request, seen: _Seen) -> Answer:
        """The answer, a refusal too."""
        try:
            answer = await self._answer(request, seen)
            seen.status = answer.status
            answer.headers = (*answer.headers, *seen.headers)
            return answer
        except Gone:
            raise
        except Exception as error:
            await request.refuse_unread()
            return self._refusal(error, request, seen)

    async def _answer(self, request: Request, seen: _Seen) -> Answer:
        page = self._pages.get(request.path)
        if page is None and not request.path.startswith("/v1/"):
            page = self._pages.get(_beneath(request.path))
        if page is not None:
            return await self._page(page, request, seen)
        rules, segments = self.routes.find(request.path)
        rule = rules.get("GET" if request.method == "HEAD" else request.method)
        if rule is None or (rule.method.streams and request.method == "HEAD"):
            get = rules.get("GET")
            return self._other_verb(request, {*rules, "HEAD"} if get and not get.method.streams else {*rules})
        seen.method, seen.home = rule.method.full_name, rule.method.home
        trace.get_current_span().update_name(f"{rule.verb} {rule.template}")
        return await self._ask(rule, segments, request, seen)

    async def _page(self, page: pages.Page, request: Request, seen: _Seen) -> Answer:
        seen.method = request.path if request.path in self._pages else _beneath(request.path)
        verbs = page.verbs if isinstance(page, pages.Door) else pages.READING
        if request.method not in verbs:
            return self._other_verb(request, set(verbs))
        if not isinstance(page, pages.Door):
            return await page(request)
        seen.headers = self.limits.sign_in(request.peer)
        with self.limits.flight(), self.limits.one_of(network_of(request.peer)):
            return await page(request)

    async def _ask(self, rule: Rule, segments: list[str], request: Request, seen: _Seen) -> Answer:
        endpoint = self._endpoints[id(rule)]
        if rule.method.streams:
            identity = await self._caller(rule, request, seen)
            seen.held.enter_context(self.limits.one_of(_key(identity, request), streams=True))
            call, _ = await endpoint.open(request, segments, identity)
            locale = _locale(request)
            explain = lambda no: self.problems.of_call(no, locale, seen.home, request.trace).in_json()  # noqa: E731
            left = self._changed(rule, request, identity)
            if rule.method.file:
                return await files.download(endpoint, call, request, explain, self.closing, left)
            return await streams.stream(endpoint, call, request, explain, self.closing, left)
        with self.limits.flight():
            identity = await self._caller(rule, request, seen)
            with self.limits.one_of(_key(identity, request)):
                return await endpoint.ask(request, segments, identity, self.limits)

    async def _caller(self, rule: Rule, request: Request, seen: _Seen) -> Identity | None:
        """Who calls, once their limit allows it; nobody for a method that needs no sign-in."""
        if rule.method.permission == PUBLIC:
            seen.headers = self.limits.sign_in(request.peer)
            return None
        try:
            # A page that listens does so by itself, and comes back by itself; a file somebody asks for.
            identity = await self._who(rule, request, used=rule.method.file or not rule.method.streams)
        except Refused:
            self.limits.stranger(request.peer)
            raise
        check_reach(identity, rule.method.path)
        seen.headers = self.limits.caller(identity.tenant, _key(identity, request))
        seen.organization = identity.tenant
        return identity

    async def _who(self, rule: Rule, request: Request, used: bool) -> Identity:
        """Who calls: by the Authorization header, and only without one by a browser's cookie."""
        if self._cookies and b"cookie" in request.headers and b"authorization" not in request.headers:
            found = await self._cookies.identity(request, rule.method, used)
            if found is not None:
                return found
        return await self._identify(request.header(b"authorization"), request.peer)

    async def _changed(self, rule: Rule, request: Request, identity: Identity | None) -> None:
        """Comes to an end when the caller is out, or may do otherwise than when the call began."""
        while identity is not None:
            await asyncio.sleep(RECHECK_SECONDS)
            if await changed(self._who(rule, request, used=False), identity):
                return

    def _other_verb(self, request: Request, verbs: set[str]) -> Answer:
        unknown = Refused("ROUTE_UNKNOWN", method=request.method[:20], path=request.path[:200])
        if not verbs:
            raise unknown
        allow = ((b"allow", ", ".join(sorted({*verbs, "OPTIONS"})).encode()),)
        if request.method == "OPTIONS":
            return Answer(204, b"", headers=allow)
        raise Exactly(unknown, 405, allow)

    def _refusal(self, error: Exception, request: Request, seen: _Seen) -> Answer:
        problem = self._explain(error, request, seen)
        if not isinstance(error, Wrong):  # which knows what the client called it
            problem = problem.in_json()
        seen.status, seen.reason = problem.status, problem.reason
        headers: Headers = (*problem.headers, *seen.headers)
        if problem.retry_after is not None:
            headers = (*headers, (b"retry-after", str(math.ceil(problem.retry_after)).encode()))
        if problem.status == 401:
            headers = (*headers, (b"www-authenticate", b'Bearer realm="tradewind"'))
        return Answer(problem.status, jsontext.render(problem.body(request.trace)), PROBLEM, headers)

    def _explain(self, error: Exception, request: Request, seen: _Seen) -> Problem:
        """What went wrong, as a problem; a defect is logged and told by its trace alone."""
        locale, say = _locale(request), self.problems.refused
        if isinstance(error, Exceeded):
            seen.headers = ()
            return replace(say(error, locale, retry_after=error.retry_after), headers=error.headers)
        if isinstance(error, Exactly):
            return replace(say(error.refused, locale, exactly=error.status), headers=error.headers)
        if isinstance(error, Refused):
            return say(error, locale)
        if isinstance(error, Wrong):
            return self.problems.wrong(error, locale)
        if isinstance(error, grpc.aio.AioRpcError):
            problem = self.problems.of_call(error, locale, f"the {seen.home} service", request.trace)
            if problem.reason == "INTERNAL" and not reason_of(error)[0]:  # else the service has logged it
                log.error("%s failed: %s %s", seen.method, error.code().name, error.details())
            return problem
        if understood := refusal_of(error):  # the gateway's own database may be away
            return say(understood, locale)
        log.exception("a defect", exc_info=error, extra={"facts": {"trace_id": request.trace}})
        return say(Refused("INTERNAL", trace=request.trace), locale)


class _Seen:
    """What became known of a request while it was answered."""

    __slots__ = ("headers", "held", "home", "method", "organization", "reason", "status", "trace")

    def __init__(self) -> None:
        self.method, self.home, self.status = "-", "", 500
        self.organization = self.reason = self.trace = ""
        self.headers: Headers = ()
        self.held = contextlib.ExitStack()


def _key(identity: Identity | None, request: Request) -> str:
    return f"{identity.tenant}/{identity.user}" if identity else network_of(request.peer)


def _beneath(path: str) -> str:
    """Under which page's path it lies: "/sign-in/…" under "/sign-in/"."""
    return f"/{path[1:].partition('/')[0]}/"


def _locale(request: Request) -> str:
    return request.locale or "en"


class _Quiet(uvicorn.Server):
    """A uvicorn server that leaves signals to the process it is part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Over TLS, who does not come to speak within a while is let go."""
        if self.config.ssl is None:
            await super().startup(sockets)
            return
        loop = asyncio.get_running_loop()
        protocol = cast("type[BoundedProtocol]", self.config.http_protocol_class)
        make = partial(protocol, config=self.config, server_state=self.server_state, app_state={})
        self.servers = [
            await loop.create_server(
                make,
                sock=listener,
                ssl=self.config.ssl,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                backlog=self.config.backlog,
            )
            for listener in sockets or ()
        ]
        self.started = True


class HttpServer:
    """The HTTP port, open."""

    def __init__(self, app: App, listener: socket.socket, door: Door | None = None) -> None:
        config = uvicorn.Config(
            app, http=bounded(app.limits.settings, app.problems), loop="none", ws="none", lifespan="off",
            log_config=None,
            access_log=False, server_header=False, proxy_headers=False,
            timeout_keep_alive=math.ceil(app.limits.settings.idle_seconds),
            timeout_graceful_shutdown=GRACE_SECONDS,
            ssl_context_factory=(lambda _config, _usual: door.context()) if door else None,
        )  # fmt: skip
        self.port: int = listener.getsockname()[1]
        self._app = app
        telemetry.METRICS.collectors.append(app.measure)
        self._server = _Quiet(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))

    async def started(self) -> None:
        """Wait until requests are taken."""
        while not self._server.started:
            if self._task.done():
                await self._task
            await asyncio.sleep(0.01)

    def leave(self) -> None:
        """Not ready any more; requests are still taken, each as the last of its connection."""
        self._app.leaving.set()

    async def stop(self) -> None:
        """Take no more requests, finish those under way."""
        self.leave()
        self._app.closing.set()
        self._server.should_exit = True
        await self._task
        with contextlib.suppress(ValueError):  # stopped before
            telemetry.METRICS.collectors.remove(self._app.measure)


async def serve_http(
    host: str,
    port: int,
    *,
    identify: Identify,
    upstream: Upstream,
    contract: Contract | None = None,
    limits: Limits | None = None,
    more_pages: Mapping[str, pages.Page] | None = None,
    door: Door | None = None,
    cookies: Cookies | None = None,
) -> HttpServer:
    """Open the HTTP port; the server that comes back is to be stopped with `stop()`."""
    app = App(contract or Contract.load(), upstream, identify, limits, more_pages, cookies)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=1024)
    server = HttpServer(app, listener, door)
    await server.started()
    return server
