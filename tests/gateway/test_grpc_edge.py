"""What comes over gRPC: any public method by name, the same checks and refusals, the bytes untouched."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import grpc
import pytest
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from tradewind.customer.v1 import contact_pb2

from chassis.kernel.refusals import Refused
from chassis.reasons import reason_of, status_of
from gateway.grpc_edge import address_of, serve_edge, with_request_id
from gateway.limits import Limits, LimitSettings, Rate
from gateway.problem import STATUS
from tests.gateway.notes import identify

SERVICE = "/tradewind.notes.v1.NoteService"
TOKEN = (("authorization", "Bearer good"),)


@pytest.fixture
async def edge(notes):
    """A client of the gRPC port: call(method, message, metadata) → the answer, parsed."""
    server = await serve_edge(
        "127.0.0.1", 0, identify=identify, upstream=notes.upstream, contract=notes.contract
    )
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel
    await server.stop(0)


async def ask(channel, notes, method, metadata=TOKEN, timeout=60.0, **fields):
    found = notes.contract.public[f"{SERVICE}/{method}"]
    request = notes.server.make(found.input.full_name)(**fields).SerializeToString()
    answer = await channel.unary_unary(f"{SERVICE}/{method}")(request, metadata=metadata, timeout=timeout)
    return notes.server.make(found.output.full_name).FromString(answer)


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def refusal(awaitable):
    with pytest.raises(grpc.aio.AioRpcError) as no:
        await awaitable
    return no.value


async def test_any_public_method_goes_through_by_its_name(edge, notes):
    notes.server.answers["GetNote"] = lambda asked: notes.server.note(name=asked.name, size=5)
    answer = await ask(edge, notes, "GetNote", name="notes/42")
    assert (answer.name, answer.size) == ("notes/42", 5)
    assert notes.server.told["authorization"] == "Bearer principal-token"


async def test_the_bytes_are_not_touched_but_for_a_request_id_that_a_change_must_have(edge, notes):
    await ask(edge, notes, "SignNote", name="notes/1", request_id="mine")
    sign = notes.server.make("tradewind.notes.v1.SignNoteRequest")
    assert notes.server.request == sign(name="notes/1", request_id="mine")
    await ask(edge, notes, "SignNote", name="notes/1")
    assert notes.server.request == sign(name="notes/1", request_id=notes.server.request.request_id)
    assert uuid.UUID(notes.server.request.request_id)
    future = b"\xfa\x7f\x03new"
    await edge.unary_unary(f"{SERVICE}/GetNote")(b"\x0a\x01a" + future, metadata=TOKEN, timeout=60)
    assert notes.server.request.SerializeToString() == b"\x0a\x01a" + future


async def test_a_deadline_is_passed_on_and_one_is_given_where_there_is_none(edge, notes):
    await ask(edge, notes, "GetNote", timeout=60)
    assert 20 < notes.server.asked[-1][3] < 60.5
    await ask(edge, notes, "GetNote", timeout=None)
    assert 1 < notes.server.asked[-1][3] < 11


async def test_what_a_client_says_of_itself_does_not_reach_the_service(edge, notes):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    forged = (("x-internal-peer", "9.9.9.9"), ("x-tenant", "other"), ("x-goog-x", "y"))
    told = (("accept-language", "zh-CN"), ("traceparent", trace))
    await ask(edge, notes, "GetNote", metadata=TOKEN + forged + told)
    seen = {key for key in notes.server.told if not key.startswith(("grpc-", "user-agent"))}
    ours = {"x-internal-peer", "x-internal-agent"}  # from where the call came, as the gateway has seen it
    assert seen == {"authorization", "accept-language", "traceparent"} | ours
    assert notes.server.told["x-internal-peer"] == "127.0.0.1"
    assert (notes.server.told["accept-language"], notes.server.told["traceparent"]) == ("zh", trace)
    await ask(edge, notes, "Knock", metadata=forged)
    assert notes.server.told["x-internal-peer"] == "127.0.0.1"
    assert "authorization" not in notes.server.told


@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer bad"),), (("authorization", "good"),)])
async def test_nobody_is_let_in_without_a_good_token(edge, notes, metadata):
    no = await refusal(ask(edge, notes, "GetNote", metadata=metadata))
    assert (no.code(), reason_of(no)[0]) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert notes.server.asked == []


@pytest.mark.parametrize(
    "path", [f"{SERVICE}/Whisper", f"{SERVICE}/Nope", "/tradewind.nobody.v1.Nothing/Get"]
)
async def test_what_is_between_services_or_nowhere_is_unknown(edge, notes, path):
    no = await refusal(edge.unary_unary(path)(b"", metadata=TOKEN, timeout=60))
    assert (no.code(), *reason_of(no)) == (
        grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN", {"method": path[1:]},
    )  # fmt: skip
    assert notes.server.asked == []


async def test_a_services_no_comes_back_word_for_word(edge, notes):
    def no(asked):
        raise Refused("STATE_FORBIDS", verb="sign", state="SIGNED", allowed="OPEN")

    notes.server.answers["SignNote"] = no
    error = await refusal(ask(edge, notes, "SignNote", metadata=(*TOKEN, ("accept-language", "zh"))))
    assert (error.code(), error.details()) == (
        grpc.StatusCode.FAILED_PRECONDITION, "Cannot sign while SIGNED; allowed while OPEN.",
    )  # fmt: skip
    assert reason_of(error) == ("STATE_FORBIDS", {"verb": "sign", "state": "SIGNED", "allowed": "OPEN"})
    assert any("LocalizedMessage" in detail.type_url for detail in status_of(error).details)


async def test_a_defect_of_the_service_says_nothing_of_its_inside(edge, notes):
    def broken(asked):
        raise ZeroDivisionError("secret")

    notes.server.answers["GetNote"] = broken
    error = await refusal(ask(edge, notes, "GetNote"))
    assert (error.code(), reason_of(error)[0]) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in str(error)


async def test_a_stream_goes_through_to_its_end_and_its_refusal(edge, notes):
    event = notes.server.make("tradewind.type.v1.FeedEvent")

    def some(asked):
        yield event(position=asked.after_position + 1)
        yield event(position=asked.after_position + 2)
        if asked.until_now:
            raise Refused("UNAVAILABLE", what="the database")

    notes.server.answers["WatchEvents"] = some
    watch = notes.server.make("tradewind.type.v1.WatchEventsRequest")
    call = edge.unary_stream(f"{SERVICE}/WatchEvents")
    parts = call(watch(after_position=4).SerializeToString(), metadata=TOKEN)
    assert [event.FromString(part).position async for part in parts] == [5, 6]

    seen = []

    async def to_the_end():
        async for part in call(watch(until_now=True).SerializeToString(), metadata=TOKEN):
            seen.append(event.FromString(part).position)

    error = await refusal(to_the_end())
    assert (seen, error.code(), reason_of(error)[0]) == ([1, 2], grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")


async def test_a_stream_does_not_keep_the_gateway_from_stopping(notes):
    server = await serve_edge(
        "127.0.0.1", 0, identify=identify, upstream=notes.upstream, contract=notes.contract
    )
    notes.server.forever = asyncio.Event()
    event = notes.server.make("tradewind.type.v1.FeedEvent")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = channel.unary_stream(f"{SERVICE}/WatchEvents")(b"", metadata=TOKEN)
        assert event.FromString(await call.read()).position == 1
        await asyncio.wait_for(server.stop(), 10)
        error = await refusal(call.read())
    await asyncio.wait_for(notes.server.forever.wait(), 10)
    notes.server.forever = None
    assert (error.code(), reason_of(error)[0]) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")


@pytest.mark.req("X-63")
async def test_calls_that_lie_there_when_it_ends_are_answered(notes):
    server = await serve_edge(
        "127.0.0.1", 0, identify=identify, upstream=notes.upstream, contract=notes.contract
    )
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = channel.unary_unary(f"{SERVICE}/GetNote")
        await asyncio.to_thread(call, b"", metadata=TOKEN, timeout=60)
        asked = [call.future(b"", metadata=TOKEN, timeout=60) for _ in range(20)]
        time.sleep(0.3)  # noqa: ASYNC251 (we stand still while they arrive)
        await server.stop()
        codes = await asyncio.to_thread(lambda: {one.exception() and one.code() for one in asked})
    assert codes == {None}


async def test_the_limits_hold_here_too(notes):
    limits = Limits(LimitSettings(principal=Rate("principal", 0.01, 1)))
    server = await serve_edge(
        "127.0.0.1", 0, identify=identify, upstream=notes.upstream, contract=notes.contract, limits=limits
    )
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = channel.unary_unary(f"{SERVICE}/GetNote")(b"", metadata=TOKEN)
        await call
        told = dict(await call.trailing_metadata())
        error = await refusal(ask(channel, notes, "GetNote"))
    await server.stop(0)
    assert (told["ratelimit"], told["ratelimit-policy"]) == ('"principal";r=0;t=100', '"principal";q=1;w=100')
    refused = dict(error.trailing_metadata())
    assert refused["ratelimit"].startswith('"principal";r=0;t=') and refused["ratelimit-policy"]
    assert (error.code(), reason_of(error)[0]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert any("RetryInfo" in detail.type_url for detail in status_of(error).details)
    assert limits.in_flight == 0 and limits._each == {}


HALF = {
    "a change of it": ("/grpc.health.v1.Health/Watch", True),
    "a watch half asked": ("/grpc.health.v1.Health/Watch", False),
    "the contract": ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", False),
    "a stranger's half a request": (f"{SERVICE}/GetNote", False),
    "a stranger's half a stream": (f"{SERVICE}/WatchEvents", False),
    "half a request of an unknown method": (f"{SERVICE}/Nope", False),
    "half a sign-in": (f"{SERVICE}/Knock", False),
}


@pytest.mark.parametrize(("path", "asked"), HALF.values(), ids=list(HALF))
async def test_calls_of_strangers_that_last_are_few_and_end_with_their_place_given_back(notes, path, asked):
    """Whoever sends a head and nothing else, or listens for ever, keeps nobody out."""
    bounds = LimitSettings(in_flight_each=8, streams_each=8, body_seconds=1.0)
    limits = Limits(bounds)
    server = await serve_edge(
        "127.0.0.1", 0, identify=identify, upstream=notes.upstream, contract=notes.contract, limits=limits
    )
    address, own = f"127.0.0.1:{server.port}", [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(address, options=own) for _ in range(4)]
    calls = [
        channel.unary_stream(path)(b"") if asked else channel.stream_stream(path)()
        for channel in channels[1:]
        for _ in range(8)
    ]
    await until(lambda: sum(call.done() for call in calls) >= 16)
    assert sum(limits._each.values()) <= 8 and limits.in_flight <= 8
    ended = {await call.code() for call in calls if call.done()}
    assert ended <= {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAUTHENTICATED,
                     grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.DEADLINE_EXCEEDED}  # fmt: skip
    assert (await ask(channels[0], notes, "GetNote", timeout=5)).name == "notes/1"
    if asked or "Reflection" in path:
        assert not all(call.done() for call in calls)
    else:  # what was half asked is over
        await until(lambda: all(call.done() for call in calls))
    for channel in channels:
        await channel.close()
    await until(lambda: limits._each == {} and limits.in_flight == 0)
    await server.stop(0)


async def test_whose_message_does_not_come_is_told_so(notes):
    limits = Limits(LimitSettings(body_seconds=0.2))
    server = await serve_edge(
        "127.0.0.1", 0, identify=identify, upstream=notes.upstream, contract=notes.contract, limits=limits
    )
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        late = channel.stream_unary(f"{SERVICE}/GetNote")(metadata=TOKEN)
        error = await refusal(late)
        assert (error.code(), reason_of(error)[0]) == (
            grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"
        )  # fmt: skip
        none = channel.stream_unary(f"{SERVICE}/GetNote")(metadata=TOKEN)
        await none.done_writing()
        assert reason_of(await refusal(none))[0] == "BODY_INVALID"
        assert (await ask(channel, notes, "GetNote")).name == "notes/1"
    await server.stop(0)
    assert limits._each == {} and limits.in_flight == 0


async def test_health_is_told_without_a_token(edge):
    check = edge.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    for name in ("", SERVICE[1:]):
        assert (await check(health_pb2.HealthCheckRequest(service=name))).status == 1


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_the_contract_is_told_by_reflection(edge, version):
    call = edge.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    names = {service.name for service in (await call.read()).list_services_response.service}
    assert SERVICE[1:] in names
    for symbol in names | {"google.rpc.ErrorInfo"}:
        await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
        assert (await call.read()).file_descriptor_response.file_descriptor_proto, symbol
    await call.done_writing()


@pytest.mark.skipif(
    not shutil.which("buf", path=str(Path(sys.executable).parent)), reason="buf is a tool of development"
)
async def test_a_stranger_with_buf_curl_needs_no_protos(notes):
    server = await serve_edge(
        "127.0.0.1", 0, identify=identify, upstream=notes.upstream, contract=notes.contract
    )
    notes.server.answers["GetNote"] = lambda asked: notes.server.note(name=asked.name, size=5)
    done = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "buf"), "curl", "--protocol", "grpc", "--http2-prior-knowledge",
        "-H", "authorization: Bearer good", "-d", '{"name": "notes/9"}',
        f"http://127.0.0.1:{server.port}{SERVICE}/GetNote",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "HOME": "/tmp"},
    )  # fmt: skip
    out, err = await done.communicate()
    await server.stop(0)
    assert done.returncode == 0, err.decode()
    assert json.loads(out) == {"name": "notes/9", "size": "5"}


@pytest.mark.parametrize(
    ("peer", "address"),
    [("ipv4:10.0.0.7:5000", "10.0.0.7"), ("ipv6:%5B::1%5D:5000", "::1"), ("unix:/a/b", "unix:/a/b")],
)
def test_the_address_of_a_peer(peer, address):
    assert address_of(peer) == address


def test_every_code_has_its_name():
    assert STATUS.keys() == set(code_pb2.Code.keys())


def test_a_change_without_a_request_id_gets_one_and_one_with_keeps_its_own() -> None:
    number = contact_pb2.CreateContactRequest.DESCRIPTOR.fields_by_name["request_id"].number
    asked = contact_pb2.CreateContactRequest(contact=contact_pb2.Contact(display_name="Li"))
    minted = [
        contact_pb2.CreateContactRequest.FromString(with_request_id(asked.SerializeToString(), number))
        for _ in range(2)
    ]
    assert len({uuid.UUID(one.request_id) for one in minted}) == 2
    assert all(one.contact == asked.contact for one in minted)
    asked.request_id = str(uuid.uuid4())
    sent = with_request_id(asked.SerializeToString(), number)
    assert contact_pb2.CreateContactRequest.FromString(sent) == asked
