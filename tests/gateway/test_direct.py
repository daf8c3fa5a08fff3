"""The gateway's own connections to the services: what they carry, and what becomes of it when they end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from chassis.deadlines import Deadlines
from gateway import direct
from gateway.headers import Reader, Unreadable, field
from gateway.replies import Lost
from gateway.upstream import Upstream

METHOD = SimpleNamespace(path="/notes.Notes/Ask", home="notes", streams=False)
WELL, UNWELL = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Notes(grpc.GenericRpcHandler):
    """Answers what `answer` says; remembers what it was asked."""

    def __init__(self):
        self.asked, self.ended = [], []
        self.answer = self.echo

    def service(self, details):
        if details.method == METHOD.path:
            return grpc.unary_unary_rpc_method_handler(self.take)
        return None

    async def take(self, request, context):
        self.asked.append((request, dict(context.invocation_metadata())))
        try:
            return await self.answer(request, context)
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise

    async def echo(self, request, _context):
        return request


class Line:
    """A wire to the service that can be cut."""

    def __init__(self, port):
        self.port, self.writers = port, []

    async def carry(self, reader, writer):
        there, to = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers += [writer, to]
        await asyncio.gather(self.pump(reader, to), self.pump(there, writer))

    async def pump(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    def cut(self):
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()


@asynccontextmanager
async def served(port=0, **options):
    server = grpc.aio.server(options=list(options.items()))
    notes, checker = Notes(), health.HealthServicer()
    server.add_generic_rpc_handlers((notes,))
    add_HealthServicer_to_server(checker, server)
    await checker.set("", WELL)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield SimpleNamespace(server=server, notes=notes, checker=checker, port=port)
    finally:
        await server.stop(None)


@asynccontextmanager
async def asking(*ports):
    upstream = Upstream({"notes": ",".join(f"127.0.0.1:{port}" for port in ports)})
    ask = upstream.call(METHOD)
    try:
        yield SimpleNamespace(
            upstream=upstream,
            peers=upstream._peers["notes"],
            ask=lambda request, timeout=20.0: ask(request, timeout=timeout, metadata=(("who", "me"),)),
        )
    finally:
        await upstream.close()


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def by_channel(client):
    """Whether gRPC's channel was needed so far."""
    return client.upstream.channel("notes").get_state() is not grpc.ChannelConnectivity.IDLE


@asynccontextmanager
async def both():
    async with served() as there, asking(there.port) as client:
        await until(lambda: client.peers.next(0))
        yield there, client


async def test_a_call_goes_over_the_own_connection_with_what_is_told():
    async with both() as (there, client):
        assert await client.ask(b"hello") == b"hello"
        (request, told), *_ = there.notes.asked
        assert (request, told["who"]) == (b"hello", "me")
        assert not by_channel(client)


async def test_a_status_comes_with_its_details():
    async def refuse(_request, context):
        context.set_trailing_metadata((("x-details-bin", bytes(range(256))), ("said", "why")))
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "为什么 50%")

    async with both() as (there, client):
        there.notes.answer = refuse
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.ask(b"x")
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert caught.value.details() == "为什么 50%"
        told = dict(caught.value.trailing_metadata())
        assert (told["x-details-bin"], told["said"]) == (bytes(range(256)), "why")
        assert not by_channel(client)


async def test_the_deadline_ends_the_call_on_both_sides():
    async def wait(_request, _context):
        await asyncio.sleep(60)

    async with both() as (there, client):
        there.notes.answer = wait
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.ask(b"x", timeout=0.3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: there.notes.ended)


async def test_who_leaves_ends_the_call_at_the_service():
    async def wait(_request, _context):
        await asyncio.sleep(60)

    async with both() as (there, client):
        there.notes.answer = wait
        asked = asyncio.create_task(client.ask(b"x"))
        await until(lambda: there.notes.asked)
        asked.cancel()
        await until(lambda: there.notes.ended)
        there.notes.answer = there.notes.echo
        assert await client.ask(b"y") == b"y"
        assert not by_channel(client)


