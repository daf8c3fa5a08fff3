"""Certificates between processes: who is heard, whom a caller believes, and what becomes of renewed ones."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_status import rpc_status

from chassis import tls
from chassis.clients import Channels, channel
from chassis.reasons import Reasons
from chassis.settings import SettingsInvalid
from chassis.tls import Door, Guard, Identity
from gateway.upstream import Upstream
from stack.authority import Certificates, issue, make_authority

DOMAIN = "tradewind.local"
PROCESSES = ("gateway", "customer", "contract", "stranger")
METHOD = SimpleNamespace(path="/notes.Notes/Ask", home="customer", streams=False)
SERVING = health_pb2.HealthCheckResponse.SERVING


class Notes(grpc.GenericRpcHandler):
    """Answers what it was asked."""

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(self.echo) if details.method == METHOD.path else None

    async def echo(self, request, _context):
        return request


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    """Certificates of everybody; a change of them is seen at once."""
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.0)
    found = Certificates(tmp_path, PROCESSES, DOMAIN, "127.0.0.1")
    found.make()
    return found


def identity(made: Certificates, process: str) -> Identity:
    return Identity(str(made.folder / process), process, DOMAIN)


@asynccontextmanager
async def customer(made: Certificates, callers=("gateway",)) -> AsyncIterator[int]:
    """A process that the gateway may call; its port."""
    own = identity(made, "customer")
    server = grpc.aio.server(interceptors=[Guard(own, callers, Reasons())])
    server.add_generic_rpc_handlers((Notes(),))
    checker = health.HealthServicer()
    await checker.set("", SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checker, server)
    port = server.add_secure_port("127.0.0.1:0", own.server_credentials())
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


async def asked(port: int, who: Identity | None, meant: str = "customer") -> bytes:
    async with channel(f"127.0.0.1:{port}", meant, who) as line:
        return bytes(await line.unary_unary(METHOD.path)(b"hello", timeout=3))


def bare(port: int, credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
    """A channel that asks for nothing by itself: not how the other is, and not again."""
    named = [("grpc.ssl_target_name_override", "customer"), ("grpc.enable_retries", 0)]
    return grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, named)


async def test_a_caller_of_the_picture_is_heard_and_so_is_the_process_itself(made: Certificates):
    async with customer(made) as port:
        assert await asked(port, identity(made, "gateway")) == b"hello"
        assert await asked(port, identity(made, "customer")) == b"hello"


@pytest.mark.parametrize("path", [METHOD.path, "/grpc.health.v1.Health/Check"])
async def test_another_process_of_the_installation_is_refused_whatever_it_asks(made: Certificates, path: str):
    async with (
        customer(made) as port,
        bare(port, identity(made, "contract").channel_credentials()) as line,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await line.unary_unary(path)(b"", timeout=5, metadata=[("accept-language", "zh")])
        status = rpc_status.from_call(refused.value)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert status and "该证书不属于允许调用此处的进程".encode() in status.SerializeToString()
        with pytest.raises(grpc.aio.AioRpcError, match="is of nobody who may call here") as streamed:
            async for _ in health_pb2_grpc.HealthStub(line).Watch(health_pb2.HealthCheckRequest(), timeout=5):
                pass
        assert streamed.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_nobody_is_heard_in_plain_or_with_a_certificate_of_another_authority(
    made: Certificates, tmp_path: Path
):
    async with customer(made) as port:
        with pytest.raises(grpc.aio.AioRpcError):
            await asked(port, None)
        other = Certificates(tmp_path / "elsewhere", PROCESSES, DOMAIN, "127.0.0.1")
        other.make()
        (other.folder / "gateway/ca.crt").write_bytes((made.folder / "ca.crt").read_bytes())
        with pytest.raises(grpc.aio.AioRpcError):  # it believes us, we do not believe it
            await asked(port, identity(other, "gateway"))
        nobody = grpc.ssl_channel_credentials((made.folder / "ca.crt").read_bytes())
        async with bare(port, nobody) as line:
            with pytest.raises(grpc.aio.AioRpcError):
                await line.unary_unary(METHOD.path)(b"", timeout=3)


async def test_an_expired_certificate_is_refused(made: Certificates):
    authority = make_authority()
    (made.folder / "customer/ca.crt").unlink()
    authority.write(made.folder / "customer/ca.crt", made.folder / "ca.key")
    name = f"spiffe://{DOMAIN}/tradewind/customer"
    folder = made.folder / "customer"
    issue(authority, "customer", ["customer"], name).write(folder / "tls.crt", folder / "tls.key")
    async with customer(made, callers=("customer",)) as port:
        good = identity(made, "customer")
        assert await asked(port, good) == b"hello"
        ended = issue(authority, "customer", ["customer"], name, days=-1)
        ended.write(folder / "tls.crt", folder / "tls.key")
        assert good.version == 1
        with pytest.raises(grpc.aio.AioRpcError):
            await asked(port, good)


async def test_a_caller_believes_only_the_process_that_it_meant(made: Certificates):
    async with customer(made, callers=PROCESSES) as port:
        with pytest.raises(grpc.aio.AioRpcError):
            await asked(port, identity(made, "gateway"), meant="contract")
        upstream = Upstream({"contract": f"127.0.0.1:{port}"}, identity(made, "gateway"))
        call = upstream.call(SimpleNamespace(path=METHOD.path, home="contract", streams=False))
        with pytest.raises(grpc.aio.AioRpcError):
            await call(b"hello", timeout=2.0, metadata=())
        assert upstream._peers["contract"].next(0) is None
        await upstream.close()


async def test_the_gateways_own_connections_show_and_ask_for_certificates(made: Certificates):
    async with customer(made) as port:
        upstream = Upstream({"customer": f"127.0.0.1:{port}"}, identity(made, "gateway"))
        call = upstream.call(METHOD)
        async with asyncio.timeout(20):
            while upstream._peers["customer"].next(0) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await call(b"hello" * 3000, timeout=5.0, metadata=(("who", "me"),)) == b"hello" * 3000
        assert upstream.channel("customer").get_state() is grpc.ChannelConnectivity.IDLE
        await upstream.close()


async def test_renewed_certificates_are_taken_up_by_both_sides_without_a_restart(made: Certificates):
    who = identity(made, "gateway")
    channels = Channels({"customer": ""}, who)
    async with customer(made) as port:
        channels.addresses["customer"] = f"127.0.0.1:{port}"
        ask = channels.to("customer").unary_unary(METHOD.path)
        assert await ask(b"1", timeout=5) == b"1"
        assert not channels.renewed()
        made.make(again=True)
        assert channels.renewed() and not channels.renewed()
        assert await channels.to("customer").unary_unary(METHOD.path)(b"2", timeout=5) == b"2"
        assert await seen(made, port) == (made.folder / "customer/tls.crt").read_bytes()
        await channels.close()


async def seen(made: Certificates, port: int) -> bytes:
    """The certificate that a server shows now."""
    context = identity(made, "gateway").client_context("h2")
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="customer")
    raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return ssl.DER_cert_to_PEM_cert(raw).encode()


async def test_the_authority_changes_without_a_call_that_fails(made: Certificates):
    """Everybody believes both before anybody shows a certificate of the new one."""
    who = identity(made, "gateway")
    async with customer(made) as port:
        former = who.channel_credentials()
        made.change_authority()
        assert (made.folder / "gateway/ca.crt").read_text().count("BEGIN") == 2
        assert await asked(port, who) == b"hello"
        async with bare(port, former) as line:
            with pytest.raises(grpc.aio.AioRpcError):  # who has looked at nothing since does not know us
                await line.unary_unary(METHOD.path)(b"", timeout=3)


def test_half_a_renewal_changes_nothing(made: Certificates):
    who = identity(made, "gateway")
    key = made.folder / "gateway/tls.key"
    kept, former = key.read_bytes(), who.version
    key.write_bytes((made.folder / "customer/tls.key").read_bytes())
    assert who.version == former
    key.unlink()
    assert who.version == former
    key.write_bytes(kept)
    assert 396 < who._folder.current().days_left()["certificate"] < 397


def test_a_certificate_of_another_process_ends_the_start_and_so_does_none(made: Certificates):
    with pytest.raises(SettingsInvalid, match=r"is not that of spiffe://tradewind.local/tradewind/customer"):
        Identity(str(made.folder / "gateway"), "customer", DOMAIN)
    with pytest.raises(
        SettingsInvalid, match=r"TRADEWIND_TLS names .* cannot be used: tls.crt: No such file"
    ):
        Identity(str(made.folder / "nobody"), "customer", DOMAIN)
    (made.folder / "door/tls.key").write_bytes((made.folder / "gateway/tls.key").read_bytes())
    with pytest.raises(SettingsInvalid, match=r"TRADEWIND_DOOR_TLS names .* cannot be used"):
        Door(str(made.folder / "door"))


def test_private_keys_are_their_owners_alone_and_nothing_is_made_twice(made: Certificates):
    assert {path.stat().st_mode & 0o777 for path in made.folder.rglob("*.key")} == {0o600}
    assert made.make() == []
    moved = Certificates(made.folder.parent, PROCESSES, "another.example", "127.0.0.1")
    assert moved.make() == [*PROCESSES, "nats"]
