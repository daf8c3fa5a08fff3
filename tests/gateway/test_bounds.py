"""What a gateway allows is said in its environment, and whose word on addresses is believed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import fields

import grpc
import pytest

from chassis.settings import SettingsInvalid
from gateway.bounds import LimitSettings, Rate, variables
from gateway.grpc_edge import serve_edge
from gateway.limits import Exceeded, Limits
from tests.gateway.notes import TOKEN, identify, stage


def test_every_bound_is_a_variable_with_the_default_that_is_documented():
    assert len(variables()) == len(fields(LimitSettings))
    assert LimitSettings.from_env({}) == LimitSettings()
    told = {
        "TRADEWIND_RATE_ORGANIZATION": "5/7",
        "TRADEWIND_TIMEOUT_HEAD": "2.5",
        "TRADEWIND_ACCESS_LOG": "none",
    }
    made = LimitSettings.from_env(told)
    assert (made.organization, made.head_seconds, made.access_log) == (
        Rate("organization", 5, 7),
        2.5,
        "none",
    )


@pytest.mark.parametrize(
    "name, value",
    [
        ("RATE_PRINCIPAL", "0/1"), ("RATE_PRINCIPAL", "nan"), ("RATE_SIGN_IN", "1e99"),
        ("LIMIT_BODY_BYTES", "0"),
        ("LIMIT_BODY_BYTES", "9" * 50), ("TIMEOUT_BODY", "inf"), ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("ACCESS_LOG", "some"), ("LIMIT_AT_ONCE", "٣"),
    ],
)  # fmt: skip
def test_a_bound_that_cannot_be_ends_the_process_with_its_name(name, value):
    with pytest.raises(SettingsInvalid, match=f"TRADEWIND_{name} must be"):
        LimitSettings.from_env({f"TRADEWIND_{name}": value})


@pytest.mark.parametrize(
    "peer, forwarded, client",
    [
        ("10.0.0.9", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.9", "1.1.1.1, 203.0.113.7, 10.0.0.8", "203.0.113.7"),  # 1.1.1.1 is the client's own word
        ("203.0.113.9", "1.1.1.1", "203.0.113.9"),  # no proxy of ours
        ("10.0.0.9", "", "10.0.0.9"),
        ("10.0.0.9", "evil, 10.0.0.8", "10.0.0.8"),
        ("10.0.0.9", "\"', DROP TABLE", "10.0.0.9"),
        ("10.0.0.9", "2001:db8::7", "2001:db8::7"),
        ("unix:", "1.1.1.1", "unix:"),
        ("10.0.0.9", "," * 5000, "10.0.0.9"),
    ],
)
def test_only_a_trusted_proxy_says_from_where_a_request_comes(peer, forwarded, client):
    bounds = LimitSettings.from_env({"TRADEWIND_TRUSTED_PROXIES": "10.0.0.0/8, fd00::/8"})
    assert bounds.client(peer, forwarded) == client
    assert LimitSettings().client(peer, forwarded) == peer


def test_an_organization_has_a_limit_of_its_own_whoever_asks_for_it():
    limits = Limits(LimitSettings(organization=Rate("organization", 0.1, 3)))
    for person in ("ann", "bob", "cid"):
        limits.caller("acme", f"acme/{person}")
    with pytest.raises(Exceeded) as no:
        limits.caller("acme", "acme/dan")
    assert (no.value.facts["limit"], no.value.retry_after > 1) == (
        "0.1 a second, 3 at once, per organization",
        True,
    )
    limits.caller("other", "other/eve")


async def test_the_body_is_bounded_as_the_setting_says():
    async with stage(LimitSettings(body_bytes=100)) as notes:
        answer = await notes.http.post("/v1/notes", json={"textLine": "x" * 200})
        assert (answer.status_code, answer.json()["facts"]["limit"]) == (413, "100 bytes")


async def test_one_address_holds_only_so_many_connections():
    async with stage(LimitSettings(connections_each=3)) as notes:
        port = int(notes.address.rpartition(":")[2])
        lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        with contextlib.suppress(ConnectionError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read() == b""
            writer.close()
        for _, writer in lines:
            writer.close()
            await writer.wait_closed()
        assert (await notes.http.get("/healthz")).status_code == 200


async def test_who_does_not_read_an_answer_is_let_go():
    asked, heard = 5_000, 0  # the answers are more than every buffer between us holds
    async with stage(LimitSettings(write_seconds=0.1)) as notes:
        whole = len((await notes.http.get("/openapi.json")).content)
        port = int(notes.address.rpartition(":")[2])
        lines = notes.front._server.server_state.connections
        others = set(lines)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        with contextlib.suppress(ConnectionError):
            writer.write(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n" * asked)
            async with asyncio.timeout(60):
                for there in (True, False):
                    while bool(lines - others) != there:  # noqa: ASYNC110 - nobody tells
                        await asyncio.sleep(0.01)
            while got := await reader.read(1_048_576):
                heard += len(got)
        writer.close()
    assert heard < asked * whole / 2


@pytest.mark.parametrize("wanted, count", [("all", 2), ("refused", 1), ("none", 0)])
async def test_a_line_for_each_request_without_anybodys_name(caplog, wanted, count):
    caplog.set_level(logging.INFO, logger="gateway.access")
    async with stage(LimitSettings(access_log=wanted)) as notes:
        await notes.http.get("/v1/notes/42", headers={"user-agent": "somebody"})
        await notes.http.get("/v1/notes/42?nope=secret-word")
    facts = [record.facts for record in caplog.records if record.name == "gateway.access"]
    assert len(facts) == count
    assert not any(word in json.dumps(facts) for word in (TOKEN, "somebody", "secret-word", "127.0.0.1"))
    if wanted == "all":
        assert (facts[0]["method"], facts[0]["status"]) == ("tradewind.notes.v1.NoteService.GetNote", "200")
    if count:
        assert (facts[-1]["status"], facts[-1]["reason"]) == ("400", "FIELD_UNKNOWN")


async def test_the_grpc_door_keeps_the_same_bounds(caplog):
    caplog.set_level(logging.INFO, logger="gateway.access")
    async with stage() as notes:
        limits = Limits(LimitSettings(body_bytes=1000, metadata_bytes=2000))
        edge = await serve_edge(
            "127.0.0.1", 0, identify=identify, upstream=notes.upstream, contract=notes.contract, limits=limits
        )
        async with grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}") as channel:
            call = channel.unary_unary("/tradewind.notes.v1.NoteService/GetNote")
            good = (("authorization", "Bearer good"),)
            await call(b"", timeout=10, metadata=good)
            for request, metadata in ((b"\x0a" * 2000, good), (b"", (*good, ("x-more", "y" * 4000)))):
                with pytest.raises(grpc.aio.AioRpcError) as no:
                    await call(request, timeout=10, metadata=metadata)
                assert no.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await edge.stop(0)
    facts = [record.facts for record in caplog.records if record.name == "gateway.access"]
    assert [(each["door"], each["status"]) for each in facts] == [("grpc", "OK")]
