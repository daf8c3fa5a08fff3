"""Forged and damaged tokens at every service and at both doors: nobody comes in, nothing is fetched."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import pytest_asyncio
from tradewind.access.v1 import session_pb2

from chassis.call import new_id
from chassis.identity import Signer
from chassis.reasons import reason_of
from gateway.bounds import LimitSettings, Rate
from tests.access.conftest import Company, Person
from tests.access.doors import ME, Doors, opened
from tests.platform import Platform, Running, refused
from tests.tokens import FORGED, Forger

SERVICES = ("access", "customer", "opportunity", "contract", "inventory", "analytics")


@dataclass
class Trap:
    """A listener where a validator would look that follows addresses in tokens; what came is counted."""

    url: str
    visits: int = 0


@pytest_asyncio.fixture(scope="module")
async def trap() -> AsyncIterator[Trap]:
    def visited(_reader: Any, writer: asyncio.StreamWriter) -> None:
        found.visits += 1
        writer.close()

    server = await asyncio.start_server(visited, "127.0.0.1", 0)
    found = Trap(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    yield found
    server.close()


@pytest.fixture(scope="module")
def forger(platform: Platform, trap: Trap) -> Forger:
    """With the true keys of the services under test."""
    gateway, service = (Signer.load(platform.keys, name).key for name in ("gateway", "customer"))
    return Forger(gateway, service, new_id(), trap.url)


def plain_methods(running: Running) -> list[str]:
    """The methods of a service that answer once and need a caller."""
    policies = [policy for rpc in running.runtime.rpcs for policy, _ in rpc.handlers().values()]
    return sorted(
        policy.path.rpartition("/")[2]
        for policy in policies
        if not policy.streams and policy.permission != "public"
    )


async def said(running: Running, method: str, token: str) -> str:
    """Why a call with this token is refused, "" when it is not."""
    try:
        await running.method(method, token)()
    except grpc.aio.AioRpcError as no:
        reason, _ = reason_of(no)
        return reason if no.code() is grpc.StatusCode.UNAUTHENTICATED else f"{no.code()} {reason}"
    return ""


@pytest.mark.parametrize("name", SERVICES)
async def test_no_service_takes_a_forged_token(
    platform: Platform, forger: Forger, trap: Trap, name: str
) -> None:
    running = await platform.service(name)
    methods = plain_methods(running)
    assert len(FORGED) >= 60
    for at, (how, forge) in enumerate(FORGED.items()):
        method = methods[at % len(methods)]  # each method meets some of them
        assert await said(running, method, forge(forger)) == "UNAUTHENTICATED", (how, method)
    assert trap.visits == 0
    # The same hand, telling the truth, is believed: the forgeries failed for what was wrong with them.
    assert "UNAUTHENTICATED" not in await said(running, methods[0], forger.signed())


async def test_the_trap_sees_who_comes(trap: Trap) -> None:
    """What was asserted of it above could fail."""
    before = trap.visits
    client = http.client.HTTPConnection(trap.url.removeprefix("http://"), timeout=5)
    with pytest.raises((http.client.HTTPException, OSError)):
        await asyncio.to_thread(lambda: (client.request("GET", "/jwks.json"), client.getresponse()))
    assert trap.visits == before + 1
    trap.visits = before


@pytest_asyncio.fixture(scope="module")
async def doors(access: Running) -> AsyncIterator[Doors]:
    """Doors at which a stranger may try as often as this test does."""
    patient = LimitSettings(stranger=Rate("stranger", 1e6, 10**6))
    async with opened(access, bounds=patient) as found:
        yield found


async def at_both(doors: Doors, token: str) -> set[str]:
    """What the two doors say to a bearer of this token: reasons, or "in"."""
    answer = await doors.client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    found = {"in" if answer.status_code == 200 else answer.json()["reason"]}
    call = doors.channel.unary_unary(
        ME, session_pb2.GetMeRequest.SerializeToString, session_pb2.Me.FromString
    )
    try:
        await call(session_pb2.GetMeRequest(), timeout=10, metadata=[("authorization", f"Bearer {token}")])
        found.add("in")
    except grpc.aio.AioRpcError as no:
        found.add(reason_of(no)[0])
    return found


async def test_neither_door_takes_a_token_of_the_house_forged_or_true(
    doors: Doors, forger: Forger, trap: Trap
) -> None:
    for how, forge in {**FORGED, "the truth": lambda f: f.signed()}.items():
        assert await at_both(doors, forge(forger)) == {"UNAUTHENTICATED"}, how
    assert trap.visits == 0


Damage = Callable[[str], str]
DAMAGED: dict[str, Damage] = {
    "cut": lambda token: token[:-1],
    "longer": lambda token: token + "A",
    "a letter changed": lambda token: token[:20] + ("A" if token[20] != "A" else "B") + token[21:],
    "in capitals": lambda token: token.upper(),
    "without its kind": lambda token: token[4:],
    "as a key": lambda token: "twk_" + token[4:],
    "as a refresh token": lambda token: "twr_" + token[4:],
    "as a cookie": lambda token: "twb_" + token[4:],
    "as a token of a key": lambda token: "twt_" + token[4:],
    "padded": lambda token: token + "=",
    "twice": lambda token: f"{token} {token}",
    "and a path": lambda token: f"{token}/../x",
    "and SQL": lambda token: f"{token}' OR '1'='1",
    "and a wildcard": lambda token: token[:-1] + "%",
    "without an end": lambda token: token * 100,
}  # fmt: skip


@pytest.mark.parametrize("what", ["access token", "key"])
async def test_neither_door_takes_a_damaged_credential(doors: Doors, company: Company, what: str) -> None:
    boss = await company.administrator()
    token = boss.sign_in.access_token
    if what == "key":
        token = (await boss.CreateApiKey(api_key={"display_name": "k", "permissions": ["*"]})).key
    for how, damage in DAMAGED.items():
        if (damaged := damage(token)) != token:
            assert await at_both(doors, damaged) == {"UNAUTHENTICATED"}, how
    assert await at_both(doors, token) == {"in"}


async def test_no_credential_stands_for_another_or_outlives_its_session(
    doors: Doors, company: Company
) -> None:
    boss: Person = await company.administrator()
    invited = await boss.CreateUser(user={"display_name": "Mei", "email": f"{new_id()}@example.com"})
    for how, token in {
        "a refresh token": boss.sign_in.refresh_token, "an invitation": invited.invitation_code,
    }.items():  # fmt: skip
        assert await at_both(doors, token) == {"UNAUTHENTICATED"}, how
    await company.call("RevokeSession", boss.sign_in.access_token, name=boss.sign_in.session.name)
    assert await at_both(doors, boss.sign_in.access_token) == {"UNAUTHENTICATED"}
    refresh = company.access.method("RefreshSession")
    await refused(refresh(refresh_token=boss.sign_in.refresh_token), "SESSION_ENDED")
