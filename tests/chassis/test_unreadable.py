"""Bytes that are no message are refused like any other wrong request."""

from __future__ import annotations

import grpc
import pytest

from chassis.reasons import reason_of
from tests.platform import Running

PATHS = ("CustomerService/GetCustomer", "EventsService/WatchEvents")


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\x0a\x02\xff\xfe\x12\x02\xff\xfe", b"\x0b" * 200])
@pytest.mark.parametrize("path", PATHS)
async def test_bytes_that_are_no_message_are_refused_with_a_reason(
    customer: Running, path: str, data: bytes
) -> None:
    token = customer.as_("administrator").token
    kind = customer.channel.unary_stream if path.endswith("WatchEvents") else customer.channel.unary_unary
    call = kind(f"/tradewind.customer.v1.{path}")(
        data, timeout=20, metadata=[("authorization", f"Bearer {token}")]
    )
    with pytest.raises(grpc.aio.AioRpcError) as no:
        await (call.read() if path.endswith("WatchEvents") else call)
    assert (no.value.code().name, reason_of(no.value)[0]) == ("INVALID_ARGUMENT", "BODY_INVALID")
