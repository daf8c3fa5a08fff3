"""A file that a service makes part by part, over HTTP: its bytes, or its parts one by one, and never an end
that is none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc

from chassis.kernel.refusals import Refused
from gateway.calls import Endpoint
from gateway.exchange import Answer, BrokenOff, Exactly, Request
from gateway.problem import Problem
from gateway.streams import EVENTS, LINES, hang_up, part, refusal

CSV = "text/csv"

# What the server says when no end was sent: it was meant so, and is told by the access log.
logging.getLogger("uvicorn.error").addFilter(
    lambda record: not record.getMessage().startswith("ASGI callable returned without completing response")
)


def kind_of(request: Request) -> bytes:
    """The parts for who asks for them by their name; else "", the file itself."""
    accepted = request.header(b"accept").lower()
    return next((kind for kind in (EVENTS, LINES) if kind.decode() in accepted), b"")


async def download(
    endpoint: Endpoint,
    call: Any,
    request: Request,
    explain: Callable[[grpc.aio.AioRpcError], Problem],
    closing: asyncio.Event,
    left: Coroutine[Any, Any, None],
) -> Answer:
    """The answer that hands on the parts that *call* gives, as long as the client stays, the caller has not
    *left* and the gateway is not *closing*; raises when the service refuses before the first."""
    kind = kind_of(request)
    try:
        first = endpoint.message_of(await call.read())
        if not kind and not request.chunked and first.content_type.startswith(CSV):
            raise Exactly(
                Refused("HTTP_TOO_OLD"), 426, ((b"upgrade", b"HTTP/1.1"), (b"connection", b"upgrade"))
            )
    except BaseException:
        left.close()
        call.cancel()
        raise
    ends: set[asyncio.Future[Any]] = {
        asyncio.ensure_future(hang_up(request.receive)),
        asyncio.ensure_future(closing.wait()),
        asyncio.ensure_future(left),
    }
    named = f'attachment; filename="{first.file_name}"'.encode()
    headers = ((b"x-accel-buffering", b"no"), *(() if kind else ((b"content-disposition", named),)))
    body = _parts(endpoint, call, first, kind, request, explain, ends)
    said = kind + b"; charset=utf-8" if kind else first.content_type.encode()
    return Answer(200, body, said, headers)


async def _parts(
    endpoint: Endpoint,
    call: Any,
    first: Any,
    kind: bytes,
    request: Request,
    explain: Callable[[grpc.aio.AioRpcError], Problem],
    ends: set[asyncio.Future[Any]],
) -> AsyncIterator[bytes]:
    message, reading = first, asyncio.ensure_future(call.read())
    try:
        while not message.last:
            yield _spelled(endpoint, message, kind)
            await asyncio.wait({reading, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if any(end.done() for end in ends) or (answer := reading.result()) is grpc.aio.EOF:
                raise BrokenOff("BROKEN_OFF")
            message, reading = endpoint.message_of(answer), asyncio.ensure_future(call.read())
        yield _spelled(endpoint, message, kind)
        await reading  # so that the service comes to its end, too
    except grpc.aio.AioRpcError as error:
        problem = explain(error)
        if kind:
            yield refusal(kind, problem.body(request.trace))
        raise BrokenOff(problem.reason) from error
    finally:
        for end in ends:
            end.cancel()
        call.cancel()
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await reading


def _spelled(endpoint: Endpoint, message: Any, kind: bytes) -> bytes:
    return part(kind, message, endpoint.spelled(message)) if kind else bytes(message.data)
