"""A server whose one method gets stuck as its request says: in SQL, in a lock, or at a silent peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
from google.protobuf.wrappers_pb2 import StringValue
from tradewind.customer.v1 import customer_pb2

from chassis.call import Call, new_id
from chassis.clients import Clients, channel
from chassis.identity import Principal, Signer, Validator, make_keys
from chassis.rpc import Policy, Server
from chassis.store import Store
from tests.chassis.notes import NoteStore

LOCK, HELD = 7_000_001, 7_000_002  # advisory locks: one that the test holds, one that another call holds
PATH = "/tests.v1.StuckService/Work"
POLICY = Policy(
    path=PATH, permission="signed-in", scoped=False, effects=True, streams=False, has_request_id=False,
    may_be_dry=False, reads=(), creates="", updates="", request=StringValue, response=StringValue,
)  # fmt: skip


@asynccontextmanager
async def peer(answer: Callable[[grpc.aio.ServicerContext], object]) -> AsyncIterator[str]:
    """A server that answers any call of ours as told; its address. Without an answer it keeps silent."""

    async def carry_out(_request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        if answer(context) is None:
            await asyncio.sleep(60)
        return b""

    class Any(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> object:
            if details.method.startswith("/grpc."):
                return None
            return grpc.unary_unary_rpc_method_handler(carry_out)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Any(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


class Stuck:
    """The server's handler, and how its callers reach it."""

    def __init__(self, store: Store, home: Path, silent: str) -> None:
        make_keys(home, ["gateway", "opportunity"])
        self.store, self.signer = store, Signer.load(home, "gateway")
        clients = Clients("opportunity", Signer.load(home, "opportunity"), {"customer": silent})
        self.clients = clients
        self.server = Server("opportunity", store, Validator.load(home), clients)
        self.tenant = new_id()

    async def work(self, request: StringValue, call: Call) -> StringValue:
        """Do as the request says."""
        if request.value == "peer":
            ask = customer_pb2.GetCustomerRequest(name="customers/x")
            await self.clients.ask("tradewind.customer.v1.CustomerService.GetCustomer", ask, call)
        async with self.store.begin(replace(call, request_id="")) as tx:
            if request.value == "sql":
                await tx.rows("SELECT pg_sleep(30)::text AS slept")
            elif request.value == "lock":
                await tx.rows(f"SELECT pg_advisory_xact_lock({LOCK})::text AS held")
            elif request.value == "held":
                await tx.rows(f"SELECT pg_advisory_xact_lock({HELD})::text AS held")
            elif request.value == "idle":
                await tx.rows("SELECT 1 AS one")
                await asyncio.sleep(30)  # a transaction is open meanwhile
            else:
                await tx.rows(f"SELECT pg_sleep({float(request.value)})::text AS slept")
                tx.put(NoteStore.places, key={"shelf": new_id()}, values={"holds": "x"})
                await tx.rows(f"SELECT pg_sleep({float(request.value)})::text AS slept")
        return request

    @asynccontextmanager
    async def running(self) -> AsyncIterator[grpc.aio.UnaryUnaryMultiCallable]:
        """The method, over a real connection."""
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((self.server.generic_handler({PATH: (POLICY, self.work)}),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        open_channel = channel(f"127.0.0.1:{port}")
        try:
            yield open_channel.unary_unary(
                PATH, request_serializer=lambda message: message.SerializeToString()
            )
        finally:
            await open_channel.close()
            await server.stop(0)
            await self.clients.close()

    def token(self) -> list[tuple[str, str]]:
        """Somebody's credentials."""
        who = Principal(user="users/a", tenant=self.tenant, permissions={}, session="s", version="1")
        return [("authorization", f"Bearer {self.signer.mint(who, 120)}")]
