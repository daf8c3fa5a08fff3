"""Clients that take more than their part: slow ones, idle ones, greedy ones, and one noisy organization."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

import grpc
import httpx
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from tradewind.customer.v1 import customer_pb2 as api

from tests.fuzz.target import Target

NOISE = 20  # times the quiet organization's rate


async def at_rate(url: str, token: str, per_second: float, seconds: float) -> list[tuple[int, float]]:
    """(status, seconds) of a list asked for at a fixed rate, however long the answers take."""
    found: list[tuple[int, float]] = []
    bound = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    head = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=head, timeout=60, limits=bound) as client:

        async def one() -> None:
            started = time.perf_counter()
            answer = await client.get("/v1/customers?pageSize=5")
            found.append((answer.status_code, time.perf_counter() - started))

        async with asyncio.TaskGroup() as group:
            for number in range(int(per_second * seconds)):
                group.create_task(one())
                del number
                await asyncio.sleep(1 / per_second)
    return found


def late(found: list[tuple[int, float]]) -> float:
    """The 99th percentile, in milliseconds."""
    return sorted(took for _, took in found)[int(len(found) * 0.99)] * 1000


async def noisy(target: Target, per_second: float, seconds: float) -> tuple[int, str]:
    """How many calls of a quiet organization failed beside a noisy one, and a line on how long they took."""
    quiet, loud = target.other_token, await target.token_of(target.email)
    alone = await at_rate(target.http, quiet, per_second, seconds)
    beside, noise = await asyncio.gather(
        at_rate(target.http, quiet, per_second, seconds),
        at_rate(target.http, loud, per_second * NOISE, seconds),
    )
    failed = sum(status != 200 for status, _ in (*alone, *beside))
    said = (
        f"quiet alone p99 {late(alone):.0f} ms, beside {NOISE}× {late(beside):.0f} ms, {failed} failed · "
        f"noisy {len(noise)} calls, {sum(status == 429 for status, _ in noise)} told to come back later"
    )
    return failed + sum(status not in (200, 429) for status, _ in noise), said


async def dripping(url: str, count: int, drips: int) -> int:
    """How many of so many connections that send a head byte by byte are still held after so many bytes."""
    parts = urlsplit(url)

    async def one() -> bool:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            for byte in (b"GET / HTTP/1.1\r\nx-a: " + b"y" * drips)[:drips]:
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0.05)
            await asyncio.wait_for(reader.read(), 30)
        except ConnectionError:
            pass  # closed while we were still writing
        except TimeoutError:
            return True
        finally:
            writer.close()
        return False

    return sum(await asyncio.gather(*(one() for _ in range(count))))


async def idle(address: str, count: int) -> list[asyncio.StreamWriter]:
    """So many connections that say nothing."""
    host, _, port = address.rpartition(":")
    return [(await asyncio.open_connection(host, int(port)))[1] for _ in range(count)]


async def greedy(target: Target) -> dict[str, str]:
    """The gRPC code of calls that ask for, or send, far too much; each by a name."""
    path = "/tradewind.customer.v1.CustomerService/"
    many = api.Customer(display_name="x", currency="CNY", emails=["x"] * 300_000)
    good = (("authorization", f"Bearer {target.token}"),)
    tries: dict[str, tuple[str, Message, tuple[tuple[str, str], ...]]] = {
        "a page of 2^31-1": ("ListCustomers", api.ListCustomersRequest(page_size=2**31 - 1), good),
        "a page of -1": ("ListCustomers", api.ListCustomersRequest(page_size=-1), good),
        "300,000 elements": ("CreateCustomer", api.CreateCustomerRequest(customer=many), good),
        "20 KiB of metadata": ("ListCustomers", Empty(), (*good, ("x-more", "y" * 20_000))),
        "5 MiB": ("ListCustomers", api.ListCustomersRequest(filter="x" * 5 * 2**20), good),
    }
    found = {}
    for name, (method, request, metadata) in tries.items():
        ask = target.edge.unary_unary(path + method)
        try:
            await ask(request.SerializeToString(), timeout=60, metadata=metadata)
            found[name] = "OK"
        except grpc.aio.AioRpcError as no:
            found[name] = no.code().name
    return found
