"""Services under test: real gRPC servers in this process, on the session's real PostgreSQL.

Every caller gets a fresh organization unless told otherwise, so nothing is ever cleaned up. Relays and
consumers stand still until a test says `await settle(...)`: events then flow by replay until all is quiet.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from tradewind.type.v1 import feed_pb2

from chassis import migrate
from chassis.call import new_id
from chassis.clients import channel
from chassis.events import ZERO
from chassis.field_rules import FieldRules
from chassis.identity import Principal, Signer, make_keys
from chassis.outbox import part_of
from chassis.reasons import reason_of
from chassis.service import Runtime, Service
from chassis.settings import Settings
from tests.canaries import CANARIES, organization_of

NAMES = ("gateway", "customer", "opportunity", "contract", "inventory", "analytics")
SECONDS = 60.0
TOKEN_SECONDS = 120
REPEATED: set[str] = set()  # "customer.CreateCustomer": what this session has asked for twice


@dataclass
class Caller:
    """Someone who calls a service: `await rep.CreateCustomer(request)`."""

    service: Running
    who: Principal
    signer: Signer = field(repr=False)
    _token: str = field(default="", repr=False)
    _minted: float = -TOKEN_SECONDS

    @property
    def token(self) -> str:
        """A principal token of theirs that is good for another minute, however long the test takes."""
        if time.monotonic() - self._minted > TOKEN_SECONDS / 2:
            self._token, self._minted = self.signer.mint(self.who, TOKEN_SECONDS), time.monotonic()
        return self._token

    @property
    def tenant(self) -> str:
        """The caller's organization."""
        return self.who.tenant

    @property
    def user(self) -> str:
        """The caller's name, "users/…"."""
        return self.who.user

    def __getattr__(self, method: str) -> Any:
        if not method[:1].isupper():
            raise AttributeError(method)
        call = self.service.method(method, self.token)
        if method not in self.service.effects:
            return call

        async def twice(request: Message | None = None, **fields: Any) -> Any:
            """Every success is asked for again under its request_id: once done, answered the same."""
            message = type(request).FromString(request.SerializeToString()) if request is not None else None
            if message is None:
                timeout = {key: fields.pop(key) for key in ("timeout",) if key in fields}
                message, fields = self.service.request_of(method)(**fields), timeout
            if not message.request_id:
                message.request_id = new_id()
            answer = await call(message, **fields)
            if not message.validate_only:
                again = await call(message, **fields)
                assert again == answer, f"{method} asked twice answers differently"
                REPEATED.add(f"{self.service.service.name}.{method}")
            return answer

        return twice

    def at(self, service: Running) -> Caller:
        """The same person at another service."""
        return replace(self, service=service)


class Running:
    """One service at work in this process."""

    def __init__(self, service: Service, runtime: Runtime, port: int, signer: Signer, owner_url: str) -> None:
        self.service, self.runtime, self.port = service, runtime, port
        self.signer, self.owner_url = signer, owner_url
        self.address = f"127.0.0.1:{port}"
        self.channel = channel(self.address)
        self._methods = {path.rpartition("/")[2]: path for rpc in runtime.rpcs for path in rpc.handlers()}
        self._fed: dict[tuple[str, int], int] = {}

    @cached_property
    def effects(self) -> frozenset[str]:
        """The methods that change something and can be tried dry, by their plain names."""
        found = [policy for rpc in self.runtime.rpcs for policy, _ in rpc.handlers().values()]
        return frozenset(
            policy.path.rpartition("/")[2] for policy in found
            if policy.effects and "validate_only" in policy.request.DESCRIPTOR.fields_by_name
            and policy.permission != "public"
        )  # fmt: skip

    def request_of(self, method: str) -> type[Message]:
        """The message type a method takes."""
        found = [policy for rpc in self.runtime.rpcs for policy, _ in rpc.handlers().values()]
        return next(policy.request for policy in found if policy.path.endswith(f"/{method}"))

    @property
    def store(self) -> Any:
        """The service's store, for looking underneath."""
        return self.runtime.store

    def method(self, name: str, token: str = "", **metadata: str) -> Any:
        """A callable for one of the service's methods, under a token."""
        path = self._methods[name]
        service, _, _ = path[1:].partition("/")
        described = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
        from google.protobuf.message_factory import GetMessageClass

        reading, organization = GetMessageClass(described.output_type).FromString, organization_of(token)

        def answer(data: bytes) -> Message:
            CANARIES.look(data, organization, path)
            return reading(data)

        kind = self.channel.unary_stream if described.server_streaming else self.channel.unary_unary
        stub = kind(path, request_serializer=lambda m: m.SerializeToString(), response_deserializer=answer)
        said = [("authorization", f"Bearer {token}")] if token else []
        said += list(metadata.items())

        def call(request: Message | None = None, *, timeout: float | None = SECONDS, **fields: Any) -> Any:
            message = request if request is not None else GetMessageClass(described.input_type)(**fields)
            asked = stub(message, timeout=timeout, metadata=said)
            asked.add_done_callback(partial(_heard_no, organization=organization, path=path))
            return asked

        return call

    def as_(
        self, role: str = "administrator", *, tenant: str = "", user: str = "", team: str = "",
        teams: tuple[str, ...] = (), permissions: dict[str, str] | None = None, locale: str = "en",
        fields: FieldRules | None = None, territories: tuple[str, ...] = (), zone: str = "UTC",
    ) -> Caller:  # fmt: skip
        """A caller with a built-in role (or just these permissions and field rules), by default in a new
        organization."""
        granted = permissions if permissions is not None else role_permissions(role)
        if permissions is None and fields is None:
            fields = role_field_rules(role)
        who = Principal(
            user=user or f"users/{new_id()}", tenant=tenant or new_id(), permissions=granted, roles=(role,),
            team=team, teams=teams or ((team,) if team else ()), territories=territories, locale=locale,
            zone=zone, session="s", version="1", fields=fields,
        )  # fmt: skip
        return Caller(self, who, self.signer)

    async def deliver(
        self, event: Message, *, tenant: str, record: str = "", version: int = 1, **more: Any
    ) -> None:
        """Another service's fact, through the real consumer path, as the next of its partition.

        *more* may say `position` (to deliver again or out of order), `actor`, `at` (a datetime).
        """
        kind = event.DESCRIPTOR.full_name
        source, part = kind.split(".")[1], part_of(tenant)
        at = (await self.runtime.consumer.cursor(source, part))[1]
        position = more.get("position") or at + 1
        if not record:
            first = getattr(event, event.DESCRIPTOR.fields[0].name)
            record, version = first.name, int(first.etag or version)
        when = Timestamp()
        when.FromDatetime(more["at"]) if "at" in more else when.GetCurrentTime()
        epoch = (await self.runtime.consumer.cursor(source, part))[0]
        fact = feed_pb2.FeedEvent(
            event_id=new_id(), partition=part, position=position, organization=tenant, type=kind,
            record=record,            epoch=EPOCH if epoch == ZERO else epoch, record_version=version,
            actor=more.get("actor", "users/tester"), occur_time=when,
        )  # fmt: skip
        fact.payload.Pack(event)
        await self.runtime.consumer.apply(source, part, [fact])


