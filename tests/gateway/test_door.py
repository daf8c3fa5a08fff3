"""The HTTP port over TLS: what it says to everybody, whom it lets go, and certificates that change."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from pathlib import Path

import pytest

from chassis import tls
from chassis.tls import Door
from gateway import http
from stack.authority import Certificates
from tests.gateway.notes import stage
from tests.gateway.test_http_streams import events

STRICT = "max-age=31536000"


@pytest.fixture
def made(tmp_path: Path) -> Certificates:
    """An authority and a door's certificate."""
    found = Certificates(tmp_path, [], "tradewind.local", "127.0.0.1")
    found.make()
    return found


def opened(made: Certificates):
    """A gateway whose door shows it."""
    trusting = ssl.create_default_context(cafile=made.folder / "ca.crt")
    return stage(door=Door(str(made.folder / "door")), trusting=trusting)


async def test_every_answer_asks_to_come_over_tls_again(made: Certificates):
    async with opened(made) as notes:
        notes.server.answers["WatchEvents"] = lambda asked: events(notes, 2)
        said = [
            await notes.http.get("/healthz"),
            await notes.http.get("/v1/nowhere"),
            await notes.http.get("/v1/notes", headers={"authorization": "Bearer nobody"}),
            await notes.http.get("/v1/events/notes"),
        ]
    assert [answer.headers["strict-transport-security"] for answer in said] == [STRICT] * 4
    assert [answer.status_code for answer in said][1:] == [404, 401, 200]
    async with stage() as plain:
        assert "strict-transport-security" not in (await plain.http.get("/healthz")).headers


async def test_who_does_not_come_to_speak_is_let_go(made: Certificates, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http, "HANDSHAKE_SECONDS", 0.2)
    async with opened(made) as notes:
        reader, writer = await asyncio.open_connection("127.0.0.1", notes.front.port)
        writer.write(b"\x16\x03\x01")  # a handshake begins so, and never goes on
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()


async def test_a_refusal_is_read_by_who_is_still_sending(made: Certificates):
    """Nobody can say over TLS that he has said all; closing at once would take the answer away."""
    trusting = ssl.create_default_context(cafile=made.folder / "ca.crt")

    def asked(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
            line = trusting.wrap_socket(plain, server_hostname="localhost")
            line.sendall(b"GET /v1/notes HTTP/1.1\r\nx: " + b"x" * 100_000)
            for _ in range(9):
                line.sendall(b"y" * 100_000)
                time.sleep(0.01)  # the answer may come before all is sent
            return line.recv(200)

    async with opened(made) as notes:
        assert b" 431 " in await asyncio.to_thread(asked, notes.front.port)


async def test_a_renewed_certificate_is_shown_from_the_next_handshake_on(
    made: Certificates, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.0)

    async def shown(port: int) -> bytes:
        trusting = ssl.create_default_context(cafile=made.folder / "ca.crt")
        _, writer = await asyncio.open_connection("localhost", port, ssl=trusting)
        raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        writer.close()
        assert chosen is None
        return ssl.DER_cert_to_PEM_cert(raw).encode()

    async with opened(made) as notes:
        first = await shown(notes.front.port)
        assert first == (made.folder / "door/tls.crt").read_bytes()
        made.make(again=True)
        second = await shown(notes.front.port)
        assert second == (made.folder / "door/tls.crt").read_bytes() != first
        assert (await notes.http.get("/healthz")).status_code == 200
