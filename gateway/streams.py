"""A service's stream over HTTP, as server-sent events or as lines of JSON, kept alive while it is quiet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc

from gateway import jsontext
from gateway.calls import Endpoint
from gateway.exchange import Answer, Receive, Request
from gateway.problem import Problem

EVENTS, LINES = b"text/event-stream", b"application/x-ndjson"
# A refusal comes at once; after this long without one the stream has begun.
SETTLES = 0.3
QUIET = 15.0


def kind_of(request: Request) -> bytes:
    """Server-sent events for who accepts them, else lines."""
    return EVENTS if "text/event-stream" in request.header(b"accept").lower() else LINES


async def stream(
    endpoint: Endpoint,
    call: Any,
    request: Request,
    explain: Callable[[grpc.aio.AioRpcError], Problem],
    closing: asyncio.Event,
    left: Coroutine[Any, Any, None],
) -> Answer:
    """The answer that hands on *call*, message by message, until it ends, the client hangs up, the caller
    has *left* or the gateway is *closing*; raises when the service refuses at once."""
    kind = kind_of(request)
    first = asyncio.ensure_future(call.read())
    await asyncio.wait({first}, timeout=SETTLES)
    if first.done() and first.exception():
        left.close()
        await first
    ends = (
        asyncio.ensure_future(hang_up(request.receive)),
        asyncio.ensure_future(closing.wait()),
        asyncio.ensure_future(left),
    )
    body = _parts(endpoint, call, first, kind, request, explain, ends)
    return Answer(200, body, kind + b"; charset=utf-8", ((b"x-accel-buffering", b"no"),))


async def _parts(
    endpoint: Endpoint,
    call: Any,
    first: asyncio.Future[Any],
    kind: bytes,
    request: Request,
    explain: Callable[[grpc.aio.AioRpcError], Problem],
    ends: tuple[asyncio.Future[Any], ...],
) -> AsyncIterator[bytes]:
    reading = first
    try:
        while True:
            await asyncio.wait({reading, *ends}, timeout=QUIET, return_when=asyncio.FIRST_COMPLETED)
            if any(end.done() for end in ends):
                return
            if not reading.done():
                yield b": quiet\n\n" if kind == EVENTS else b"\n"
                continue
            message = reading.result()
            if message is grpc.aio.EOF:
                return
            yield part(kind, *endpoint.read(message))
            reading = asyncio.ensure_future(call.read())
    except grpc.aio.AioRpcError as error:
        # The time of one stream is over: nothing is wrong, and whoever listens comes back.
        if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
            yield refusal(kind, explain(error).body(request.trace))
    finally:
        for end in ends:
            end.cancel()
        call.cancel()
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await reading


async def hang_up(receive: Receive) -> None:
    """Comes to an end when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def part(kind: bytes, message: Any, text: bytes) -> bytes:
    """One message of a stream."""
    if kind == LINES:
        return text + b"\n"
    head = b""
    if "position" in message.DESCRIPTOR.fields_by_name:
        head = f"id: {message.position}\nevent: {message.type}\n".encode()
    return head + b"data: " + text + b"\n\n"


def refusal(kind: bytes, problem: Any) -> bytes:
    """Why a stream ends that should not have."""
    text = jsontext.render(problem)
    return b"event: problem\ndata: " + text + b"\n\n" if kind == EVENTS else b'{"problem":' + text + b"}\n"