async def test_many_and_large_messages_get_through_whole():
    sizes = [0, 1, 16_379, 16_384, 60_000, 65_530, 300_000, 900_000] * 6
    async with both() as (_there, client):
        messages = [random.Random(size).randbytes(size) for size in sizes]
        assert await asyncio.gather(*map(client.ask, messages)) == messages
        # What the other side grants is used up and given back many times over.
        for _ in range(30):
            await asyncio.gather(*(client.ask(b"z" * 20_000) for _ in range(10)))


async def test_an_answer_beyond_the_bound_is_refused_alone():
    async def much(request, _context):
        return b"x" * int(request)

    async with both() as (there, client):
        there.notes.answer = much
        assert len(await client.ask(b"4000000")) == 4_000_000
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.ask(b"5000000")
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await client.ask(b"3") == b"xxx"
        assert not by_channel(client)


async def test_a_call_whose_connection_is_cut_is_answered_all_the_same():
    held = asyncio.Event()

    async def wait(request, _context):
        if len(there.notes.asked) == 1:
            await held.wait()
        return request

    async with served() as there:
        there.notes.answer = wait
        line = Line(there.port)
        wire = await asyncio.start_server(line.carry, "127.0.0.1", 0)
        async with asking(wire.sockets[0].getsockname()[1]) as client:
            await until(lambda: client.peers.next(0))
            asked = asyncio.create_task(client.ask(b"again"))
            await until(lambda: there.notes.asked)
            line.cut()
            assert await asked == b"again"
            assert len(there.notes.asked) == 2
            await until(lambda: client.peers.next(0))  # and there is a new one
        wire.close()


@pytest.mark.parametrize("size", [1, 4_000_000])
async def test_unavailable_is_asked_again_by_the_channel_too(size):
    async def third(request, context):
        if len(there.notes.asked) < 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return request

    async with both() as (there, client):
        there.notes.answer = third
        assert await client.ask(b"x" * size) == b"x" * size
        assert len(there.notes.asked) == 3
        assert by_channel(client)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED"])
async def test_the_channel_asks_again_when_a_service_breaks_off(code):
    async def third(request, context):
        if len(there.notes.asked) < 3:
            await context.abort(grpc.StatusCode[code], "I am leaving")
        return request

    async with both() as (there, client):
        there.notes.answer = third
        through = client.upstream.channel("notes").unary_unary(METHOD.path)
        assert await through(b"x", timeout=20) == b"x"
        assert len(there.notes.asked) == 3


async def test_who_says_not_serving_is_left_and_found_again():
    async with served() as one, served() as other, asking(one.port, other.port) as client:
        await until(lambda: sum(c.usable for c in client.peers._open) == 2)
        for _ in range(6):
            await client.ask(b"x")
        assert (len(one.notes.asked), len(other.notes.asked)) == (3, 3)
        await one.checker.set("", UNWELL)
        await until(lambda: sum(c.usable for c in client.peers._open) == 1)
        for _ in range(6):
            await client.ask(b"x")
        assert (len(one.notes.asked), len(other.notes.asked)) == (3, 9)
        await one.checker.set("", WELL)
        await until(lambda: sum(c.usable for c in client.peers._open) == 2)
        assert not by_channel(client)


async def test_a_service_that_goes_finishes_what_it_does():
    held = asyncio.Event()

    async def wait(request, _context):
        await held.wait()
        return request

    async with both() as (there, client):
        there.notes.answer = wait
        asked = asyncio.create_task(client.ask(b"last"))
        await until(lambda: there.notes.asked)
        stopping = asyncio.create_task(there.server.stop(20))
        await until(lambda: client.peers.next(0) is None)
        held.set()
        assert await asked == b"last"
        assert len(there.notes.asked) == 1
        await stopping
        async with served(there.port) as reborn:
            await until(lambda: client.peers.next(0))
            assert await client.ask(b"new") == b"new"
            assert len(reborn.notes.asked) == 1


async def test_calls_that_a_service_had_not_looked_at_when_it_ended_are_asked_again():
    async with both() as (there, client):
        asked = [asyncio.create_task(client.ask(b"x")) for _ in range(20)]
        while client.peers.next(0)._calls.keys() < set(range(3, 43, 2)):  # noqa: ASYNC110 (until they are sent)
            await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251 (the service stands still while they arrive)
        await there.server.stop(20)
        assert len(there.notes.asked) < 20
        async with served(there.port):
            assert await asyncio.gather(*asked) == [b"x"] * 20


