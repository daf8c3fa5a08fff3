"""Runs the gateway: access, the HTTP API and the gRPC edge in one process; founds organizations."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import AsyncExitStack

from chassis import telemetry
from chassis.service import metrics_server, run, until_told
from chassis.settings import Settings
from chassis.tls import Door
from gateway import found
from gateway.contract import Contract
from gateway.cookies import Cookies
from gateway.grpc_edge import EdgeServer, serve_edge
from gateway.http import HttpServer, serve_http
from gateway.identify import Identifier
from gateway.limits import Limits, LimitSettings
from gateway.oauth import oauth_pages
from gateway.service import SERVICE
from gateway.sign_in import sign_in_pages
from gateway.upstream import Upstream

log = logging.getLogger(__name__)


async def close_doors(http: HttpServer, edge: EdgeServer, seconds: float) -> None:
    """Say that we are leaving, answer for *seconds* more whoever has not heard it, then close both doors.

    Access serves until they are closed: what is under way needs it.
    """
    http.leave()
    await edge.leave()
    await asyncio.sleep(seconds)
    await asyncio.gather(http.stop(), edge.stop())


async def serve(settings: Settings, bounds: LimitSettings) -> None:
    """Serve until told to stop: the doors close first, then access."""
    telemetry.start_logging("gateway", settings.log_level)
    telemetry.start_tracing("gateway", settings.traces, settings.trace_ratio)
    async with AsyncExitStack() as open_parts:
        runtime, port = await open_parts.enter_async_context(SERVICE.running(settings))
        await open_parts.enter_async_context(metrics_server(settings, runtime))
        # Access is asked like every other service, by its own address.
        upstream = Upstream({**settings.peers, "access": f"127.0.0.1:{port}"}, runtime.identity)
        open_parts.push_async_callback(upstream.close)
        identify = Identifier(runtime.store, runtime.signer, trail=runtime.trail)
        contract, limits = Contract.load(), Limits(bounds)
        door = _door(settings)
        edge = await serve_edge(
            settings.host,
            settings.grpc_port,
            identify=identify,
            upstream=upstream,
            contract=contract,
            limits=limits,
            door=door,
        )
        http = await serve_http(
            settings.host,
            settings.http_port,
            identify=identify,
            upstream=upstream,
            contract=contract,
            limits=limits,
            more_pages={
                **oauth_pages(runtime.store, runtime.signer, settings.origin),
                **sign_in_pages(runtime.store, runtime.signer, settings, runtime.trail),
            },
            door=door,
            cookies=Cookies(identify, runtime.store, runtime.signer),
        )
        log.info("the gateway answers HTTP on port %d and gRPC on port %d", http.port, edge.port)
        await until_told()
        log.info("the gateway finishes what is under way")
        await close_doors(http, edge, settings.drain)
    telemetry.stop_tracing()


def _door(settings: Settings) -> Door | None:
    """The certificate of both doors, watched; none where they are served in plain."""
    if not settings.door_tls:
        return None
    door = Door(settings.door_tls)
    telemetry.METRICS.collectors.append(door.measure)
    return door


def main(arguments: list[str]) -> None:
    """`python -m gateway` serves; `python -m gateway bootstrap …` founds an organization."""
    if arguments[:1] == ["bootstrap"]:
        found.main(arguments[1:])
    else:
        settings = Settings.from_env("gateway", database="access").require("database_url")
        run(serve(settings, LimitSettings.from_env()))


if __name__ == "__main__":
    main(sys.argv[1:])
