"""One HTTP/2 connection to a process of a service, on the event loop's own socket: gRPC calls that are one
message each way, and nothing else that gRPC can do."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from chassis.deadlines import Deadlines
from gateway.headers import POST_HTTP, Pairs, Reader, Unreadable, field
from gateway.replies import MESSAGE, Reply, error
from gateway.together import Together

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
REFUSED, CANCELLED = 7, 8
FRAME = 16_384  # the largest that either side sends without being told of more
WINDOW_BYTES = MESSAGE + 65_536  # one answer of a stream needs no more said
GRANT = 1024 * 1024  # of what was read, before the sender is told so
UNTIL_NUMBERED = 2**30  # streams; then a new connection
# A peer that says nothing for so long is asked whether it lives: while it owes answers, and else; it has so
# long to say so. Looked at so often.
SILENT_SECONDS, IDLE_SECONDS, PULSE_WITHIN, LOOK_SECONDS = 1.0, 10.0, 2.0, 0.5
_RESETS = {REFUSED: "UNAVAILABLE", CANCELLED: "CANCELLED", 11: "RESOURCE_EXHAUSTED", 12: "PERMISSION_DENIED"}


class _Broken(Exception):
    """What came is not what HTTP/2 allows, or more than we take."""


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """A frame's bytes."""
    return struct.pack(">HBBBI", len(body) >> 8, len(body) & 255, kind, flags, stream) + body


def head_of(path: str, authority: str) -> bytes:
    """What the head of every call of one method begins with."""
    return (
        POST_HTTP
        + field(b":path", path.encode())
        + field(b":authority", authority.encode())
        + field(b"te", b"trailers")
        + field(b"content-type", b"application/grpc")
    )


class _Watch(Reply):
    """Follows whether the process says that it serves; it stays open."""

    __slots__ = ("connection",)

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.loop.create_future())
        self.connection = connection

    def take(self, body: bytes) -> None:
        held = b"".join((*self.parts, body))
        while len(held) >= 5 and len(held) >= 5 + (size := int.from_bytes(held[1:5], "big")):
            said = health_pb2.HealthCheckResponse.FromString(held[5 : 5 + size])
            self.connection.serving = said.status == health_pb2.HealthCheckResponse.SERVING
            held = held[5 + size :]
        self.parts = [held]
        if len(held) > FRAME:
            raise _Broken("a state of health is too large")

    def end(self, trailers: Pairs) -> None:
        """Who does not tell is taken to serve; who stops telling is left."""
        untold = dict(trailers).get(b"grpc-status") == b"12"
        self.connection.serving = untold
        if not untold:
            self.connection.leave()

    def fail(self, code: grpc.StatusCode, said: str) -> None:
        self.connection.leave()


