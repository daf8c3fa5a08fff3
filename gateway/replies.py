"""The answer to one call as it comes in over HTTP/2, and what its status means."""

from __future__ import annotations

import asyncio
import base64
import binascii
from urllib.parse import unquote

import grpc

from gateway.headers import Pairs

MESSAGE = 4 * 1024 * 1024  # the largest answer
_STATUS = {code.value[0]: code for code in grpc.StatusCode}
_BARE = {"400": "INTERNAL", "401": "UNAUTHENTICATED", "403": "PERMISSION_DENIED", "404": "UNIMPLEMENTED",
         "429": "UNAVAILABLE", "502": "UNAVAILABLE", "503": "UNAVAILABLE", "504": "UNAVAILABLE"}  # fmt: skip


# gRPC's server tells CANCELLED to whom it has not looked at when it ends; no service of ours says so itself.
_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


class Lost(Exception):
    """No answer came, or UNAVAILABLE or CANCELLED before anything else: the service may be asked again."""


class Reply:
    """What came so far; `answer` becomes the message's bytes, Lost or AioRpcError."""

    __slots__ = ("answer", "begun", "parts", "size")

    def __init__(self, answer: asyncio.Future[bytes]) -> None:
        self.answer, self.begun = answer, False
        self.parts: list[bytes] = []
        self.size = 0

    def take(self, body: bytes) -> None:
        """More of the message."""
        self.parts.append(body)
        self.size += len(body)

    def end(self, trailers: Pairs) -> None:
        """The status has come."""
        if self.answer.done():
            return
        told = dict(trailers)
        if told.get(b"grpc-status") != b"0":
            self.answer.set_exception(_refusal(told, trailers, self.begun))
            return
        body = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        if len(body) < 5 or body[0] or int.from_bytes(body[1:5], "big") != len(body) - 5:
            self.fail(grpc.StatusCode.INTERNAL, "the answer is not one message")
        else:
            self.answer.set_result(body[5:])

    def fail(self, code: grpc.StatusCode, said: str) -> None:
        """There will be no status."""
        if not self.answer.done():
            self.answer.set_exception(error(code, said, self.begun))


def _refusal(told: dict[bytes, bytes], trailers: Pairs, begun: bool) -> Exception:
    """What a status says; one of HTTP alone comes from something between us and the service."""
    if b"grpc-status" not in told:
        bare = told.get(b":status", b"").decode("latin-1")
        return error(grpc.StatusCode[_BARE.get(bare, "UNKNOWN")], f"HTTP status {bare}", begun)
    number = told[b"grpc-status"]
    code = _STATUS.get(int(number) if number.isdigit() else 2, grpc.StatusCode.UNKNOWN)
    said = unquote(told.get(b"grpc-message", b"").decode("utf-8", "replace"))
    return error(code, said, begun, trailers)


def error(code: grpc.StatusCode, said: str, begun: bool, trailers: Pairs = ()) -> Exception:
    """What a call raises that ended so; *begun* when something of the answer had come."""
    if code in _LOST and not begun:
        return Lost(said)
    pairs = [(name.decode("latin-1"), _value(name, value)) for name, value in trailers if name[:1] != b":"]
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*pairs), said)


def _value(name: bytes, value: bytes) -> str | bytes:
    if not name.endswith(b"-bin"):
        return value.decode("latin-1")
    if value[:1] == b"\0":
        return value[1:]
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4))
    except binascii.Error:
        return b""
