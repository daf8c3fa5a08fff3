"""What the cases are sent to: every service in this process with the gateway's two doors before them, or an
installation; two organizations live there, one that is fuzzed and one whose data nobody may see or change."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass

from chassis import laws
from chassis.clients import channel
from chassis.identity import Principal, Signer
from gateway.contract import SERVICE, Contract, Method
from gateway.grpc_edge import serve_edge
from gateway.http import serve_http
from gateway.identify import Identifier
from gateway.limits import Limits, LimitSettings, Rate
from gateway.upstream import Upstream
from tests.fuzz.oracle import Answer, answer_of
from tests.platform import Platform, Running, settle
from tests.world import PASSWORD, SERVICES, build

CANARY = "Canary-7f3a"
PATIENCE = 60.0
# A stream that has begun is good; it is listened to for this long.
LISTEN = 0.2
# One caller sends all of it: what bounds callers has tests of its own.
GENEROUS = LimitSettings(
    principal=Rate("principal", 1e6, 1_000_000),
    sign_in=Rate("address", 1e6, 1_000_000),
    stranger=Rate("stranger", 1e6, 1_000_000),
)
IDENTITY = lambda data: data  # noqa: E731


@dataclass
class Target:
    """Services, doors and the two organizations."""

    contract: Contract
    services: dict[str, Running]
    callers: dict[str, Any]
    bystander: dict[str, Any]
    names: dict[str, list[str]]
    edge: grpc.aio.Channel
    edge_port: int
    http: str
    email: str
    token: str = ""
    other_token: str = ""
    before: dict[str, bytes] = field(default_factory=dict)
    signing_in: asyncio.Lock = field(default_factory=asyncio.Lock)

    def token_for(self, method: Method) -> str:
        """A fresh principal token of somebody who may call the method."""
        who = self.callers[method.home].who
        if method.permission == SERVICE:
            who = Principal(user="services/access", tenant=who.tenant, permissions={})
        signer: Signer = self.services["access"].signer
        return signer.mint(who, 60)

    async def sign_in(self, refused: str = "") -> None:
        """Get an access token of the fuzzed administrator, in place of one that was *refused*."""
        async with self.signing_in:
            if refused == self.token:  # else another case of the same moment has got one
                self.token = await self.token_of(self.email)

    async def sign_in_after(self, request: bytes) -> None:
        """Sign in anew where a request over HTTP was refused: a case before it has ended the session."""
        if (token := self.token).encode() in request:
            await self.sign_in(token)

    async def token_of(self, email: str) -> str:
        """An access token of one of the two administrators."""
        async with httpx.AsyncClient(timeout=60) as client:
            said = await client.post(f"{self.http}/v1/sessions", json={"email": email, "password": PASSWORD})
        return str(said.json()["accessToken"])

    async def ask(self, door: str, method: Method, request: bytes) -> Answer:
        """Send bytes to a method, by itself ("service") or through the gateway ("edge")."""
        over = self.services[method.home].channel if door == "service" else self.edge
        token = self.token_for(method) if door == "service" else self.token
        metadata = [("authorization", f"Bearer {token}")]
        started = time.perf_counter()
        try:
            if method.streams:
                return await self._listen(over, method, request, metadata, started)
            call = over.unary_unary(method.path)
            body = await call(request, timeout=PATIENCE, metadata=metadata)
        except grpc.aio.AioRpcError as no:
            return answer_of(no, time.perf_counter() - started)
        self._note(method, body)
        return Answer("OK", body, seconds=time.perf_counter() - started)

    async def _listen(
        self, over: Any, method: Method, request: bytes, metadata: Any, started: float
    ) -> Answer:
        call = over.unary_stream(method.path)(request, timeout=PATIENCE, metadata=metadata)
        body = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LISTEN):
                body = await call.read()
        call.cancel()
        return Answer("OK", body if isinstance(body, bytes) else b"", seconds=time.perf_counter() - started)

    def _note(self, method: Method, body: bytes) -> None:
        """Remember the names of what was made, so that later cases reach records in every state."""
        if not method.name.startswith("Create"):
            return
        descriptor = descriptor_pool.Default().FindMessageTypeByName(method.output.full_name)
        name = getattr(GetMessageClass(descriptor).FromString(body), "name", "")
        collection = name.partition("/")[0]
        if name and len(self.names[collection]) < 40:
            self.names[collection].append(name)

    async def rest(self) -> None:
        """Let every event arrive and every saga end."""
        await settle(*self.services.values(), seconds=240)

    async def broken_laws(self) -> list[str]:
        """What `tradewind verify` would name."""
        found = []
        for name, one in self.services.items():
            for verdict in await laws.verify(name, one.store, one.service.checks):
                found += [f"{name}: {verdict.sentence}: {row}" for row in verdict.broken]
        return found

    async def snapshot(self) -> dict[str, bytes]:
        """All that the bystanders' organization has, by method."""
        found: dict[str, bytes] = {}
        for method in self.contract.methods:
            whole = "name" not in method.input.fields_by_name  # of the organization, not of one record
            if method.name.startswith("List") and whole and method.permission != SERVICE:
                answer = await getattr(self.bystander[method.home], method.name)(page_size=200)
                found[method.full_name] = answer.SerializeToString(deterministic=True)
        return found


@asynccontextmanager
async def in_process(platform: Platform) -> AsyncIterator[Target]:
    """All services and both doors in this process."""
    contract = Contract.load()
    names, callers = await build(platform, "Fuzz")
    other, bystander = await build(platform, CANARY)
    services = {name: await platform.service(name) for name in SERVICES}
    upstream = Upstream({name: one.address for name, one in services.items()})
    access = services["access"].runtime
    identify = Identifier(access.store, access.signer)
    limits = Limits(GENEROUS)
    with_doors = {"identify": identify, "upstream": upstream, "contract": contract, "limits": limits}
    edge = await serve_edge("127.0.0.1", 0, **with_doors)
    http = await serve_http("127.0.0.1", 0, **with_doors)
    pool: dict[str, list[str]] = defaultdict(list)
    for key, name in names.items():
        if key not in ("email", "sessions", "users"):  # nobody ends the session that asks
            pool[key] = [name, other[key], f"{name.partition('/')[0]}/00000000-0000-0000-0000-000000000000"]
    target = Target(
        contract, services, callers, bystander, pool,
        channel(f"127.0.0.1:{edge.port}"), edge.port,
        f"http://127.0.0.1:{http.port}", names["email"],
    )  # fmt: skip
    await target.sign_in()
    target.other_token = await target.token_of(other["email"])
    target.before = await target.snapshot()
    try:
        yield target
    finally:
        await target.edge.close()
        await edge.stop(0.5)
        await http.stop()
        await upstream.close()
