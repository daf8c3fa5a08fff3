"""A browser that goes to an identity provider and back, and who is at home there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx

from chassis.call import new_id
from gateway.providers import challenge_of, entrance, way_back
from tests.access.conftest import Person
from tests.access.doors import ORIGIN, Doors
from tests.access.provider import CLIENT, SECRET, Provider

VERIFIER = "v" * 43
COOKIE = "__Host-tradewind-sign-in"
DOMAIN = "corp.example"


@dataclass
class Browser:
    """A browser that is sent to and fro, as far as a test lets it."""

    doors: Doors
    provider: str  # the id of the identity provider at Tradewind
    cookies: dict[str, str] = field(default_factory=dict)
    client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=20))

    async def ask(self, url: str) -> httpx.Response:
        """GET, at the gateway with its cookies."""
        if url.startswith(ORIGIN):
            url = url.removeprefix(ORIGIN)
        if not url.startswith("/"):
            return await self.client.get(url)
        sent = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())} if self.cookies else {}
        answer = await self.doors.client.get(url, headers=sent)
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    async def away(self, home: str = "/start") -> str:
        """The address at the provider that a sign-in sends to."""
        query = urlencode({"returnTo": home, "challenge": challenge_of(VERIFIER)})
        answer = await self.ask(f"{entrance(self.provider)}?{query}")
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def granted(self) -> str:
        """The address at the gateway that the provider sends back to."""
        answer = await self.ask(await self.away())
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    async def home(self, url: str = "") -> tuple[str, str]:
        """("code" or "error", its value) with which the browser comes home."""
        answer = await self.ask(url or await self.granted())
        assert answer.status_code == 303, answer.text
        path, _, said = answer.headers["location"].partition("#")
        assert path == "/start"
        return said.partition("=")[0], said.partition("=")[2]

    async def signed_in(self) -> Any:
        """The tokens of somebody who comes in."""
        kind, code = await self.home()
        assert kind == "code", code
        return await redeemed(self.doors, code)


async def redeemed(doors: Doors, code: str, verifier: str = VERIFIER, **more: Any) -> Any:
    """What the code is exchanged for; a problem's reason when it is not."""
    status, said = await doors.ask(
        "POST", "/v1/sessions:redeem", body={"code": code, "verifier": verifier, **more}
    )
    return said if status == 200 else said["reason"]


def person(**claims: Any) -> dict[str, Any]:
    """Somebody new, as the provider knows them."""
    key = new_id()
    return {"sub": f"sub-{key}", "email": f"{key}@{DOMAIN}", "email_verified": True, "name": "李雷",
            "groups": ["sales"]} | claims  # fmt: skip


def trusting(provider: Provider, **more: Any) -> dict[str, Any]:
    """The record of an organization that trusts the provider."""
    return {
        "display_name": "Corp", "issuer": provider.issuer, "client_id": CLIENT, "client_secret": SECRET,
        "email_domains": [DOMAIN], "creates_users": True, "enabled": True, "role_claim": "groups",
        "role_mappings": [
            {"value": "sales", "role": "roles/sales_rep"}, {"value": "money", "role": "roles/finance"},
            {"value": "it", "role": "roles/administrator"},
        ],
    } | more  # fmt: skip


async def known(boss: Person, provider: Provider, **more: Any) -> str:
    """The id under which an organization trusts the provider, which knows where to send people back to."""
    made = await boss.CreateIdentityProvider(identity_provider=trusting(provider, **more))
    key = made.name.removeprefix("identityProviders/")
    provider.redirect_uris.add(ORIGIN + way_back(key))
    return key
