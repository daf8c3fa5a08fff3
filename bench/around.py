"""What every rpc passes before and after its handler, beside an rpc of grpc alone that does nothing.

Both servers are grpc.aio in one process, with the same message, the same metadata and a handler that does
nothing; the CPU is the server's with its transport. What a message is checked for depends on the message
(the contract's rules, field by field), so it is told in a row of its own.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from google.protobuf import descriptor_pool
from tradewind.inventory.v1 import order_pb2

from bench.cpu import spent
from bench.harness import Bench, Sample
from bench.orders import collector
from chassis import telemetry
from chassis.identity import Principal, Signer, Validator
from chassis.rpc import Server, policy_of

METHOD = "tradewind.inventory.v1.OrderService.GetOrder"
PATH = "/tradewind.inventory.v1.OrderService/GetOrder"
CALLERS = 16
SECONDS = 4.0
WHO = Principal(user="users/bench", tenant="01980000-0000-7000-8000-000000000000",
                permissions={"orders.read": "all"})  # fmt: skip


async def measure(bench: Bench) -> None:
    """Token in cache, deadline, permission, metrics, a trace of each hundredth: then nothing."""
    key = Ed25519PrivateKey.generate()
    signer = Signer("gateway", key)
    async with collector() as traces:
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.around", traces, key.public_key().public_bytes_raw().hex(),
            stdout=subprocess.PIPE,
            env=os.environ | {"GRPC_EXPERIMENTS": "-event_engine_listener,-event_engine_client"},
        )  # fmt: skip
        assert server.stdout
        try:
            ours, checked, bare = (await server.stdout.readline()).decode().split()
            seconds = bench.seconds(SECONDS)
            runs = await bench.interleave(
                tradewind=lambda: _calls(server.pid, ours, signer, seconds),
                checked=lambda: _calls(server.pid, checked, signer, seconds),
                grpc=lambda: _calls(server.pid, bare, signer, seconds),
            )
        finally:
            server.terminate()
            await server.wait()
    bench.row("everything around the handler, CPU of the server", "an empty rpc of grpc alone",
              runs.ratio("tradewind", "grpc", Sample.cost), ("at most", 1.10))  # fmt: skip
    bench.row("the same with the message checked as the contract says", "an empty rpc of grpc alone",
              runs.ratio("checked", "grpc", Sample.cost), ("at most", 1.15))  # fmt: skip
    for name, called in (("tradewind", "tradewind"), ("checked", "message checked"), ("grpc", "grpc")):
        bench.costs_of(f"an empty rpc, {called}", runs, name)


async def _calls(pid: int, port: str, signer: Signer, seconds: float) -> Sample:
    token = signer.mint(WHO, 120)  # the longest that one may be good for
    request = order_pb2.GetOrderRequest(name="orders/0198").SerializeToString()
    said, sampled = (
        (("authorization", f"Bearer {token}"), ("traceparent", f"00-{'1' * 32}-{'2' * 16}-{flags}"))
        for flags in ("00", "01")
    )
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as open_channel:
        ask = open_channel.unary_unary(PATH)
        await ask(request, timeout=10, metadata=said)
        before, began, count = spent(pid), time.perf_counter(), 0

        async def caller() -> None:
            nonlocal count
            while time.perf_counter() - began < seconds:
                count += 1
                await ask(request, timeout=10, metadata=said if count % 100 else sampled)

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        return Sample(count, time.perf_counter() - began, {"server": spent(pid) - before})


async def serve(traces: str, key: str) -> None:
    """All of them, each on a port of its own, in a process of their own; *key* is the callers' public one."""
    from chassis.service import until_told

    telemetry.start_tracing("bench", traces, 0.01)
    known = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
    server: Any = Server("inventory", None, Validator({"gateway": known}), None)  # type: ignore[arg-type]
    policy = policy_of(descriptor_pool.Default().FindMethodByName(METHOD))

    async def nothing(_request: Any, _call: Any) -> Any:
        return order_pb2.Order()

    class Unchecked(Server):
        def _check(self, _request: Any) -> None:
            pass

    unchecked: Any = Unchecked("inventory", None, server.validator, None)  # type: ignore[arg-type]
    bare = grpc.unary_unary_rpc_method_handler(
        nothing, policy.request.FromString, order_pb2.Order.SerializeToString
    )

    class Bare(grpc.GenericRpcHandler):
        def service(self, _details: Any) -> Any:
            return bare

    ports = []
    methods = {PATH: (policy, nothing)}
    for handler in (unchecked.generic_handler(methods), server.generic_handler(methods), Bare()):
        listening = grpc.aio.server()
        listening.add_generic_rpc_handlers((handler,))
        ports.append(listening.add_insecure_port("127.0.0.1:0"))
        await listening.start()
        _KEPT.append(listening)
    print(*ports, flush=True)
    await until_told()
    for listening in _KEPT:
        await listening.stop(0)


_KEPT: list[Any] = []

if __name__ == "__main__":
    from chassis.service import run

    run(serve(*sys.argv[1:]))