EPOCH = new_id()


def role_permissions(role: str) -> dict[str, str]:
    """What a built-in role grants: permission → scope."""
    from gateway.domain.built_in import BUILT_IN
    from gateway.domain.role import expand

    built_in = {found.id: found for found in BUILT_IN} if not isinstance(BUILT_IN, dict) else BUILT_IN
    from gateway.permissions import catalogue

    return {name: str(scope).lower() for name, scope in expand(built_in[role].grants, catalogue()).items()}


def role_field_rules(role: str) -> FieldRules | None:
    """What a built-in role keeps from who has it."""
    from gateway.domain.built_in import BUILT_IN
    from gateway.field_rules import rules_for

    rules = rules_for([BUILT_IN[role].role("en")])
    return FieldRules(rules) if rules else None


class Platform:
    """Starts services of the session once each, on first use."""

    def __init__(self, servers: Any, home: Path) -> None:
        self.servers, self.home = servers, home
        self.keys = home / "keys"
        make_keys(self.keys, list(NAMES))
        self.running: dict[str, Running] = {}
        self.exit = AsyncExitStack()

    async def service(self, name: str) -> Running:
        """The running service of that name ("access" is the gateway's own)."""
        if name in self.running:
            return self.running[name]
        package = "gateway" if name == "access" else f"services.{name}"
        service: Service = importlib.import_module(f"{package}.service").SERVICE
        owner_url, app_url = self.servers.database(name)
        migrate.upgrade(package, owner_url, app_url)
        settings = Settings.from_env("gateway" if name == "access" else name, env={
            "DATABASE_URL": app_url, "TRADEWIND_KEYS": str(self.keys), "TRADEWIND_HOME": str(self.home),
            "TRADEWIND_LISTEN": "127.0.0.1:0", "TRADEWIND_POOL": "10",
            "TRADEWIND_ISSUER_NETWORKS": "127.0.0.0/8",  # where the tests have identity providers
        })  # fmt: skip
        runtime, port = await self.exit.enter_async_context(
            service.running(settings, address="127.0.0.1:0", background=False)
        )
        found = Running(service, runtime, port, Signer.load(self.keys, "gateway"), owner_url)
        self.running[name] = found
        for one in self.running.values():
            one.runtime.clients.addresses.update({n: r.address for n, r in self.running.items()})
        return found


async def settle(*services: Running, seconds: float = 120.0) -> None:
    """Let events flow between these services, and sagas advance, until nothing moves any more."""
    names = {one.service.name for one in services}
    until = time.monotonic() + seconds
    quiet = 0
    while quiet < 2:
        if time.monotonic() > until:
            raise TimeoutError("the services do not come to rest")
        moved = 0
        for one in services:
            while await one.runtime.relay.step():
                pass
            for source in set(one.runtime.consumer.sources) & names:
                for part in range(4):
                    moved += await one.runtime.consumer.catch_up(source, part)
            async with one.store.database.connection() as connection:
                cursor = await connection.execute("SELECT tenant_id, id FROM sagas_due(100)")
                due = await cursor.fetchall()
            for tenant, saga in due:
                moved += 1
                await one.runtime.sagas.advance(tenant, saga)
        quiet = 0 if moved else quiet + 1


def _heard_no(call: Any, organization: str, path: str) -> None:
    """What a refusal tells is looked at like an answer, once the call is over."""

    async def look() -> None:
        told = f"{await call.details()} {await call.trailing_metadata()}"
        CANARIES.look(told.encode(), organization, path)

    if CANARIES.homes:
        task = asyncio.get_running_loop().create_task(look())
        _LOOKING.add(task)
        task.add_done_callback(_LOOKING.discard)


_LOOKING: set[asyncio.Task[None]] = set()


async def refused(awaitable: Any, reason: str) -> dict[str, str]:
    """Assert that a call is refused for this reason; the facts it gives."""
    with pytest.raises(grpc.aio.AioRpcError) as no:
        await awaitable
    found, facts = reason_of(no.value)
    assert found == reason, f"{found} {facts} {no.value.details()}"
    return facts
