"""What the gRPC door tells anybody: how it is, and the contract; of one address no more at once than of a
caller who is known. A call ends with its connection, which has an age."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from chassis.kernel.refusals import Refused
from gateway.contract import Contract

HEALTH = health.SERVICE_NAME
REFLECTIONS = (reflection.SERVICE_NAME, "grpc.reflection.v1.ServerReflection")
# (context, whether it is a stream) → what holds a place for it; raises Refused where there is none.
Place = Callable[[Any, bool], AbstractContextManager[None]]
Refuse = Callable[[Any, Refused], Any]


async def one_message(context: Any, within: float) -> Any:
    """The message of a call that brings one. It is asked for here, and not by gRPC before we hear of the
    call: whoever never sends it would else wait with nobody counting."""
    reading = asyncio.ensure_future(context.read())
    reading.add_done_callback(_seen)
    # gRPC writes into what it reads to: it is not cancelled, but ends with the call.
    await asyncio.wait((reading,), timeout=within)
    if not reading.done():
        raise Refused("DEADLINE_EXCEEDED")
    message = reading.result()
    if message is grpc.aio.EOF:
        raise Refused("BODY_INVALID", problem="no message came")
    return message


def _seen(reading: asyncio.Future[Any]) -> None:
    if not reading.cancelled():
        reading.exception()  # of a call that was over meanwhile


class Anybody:
    """The handlers of health and reflection; *place* and *refuse* are the door's."""

    def __init__(
        self, checker: Any, contract: Contract, names: list[str], place: Place, refuse: Refuse, within: float
    ) -> None:
        self._checker, self._place, self._refuse, self._within = checker, place, refuse, within
        self._teller = _teller(contract, [*names, HEALTH, reflection.SERVICE_NAME])

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """For the server. Reflection goes by two names; the messages are the same."""
        told = {
            "request_deserializer": health_pb2.HealthCheckRequest.FromString,
            "response_serializer": health_pb2.HealthCheckResponse.SerializeToString,
        }
        checks = {
            "Check": grpc.stream_unary_rpc_method_handler(self._check, **told),
            "Watch": grpc.stream_stream_rpc_method_handler(self._watch, **told),
        }
        tells = {
            "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
                self._tell,
                request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
                response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
            )
        }
        table = grpc.method_handlers_generic_handler
        return table(HEALTH, checks), *(table(name, tells) for name in REFLECTIONS)

    async def _check(self, _requests: Any, context: Any) -> Any:
        try:
            with self._place(context, False):
                return await self._checker.Check(await one_message(context, self._within), context)
        except Refused as refused:
            await self._refuse(context, refused)

    async def _watch(self, _requests: Any, context: Any) -> None:
        try:
            # One for each connection of a client that balances: many may share an address.
            with self._place(context, False):
                await self._checker.Watch(await one_message(context, self._within), context)
        except Refused as refused:
            await self._refuse(context, refused)

    async def _tell(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        try:
            with self._place(context, True):
                async for answer in self._teller.ServerReflectionInfo(requests, context):
                    yield answer
        except Refused as refused:
            await self._refuse(context, refused)


def _teller(contract: Contract, names: list[str]) -> Any:
    """Tells the contract to who asks."""
    pool = DescriptorPool()
    for file in contract.files:
        pool.AddSerializedFile(file.SerializeToString())
    # With the details of refusals, so that a stranger's tool can read them.
    for module in (health_pb2, reflection_pb2, error_details_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    return reflection.aio.ReflectionServicer(names, pool=pool)
