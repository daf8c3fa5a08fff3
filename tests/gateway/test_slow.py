"""Clients that hold on to something and say nothing: each is let go, and what they held is free again."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest

from gateway.limits import Exceeded, Limits, LimitSettings, Rate
from tests.gateway.notes import stage

SOON = LimitSettings(body_seconds=0.5, head_seconds=0.5, idle_seconds=1, write_seconds=0.5)
GET = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"


@asynccontextmanager
async def talking(running):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(running.address.rpartition(":")[2]))
    try:
        yield reader, writer
    finally:
        writer.close()


async def said(reader) -> bytes:
    """Everything until the connection ends; a time-out where it does not."""
    async with asyncio.timeout(30):
        return await reader.read()


@pytest.mark.parametrize("begun", [b"", b"{"])
async def test_a_body_that_does_not_come_gives_its_place_back(begun):
    async with stage(SOON) as running, talking(running) as (reader, writer):
        head = b"POST /v1/notes:knock HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        writer.write(head + b"content-length: 10\r\n\r\n" + begun)
        assert (await said(reader)).startswith(b"HTTP/1.1 408 ")
        assert (running.limits.in_flight, running.limits._each) == (0, {})


async def test_trailers_are_not_taken_for_headers():
    proxied = LimitSettings.from_env({"TRADEWIND_TRUSTED_PROXIES": "127.0.0.1/32"})
    async with stage(proxied) as running, talking(running) as (reader, writer):
        writer.write(
            b"POST /v1/notes/1:sign HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\n{}\r\n0\r\n"
            b"Authorization: Bearer good\r\n\r\n"
        )
        assert (await said(reader)).startswith(b"HTTP/1.1 401 ")
        assert running.server.asked == []


@pytest.mark.parametrize("begins", [b"0\r\n", b"0\r\nx: ", b"1;x="], ids=["many", "one", "of a chunk"])
async def test_what_is_of_no_body_comes_to_an_end(begins):
    async with stage() as running, talking(running) as (reader, writer):
        writer.write(GET + b"transfer-encoding: chunked\r\n\r\n" + begins)
        await reader.readuntil(b"\r\n\r\n")
        sent, piece = 0, b"x: y\r\n" * 1000 if begins.endswith(b"\n") else b"y" * 6000
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(30):
                while sent < 100_000_000:
                    writer.write(piece)
                    sent += len(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        assert sent < 20_000_000  # what the sockets hold on the way


@pytest.mark.parametrize(
    ("head", "then"),
    [(b"", b""), (b"", b"\r\n"), (b"content-length: 1000000000\r\n", b"x")],
    ids=["nothing", "an empty line", "a byte of a body"],
)
async def test_who_says_nothing_after_an_answer_is_let_go(head, then):
    async with stage(SOON) as running, talking(running) as (reader, writer):
        writer.write(GET + head + b"\r\n")
        await reader.readuntil(b"}")
        writer.write(then)
        assert await said(reader) == b""


async def test_who_leaves_the_last_of_an_answer_unread_is_let_go_too():
    async with stage(SOON) as running:
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        one.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(one, ("127.0.0.1", int(running.address.rpartition(":")[2])))
        connections = running.front._server.server_state.connections
        async with asyncio.timeout(60):
            while not connections:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            (held,) = connections
            while not held.transport.get_write_buffer_size() and held in connections:
                await loop.sock_sendall(one, b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n")
                await asyncio.sleep(0.005)
            while held in connections:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        one.close()


async def test_strangers_wait_for_each_other_and_for_nobody_else():
    async with stage(LimitSettings(at_once=8)) as running:
        limits = running.limits
        for _ in range(6):
            await limits.take_turn("", 1)
        asked = asyncio.create_task(running.http.post("/v1/notes:knock", json={}))
        assert (await running.http.get("/v1/notes/1")).status_code == 200
        assert not asked.done()
        limits.give_turn("")
        assert (await asked).status_code == 200


def test_a_network_of_ipv6_is_one_address():
    limits = Limits(LimitSettings(sign_in=Rate("address", 0.01, 2), stranger=Rate("stranger", 0.01, 2)))
    for take in (limits.sign_in, limits.stranger):
        take("2001:db8::1")
        take("2001:db8::2")
        with pytest.raises(Exceeded):
            take("2001:db8::ffff:3")
        take("2001:db8:0:1::1")