class Connection(asyncio.Protocol):
    """Calls to one process. `left` is done once no more are to be begun: the process goes, or it is gone."""

    def __init__(self, authority: str, deadlines: Deadlines) -> None:
        self.loop = asyncio.get_running_loop()
        self.left: asyncio.Future[None] = self.loop.create_future()
        self.serving = False
        self._authority, self._deadlines = authority, deadlines
        self._calls: dict[int, Reply] = {}
        self._reader = Reader()
        self._rest = b""
        self._next = 1
        self._block: tuple[int, int, bytes] | None = None  # flags, stream, headers not yet ended
        self._read = 0  # bytes of answers that the sender was not told of
        self._room, self._room_each, self._most = 65_535, 65_535, 2**31
        self._heard = self._asked = 0.0
        self._pulse: asyncio.TimerHandle | None = None

    # what is asked

    @property
    def usable(self) -> bool:
        """Whether a call may be begun."""
        return self.serving and not self.left.done()

    def takes(self, size: int) -> bool:
        """Whether a call with a message of so many bytes may be sent at once, as a whole."""
        return self.usable and size < min(self._room, self._room_each) - 5 and len(self._calls) < self._most

    async def ask(
        self, head: bytes, request: bytes, timeout: float, metadata: tuple[tuple[str, str], ...]
    ) -> bytes:
        """The answer's bytes. Raises Lost, or AioRpcError as a channel of grpc.aio does."""
        until = time.monotonic() + timeout
        call = Reply(self.loop.create_future())
        told = [head, field(b"grpc-timeout", b"%dm" % (timeout * 1000 + 1))]
        told += [field(name.encode(), value.encode()) for name, value in metadata]
        stream = self._send(call, b"".join(told), request)
        try:
            return await self._deadlines.within(until, call.answer)
        except TimeoutError:
            raise error(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", True) from None
        finally:
            self._drop(stream)
            if self.left.done():
                self._end()

    def _drop(self, stream: int) -> None:
        """Nobody waits for this answer any more, if it has not come."""
        if self._calls.pop(stream, None) is not None and not self.transport.is_closing():
            self.transport.write(frame(RESET, 0, stream, struct.pack(">I", CANCELLED)))

    def _send(self, call: Reply, block: bytes, message: bytes) -> int:
        stream, self._next = self._next, self._next + 2
        self._calls[stream] = call
        if self._next >= UNTIL_NUMBERED:
            self.leave()
        body = b"\0" + len(message).to_bytes(4, "big") + message
        self._room -= len(body)
        parts = [frame(HEADERS, 0 if block[FRAME:] else END_HEADERS, stream, block[:FRAME])]
        for at in range(FRAME, len(block), FRAME):
            last = END_HEADERS if at + FRAME >= len(block) else 0
            parts.append(frame(CONTINUATION, last, stream, block[at : at + FRAME]))
        for at in range(0, len(body), FRAME):
            last = END_STREAM if at + FRAME >= len(body) else 0
            parts.append(frame(DATA, last, stream, body[at : at + FRAME]))
        self.transport.write(b"".join(parts))
        return stream

    def leave(self) -> None:
        """Begin nothing more; what is under way is finished, then the connection ends."""
        self.serving = False
        if not self.left.done():
            self.left.set_result(None)
        self._end()

    def _end(self) -> None:
        if not self._owed():
            self.transport.close()

    def _owed(self) -> bool:
        return any(not isinstance(call, _Watch) for call in self._calls.values())

    # what comes

    def connection_made(self, transport: Any) -> None:
        """Say what we take."""
        self.transport = Together(transport, self.loop)
        # No table of headers, no pushed streams, whole answers at once, and bytes in headers as they are.
        said = struct.pack(">HIHIHIHI", 1, 0, 2, 0, 4, WINDOW_BYTES, 0xFE03, 1)
        grant = struct.pack(">I", 2**30)
        self.transport.write(PREFACE + frame(SETTINGS, 0, 0, said) + frame(WINDOW, 0, 0, grant))
        self._heard = self.loop.time()
        self._pulse = self.loop.call_later(LOOK_SECONDS, self._ask_pulse)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits is told."""
        if self._pulse is not None:
            self._pulse.cancel()
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.fail(grpc.StatusCode.UNAVAILABLE, "the connection was lost")
        self.leave()

    def data_received(self, data: bytes) -> None:
        """Take every frame that is complete."""
        self._heard = self.loop.time()
        held = self._rest + data if self._rest else data
        at, end = 0, len(held)
        try:
            while end - at >= 9:
                size = int.from_bytes(held[at : at + 3], "big")
                if size > FRAME:
                    raise _Broken("a frame is too large")
                if end - at < 9 + size:
                    break
                stream = int.from_bytes(held[at + 5 : at + 9], "big") & 0x7FFFFFFF
                self._take(held[at + 3], held[at + 4], stream, held[at + 9 : at + 9 + size])
                at += 9 + size
        except (_Broken, Unreadable, DecodeError, IndexError, struct.error):
            self.transport.abort()
            return
        self._rest = held[at:]

    def _take(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        if self._block is not None and kind != CONTINUATION:
            raise _Broken("headers are interrupted")
        if (take := _TAKEN.get(kind)) is not None:
            take(self, flags, stream, body)

    def _take_data(self, flags: int, stream: int, body: bytes) -> None:
        self._read += len(body)
        if self._read >= GRANT:
            self.transport.write(frame(WINDOW, 0, 0, struct.pack(">I", self._read)))
            self._read = 0
        if (call := self._calls.get(stream)) is None:
            return
        call.take(_unpadded(flags, body))
        if call.size > MESSAGE + 5:
            self._drop(stream)
            call.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "the answer is too large")
        elif flags & END_STREAM:
            del self._calls[stream]
            call.fail(grpc.StatusCode.INTERNAL, "the answer ended without a status")

    def _take_headers(self, flags: int, stream: int, body: bytes) -> None:
        body = _unpadded(flags, body)
        self._take_block(flags, stream, body[5:] if flags & PRIORITY else body)

    def _take_more_headers(self, flags: int, stream: int, body: bytes) -> None:
        if self._block is None or self._block[1] != stream or len(self._block[2]) > 8 * FRAME:
            raise _Broken("headers go on that never began, or without end")
        self._take_block(self._block[0] | flags & END_HEADERS, stream, self._block[2] + body)

    def _take_block(self, flags: int, stream: int, block: bytes) -> None:
        if not flags & END_HEADERS:
            self._block = (flags, stream, block)
            return
        self._block = None
        headers = self._reader.read(block)
        if (call := self._calls.get(stream)) is None:
            return
        if flags & END_STREAM:
            del self._calls[stream]
            call.end(headers)
        else:
            call.begun = True

    def _take_reset(self, flags: int, stream: int, body: bytes) -> None:
        name = _RESETS.get(struct.unpack(">I", body)[0], "INTERNAL")
        if (call := self._calls.pop(stream, None)) is not None:
            call.fail(grpc.StatusCode[name], "the service ended the call")

    def _take_settings(self, flags: int, _stream: int, body: bytes) -> None:
        if flags & ACK:  # from here on nobody keeps a table
            request = health_pb2.HealthCheckRequest().SerializeToString()
            self._send(_Watch(self), head_of("/grpc.health.v1.Health/Watch", self._authority), request)
            return
        for name, value in struct.iter_unpack(">HI", body):
            if name == 3:
                self._most = value
            elif name == 4:
                self._room_each = value
        self.transport.write(frame(SETTINGS, ACK, 0))

    def _take_ping(self, flags: int, _stream: int, body: bytes) -> None:
        if not flags & ACK:
            self.transport.write(frame(PING, ACK, 0, body))

    def _take_goaway(self, _flags: int, _stream: int, body: bytes) -> None:
        """Streams up to the one that is named are still answered; those after it were not looked at."""
        last = struct.unpack_from(">I", body)[0] & 0x7FFFFFFF
        for stream in [stream for stream in self._calls if stream > last]:
            self._calls.pop(stream).fail(grpc.StatusCode.UNAVAILABLE, "the service is going")
        self.leave()

    def _take_window(self, _flags: int, stream: int, body: bytes) -> None:
        if stream == 0:
            self._room += struct.unpack(">I", body)[0]

    def _ask_pulse(self) -> None:
        """A peer that has been silent has to answer: a frozen one would stay in use for ever."""
        now = self.loop.time()
        silent = now - self._heard
        if self._asked > self._heard:
            if now - self._asked >= PULSE_WITHIN:
                self.transport.abort()
                return
        elif silent >= (SILENT_SECONDS if self._owed() else IDLE_SECONDS):
            self.transport.write(frame(PING, 0, 0, b"\0" * 8))
            self._asked = now
        self._pulse = self.loop.call_later(LOOK_SECONDS, self._ask_pulse)


_TAKEN: dict[int, Callable[[Connection, int, int, bytes], None]] = {
    DATA: Connection._take_data,
    HEADERS: Connection._take_headers,
    RESET: Connection._take_reset,
    SETTINGS: Connection._take_settings,
    PING: Connection._take_ping,
    GOAWAY: Connection._take_goaway,
    WINDOW: Connection._take_window,
    CONTINUATION: Connection._take_more_headers,
}


def _unpadded(flags: int, body: bytes) -> bytes:
    if not flags & PADDED:
        return body
    return body[1 : len(body) - body[0]]
