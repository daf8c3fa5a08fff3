"""What every rpc passes before and after its handler, beside an rpc of grpc alone that does nothing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from tradewind.inventory.v1 import order_pb2

from bench.harness import Bench, Sample
from bench.orders import collector
from bench.rig import spent
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
    """Token in cache, deadline, permission, validation, metrics, a trace of each hundredth: then nothing."""
    async with collector() as traces:
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.around", traces, stdout=subprocess.PIPE,
            env=os.environ | {"GRPC_EXPERIMENTS": "-event_engine_listener,-event_engine_client"},
        )  # fmt: skip
        assert server.stdout
        try:
            ours, bare, token = (await server.stdout.readline()).decode().split()
            seconds = bench.seconds(SECONDS)
            runs = await bench.interleave(
                tradewind=lambda: _calls(server.pid, ours, token, seconds),
                grpc=lambda: _calls(server.pid, bare, token, seconds),
            )
        finally:
            server.terminate()
            await server.wait()
    bench.row("everything around the handler, CPU of the server", "an empty rpc of grpc alone",
              runs.ratio("tradewind", "grpc", Sample.cost), ("at most", 1.10))  # fmt: skip
    for name in ("tradewind", "grpc"):
        bench.costs_of(f"an empty rpc, {name}", runs, name)


async def _calls(pid: int, port: str, token: str, seconds: float) -> Sample:
    request = order_pb2.GetOrderRequest(name="orders/0198").SerializeToString()
    said, sampled = (
        (("authorization", f"Bearer {token}"), ("traceparent", f"00-{'1' * 32}-{'2' * 16}-{flags}"))
        for flags in ("00", "01")
    )
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as open_channel:
        ask = open_channel.unary_unary(PATH)
        await ask(request, timeout=10, metadata=said)
        before, began = spent(pid), time.perf_counter()

        async def caller() -> int:
            done = 0
            while time.perf_counter() - began < seconds:
                await ask(request, timeout=10, metadata=said if done % 100 else sampled)
                done += 1
            return done

        count = sum(await asyncio.gather(*(caller() for _ in range(CALLERS))))
        return Sample(count, time.perf_counter() - began, {"server": spent(pid) - before})


async def serve(traces: str) -> None:
    """Both, each on a port of its own, in a process of their own."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from chassis.service import until_told

    telemetry.start_tracing("bench", traces, 0.01)
    key = Ed25519PrivateKey.generate()
    server: Any = Server("inventory", None, Validator({"gateway": key.public_key()}), None)  # type: ignore[arg-type]
    policy = policy_of(descriptor_pool.Default().FindMethodByName(METHOD))

    async def nothing(_request: Any, _call: Any) -> Any:
        return order_pb2.Order()

    bare = grpc.unary_unary_rpc_method_handler(
        nothing, policy.request.FromString, order_pb2.Order.SerializeToString
    )

    class Bare(grpc.GenericRpcHandler):
        def service(self, _details: Any) -> Any:
            return bare

    ports = []
    for handler in (server.generic_handler({PATH: (policy, nothing)}), Bare()):
        listening = grpc.aio.server()
        listening.add_generic_rpc_handlers((handler,))
        ports.append(listening.add_insecure_port("127.0.0.1:0"))
        await listening.start()
        _KEPT.append(listening)
    print(*ports, Signer("gateway", key).mint(WHO, 120), flush=True)
    await until_told()


_KEPT: list[Any] = []

if __name__ == "__main__":
    from chassis.service import run

    run(serve(sys.argv[1]))
