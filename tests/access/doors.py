"""The gateway's two doors, opened before real services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx
from tradewind.access.v1 import session_pb2

from chassis.clients import channel
from gateway.contract import Contract
from gateway.cookies import Cookies
from gateway.grpc_edge import serve_edge
from gateway.http import serve_http
from gateway.identify import Identifier
from gateway.limits import Limits, LimitSettings
from gateway.oauth import oauth_pages
from gateway.sign_in import sign_in_pages
from gateway.upstream import Upstream
from tests.access.conftest import PASSWORD
from tests.platform import Running

ORIGIN = "https://sales.example.com"
ME = "/tradewind.access.v1.SessionService/GetMe"


class Doors:
    """The gateway's two ports before the real access and customer services."""

    def __init__(self, http: str, grpc_address: str) -> None:
        self.client = httpx.AsyncClient(base_url=http, timeout=20)
        self.client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # each test sends its own
        self.channel = channel(grpc_address)

    async def ask(
        self, verb: str, path: str, token: str = "", body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        """(status, JSON) of a request."""
        if token:
            headers["Authorization"] = f"Bearer {token}"
        answer = await self.client.request(verb, path, json=body, headers=headers)
        return answer.status_code, answer.json()

    async def sign_in(self, email: str, password: str = PASSWORD) -> Any:
        """What POST /v1/sessions says."""
        status, said = await self.ask("POST", "/v1/sessions", body={"email": email, "password": password})
        assert status == 200, said
        return said

    async def me(self, token: str) -> Any:
        """GetMe over the gRPC door."""
        call = self.channel.unary_unary(
            ME, session_pb2.GetMeRequest.SerializeToString, session_pb2.Me.FromString
        )
        return await call(
            session_pb2.GetMeRequest(), timeout=10, metadata=[("authorization", f"Bearer {token}")]
        )


@asynccontextmanager
async def opened(
    access: Running, *others: Running, bounds: LimitSettings | None = None
) -> AsyncIterator[Doors]:
    """Both doors before access and other services."""
    upstream = Upstream({one.service.name: one.address for one in (access, *others)})
    store, signer = access.runtime.store, access.runtime.signer
    identify, contract = Identifier(store, signer, trail=access.runtime.trail), Contract.load()
    settings = replace(access.runtime.settings, public_url=ORIGIN)
    more = oauth_pages(store, signer, ORIGIN)
    more |= sign_in_pages(store, signer, settings, access.runtime.trail)
    cookies, limits = Cookies(identify, store, signer), Limits(bounds)
    parts: dict[str, Any] = {
        "identify": identify, "upstream": upstream, "contract": contract, "limits": limits
    }  # fmt: skip
    http = await serve_http("127.0.0.1", 0, more_pages=more, cookies=cookies, **parts)
    edge = await serve_edge("127.0.0.1", 0, **parts)
    found = Doors(f"http://127.0.0.1:{http.port}", f"127.0.0.1:{edge.port}")
    yield found
    await found.client.aclose()
    await found.channel.close()
    await edge.stop(1)
    await http.stop()
    await upstream.close()
