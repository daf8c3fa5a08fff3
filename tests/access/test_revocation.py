"""What ends at one place is over everywhere within five seconds: a hundred of a hundred, by our own clock.

The caches are the real ones of a gateway, as is the database; time passes when the test says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from tradewind.type.v1 import feed_pb2

from chassis.kernel.refusals import Refused
from gateway.identify import Identifier, Identity
from tests.access.conftest import PASSWORD, Company, Person
from tests.access.doors import Doors
from tests.access.test_doors import PATIENCE
from tests.access.test_sign_in import shift
from tests.platform import settle

EACH, STEP, LONGEST = 20, 0.25, 5.0
READ = {"display_name": "reader", "permissions": ["customers.read", "teams.read"]}


class Clock:
    """Seconds that pass when they are told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Gateway:
    """The identifying part of a gateway with its caches, by a clock of ours."""

    identify: Identifier
    clock: Clock

    async def sees(self, credential: str) -> Identity | None:
        """Who the gateway takes the credential's bearer for."""
        try:
            return await self.identify(f"Bearer {credential}", "192.0.2.1")
        except Refused as no:
            assert no.reason == "UNAUTHENTICATED"
            return None

    async def may(self, credential: str, permission: str) -> bool:
        """Whether who comes with it is let in with this permission."""
        who = await self.sees(credential)
        return who is not None and permission in who.permissions

    async def seconds_until_over(self, credential: str, permission: str) -> float:
        """How long somebody who calls all the time still gets through."""
        began = self.clock.now
        while await self.may(credential, permission):
            self.clock.now += STEP
            assert self.clock.now - began <= 60
        return self.clock.now - began


@pytest.fixture
def gateway(company: Company) -> Gateway:
    runtime, clock = company.access.runtime, Clock()
    return Gateway(Identifier(runtime.store, runtime.signer, clock), clock)


async def sessions_of(person: Person, number: int) -> list[str]:
    """Access tokens of a person signed in so often."""
    return [(await person.company.sign_in(person.email)).access_token for _ in range(number)]


async def disable(company: Company) -> list[tuple[str, Callable[[], Awaitable[Any]]]]:
    boss, rep = await company.administrator(), await company.person("sales_rep")
    return [(token, lambda: boss.DisableUser(name=rep.name)) for token in await sessions_of(rep, EACH)]


async def take_role(company: Company) -> list[tuple[str, Callable[[], Awaitable[Any]]]]:
    boss, rep = await company.administrator(), await company.person("sales_rep")
    user = {"name": rep.name, "roles": ["roles/warehouse"]}
    half = [(token, lambda: boss.UpdateUser(user=user)) for token in await sessions_of(rep, EACH // 2)]
    grants = [{"permission": "leads.write", "scope": "OWN"}]
    role = await boss.CreateRole(role={"display_name": "Leads", "grants": grants})
    less = {"name": role.name, "grants": [{"permission": "leads.read", "scope": "OWN"}]}
    clerk = await company.person(role.name)
    return half + [
        (token, lambda: boss.UpdateRole(role=less)) for token in await sessions_of(clerk, EACH // 2)
    ]


async def change_password(company: Company) -> list[tuple[str, Callable[[], Awaitable[Any]]]]:
    rep = await company.person("sales_rep")
    change = lambda: rep.ChangePassword(password=PASSWORD, new_password="another tall password 7")  # noqa: E731
    return [(token, change) for token in await sessions_of(rep, EACH)]


async def end_session(company: Company) -> list[tuple[str, Callable[[], Awaitable[Any]]]]:
    rep, found = await company.person("sales_rep"), []
    for _ in range(EACH):
        signed_in = await company.sign_in(rep.email)
        name = signed_in.session.name
        found.append((signed_in.access_token, lambda name=name: rep.RevokeSession(name=name)))
    return found


async def revoke_key(company: Company) -> list[tuple[str, Callable[[], Awaitable[Any]]]]:
    rep, found = await company.person("sales_rep"), []
    for _ in range(EACH):
        key = await rep.CreateApiKey(api_key=READ)
        found.append((key.key, lambda name=key.name: rep.RevokeApiKey(name=name)))
    return found


HOW = {
    disable: "customers.read", take_role: "leads.write", change_password: "customers.read",
    end_session: "customers.read", revoke_key: "customers.read",
}  # fmt: skip


@pytest.mark.req("X-09")
@pytest.mark.parametrize("how", HOW, ids=lambda how: how.__name__)
async def test_it_is_over_within_five_seconds(company: Company, gateway: Gateway, how: Any) -> None:
    found, permission, took = await how(company), HOW[how], []
    assert len(found) == EACH
    for n, (token, _) in enumerate(found):
        gateway.clock.now += STEP * n  # each is remembered since another moment
        assert await gateway.may(token, permission)
    for _, end in found if how in (end_session, revoke_key) else found[:: EACH // 2]:
        with contextlib.suppress(grpc.aio.AioRpcError):  # disabled once is disabled
            await end()
    for token, _ in found:
        began = gateway.clock.now
        took.append(await gateway.seconds_until_over(token, permission))
        gateway.clock.now = began  # all of them wait from the same moment
    assert max(took) <= LONGEST, took


async def test_a_stream_ends_at_both_doors_when_its_caller_is_out(doors: Doors, company: Company) -> None:
    boss = await company.administrator()
    keys = [
        await boss.CreateApiKey(api_key={"display_name": str(n), "permissions": ["events.read"]})
        for n in range(2)
    ]
    headers = {"Authorization": f"Bearer {keys[0].key}", "Accept": "text/event-stream"}

    async def over_http() -> bool:
        async with doors.client.stream(
            "GET", "/v1/events/access", headers=headers, timeout=PATIENCE
        ) as answer:
            assert answer.status_code == 200
            parts: AsyncIterator[str] = answer.aiter_lines()
            await anext(parts)
            begun.release()
            async for _ in parts:
                pass
        return True

    async def over_grpc() -> bool:
        call = doors.channel.unary_stream(
            "/tradewind.access.v1.EventsService/WatchEvents",
            feed_pb2.WatchEventsRequest.SerializeToString, feed_pb2.FeedEvent.FromString,
        )(feed_pb2.WatchEventsRequest(), metadata=[("authorization", f"Bearer {keys[1].key}")])  # fmt: skip
        try:
            async for _ in call:
                begun.release()
        except grpc.aio.AioRpcError as ended:
            return ended.code() is grpc.StatusCode.UNAVAILABLE
        return True

    await settle(company.access)  # so that there is something to stream
    begun = asyncio.Semaphore(0)
    streams = [asyncio.create_task(over_http()), asyncio.create_task(over_grpc())]
    async with asyncio.timeout(PATIENCE):
        for _ in streams:
            await begun.acquire()
    await asyncio.sleep(1)
    assert not any(stream.done() for stream in streams)
    for key in keys:
        await boss.RevokeApiKey(name=key.name)
    assert await asyncio.wait_for(asyncio.gather(*streams), PATIENCE) == [True, True]


async def test_a_principal_token_lives_no_longer_than_its_minute_in_a_service(company: Company) -> None:
    boss = await company.administrator()
    who = await company.identify(f"Bearer {boss.sign_in.access_token}", "192.0.2.1")
    claims = company.access.runtime.validator.verify(who.token)
    assert claims.expires - time.time() <= 60
    await shift(company.access, company.tenant, "UPDATE sessions SET state = 'REVOKED'")
    company.identify.forget()
    with pytest.raises(Refused, match="UNAUTHENTICATED"):
        await company.identify(f"Bearer {boss.sign_in.access_token}", "192.0.2.1")