async def test_connections_that_grow_old_are_replaced_without_a_failed_call():
    ages = {"grpc.max_connection_age_ms": 300, "grpc.max_connection_age_grace_ms": 2000}
    async with served(**ages) as there, asking(there.port) as client:
        await until(lambda: client.peers.next(0))
        first = client.peers.next(0)
        count = 0
        while count < 200 or client.peers.next(0) in (first, None):
            assert await client.ask(b"x") == b"x"
            count += 1
            await asyncio.sleep(0.005)
        assert first.left.done()


async def test_a_peer_that_falls_silent_is_given_up(monkeypatch):
    for name in ("SILENT_SECONDS", "PULSE_WITHIN", "LOOK_SECONDS"):
        monkeypatch.setattr(direct, name, 0.2)

    async def frozen(reader, writer):
        writer.write(direct.frame(direct.SETTINGS, 0, 0) + direct.frame(direct.SETTINGS, direct.ACK, 0))
        while await reader.read(65_536):
            pass
        writer.close()

    server = await asyncio.start_server(frozen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: direct.Connection("x", Deadlines()), "127.0.0.1", port
    )
    connection.serving = True
    with pytest.raises(Lost):
        await connection.ask(b"", b"x", 20.0, ())
    assert connection.left.done()
    server.close()


class Wire:
    """A transport that remembers."""

    def __init__(self):
        self.ended = False

    def write(self, _data):
        pass

    def is_closing(self):
        return self.ended

    def abort(self):
        self.ended = True

    close = abort


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_comes_ends_the_connection_at_the_worst(seed):
    chance = random.Random(seed)
    connection = direct.Connection("x", Deadlines())
    connection.connection_made(Wire())
    connection.data_received(direct.frame(direct.SETTINGS, direct.ACK, 0))
    connection.serving = True
    asked = [asyncio.create_task(connection.ask(b"", b"x", 20.0, ())) for _ in range(3)]
    await asyncio.sleep(0)
    for _ in range(60):
        kind, flags = chance.randrange(12), chance.choice((0, 1, 4, 5, 8, 13, 32, 44))
        body = chance.randbytes(chance.choice((0, 1, 4, 5, 8, 30)))
        sent = direct.frame(kind, flags, chance.choice((0, 1, 3, 5, 7, 99)), body)
        cut = chance.randrange(len(sent) + 1)
        for part in (sent[:cut], sent[cut:]):
            if not connection.transport.ended:
                connection.data_received(part)
    connection.connection_lost(None)
    for ended in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(ended, Lost | grpc.aio.AioRpcError | bytes)
        assert getattr(ended, "code", lambda: None)() is not grpc.StatusCode.DEADLINE_EXCEEDED


def test_headers_are_read_as_they_were_written():
    pairs = ((b"a", b""), (b"b" * 127, b"c" * 40_000), (b"d", b"e" * 255))
    assert Reader().read(b"".join(field(*pair) for pair in pairs)) == pairs
    # RFC 7541, C.2: a literal to be kept, one that is not, one never to be, and one of the static table.
    told = bytes.fromhex(
        "400a637573746f6d2d6b65790d637573746f6d2d686561646572"
        "040c2f73616d706c652f70617468100870617373776f726406736563726574" + "82" + "20"
    )
    assert Reader().read(told) == (
        (b"custom-key", b"custom-header"), (b":path", b"/sample/path"), (b"password", b"secret"),
        (b":method", b"GET"),
    )  # fmt: skip


@pytest.mark.parametrize("block", ["be", "80", "7f", "00", "0005", "3fe11f", "418cf1e3c2e5f23a6ba0ab90f4ff",
                                   "ffffffffffffffffff", "0001610a62"])  # fmt: skip
def test_headers_that_need_a_table_or_break_off_are_unreadable(block):
    with pytest.raises(Unreadable):
        Reader().read(bytes.fromhex(block))


def test_a_frame_is_length_kind_flags_and_stream():
    made = direct.frame(direct.DATA, direct.END_STREAM, 5, b"x" * 300)
    assert made[:9] == struct.pack(">I", 300)[1:] + bytes((0, 1)) + struct.pack(">I", 5)
