"""Refresh tokens raced: one family, one successor for who asks twice, and an end for what somebody copied.

200 races; `TRADEWIND_ATTACKS=long` runs a thousand. See tests/README.md.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tradewind.access.v1 import session_pb2 as api

from chassis.call import Call
from chassis.kernel.refusals import Refused
from gateway.domain.session import GRACE, Kind, Session, State
from gateway.domain.user import User
from gateway.rpc.session import SessionRpc, start_session
from tests.access.conftest import Company

RACES = 1000 if os.environ.get("TRADEWIND_ATTACKS") == "long" else 200
AT_ONCE = 4
LATER = GRACE + timedelta(seconds=1)


@dataclass
class Family:
    """One session of somebody, and its core without the wire."""

    rpc: SessionRpc
    tenant: str
    user: str
    name: str = ""

    async def begin(self) -> str:
        """Signed in without a password; the first refresh token."""
        async with self.rpc.store.begin(Call(tenant=self.tenant, user=self.user, peer="192.0.2.1")) as tx:
            user = await tx.get(User, self.user, lock=True)
            session = await start_session(tx, user, "race", Kind.TOKENS)
            answer = self.rpc._sign_in(tx, session, user)
        self.rpc.show_tokens(answer)
        self.name = answer.session.name
        return answer.refresh_token

    async def refresh(self, token: str, late: timedelta = timedelta(0)) -> api.SignIn | None:
        """The next pair, or None."""
        call = Call(tenant="", user="", peer="192.0.2.1", now=datetime.now(UTC) + late)
        try:
            answer = await self.rpc.RefreshSession(api.RefreshSessionRequest(refresh_token=token), call)
        except Refused as no:
            assert no.reason == "SESSION_ENDED"
            return None
        self.rpc.show_tokens(answer)
        return answer

    async def kept(self) -> Session:
        """The session as it is in the database."""
        async with self.rpc.store.begin(Call(tenant=self.tenant, user="services/access")) as tx:
            return await tx.get(Session, self.name)


async def twice(family: Family, token: str) -> str:
    """Two tabs refresh at once: both hear the same; the refresh token that follows."""
    answers = await asyncio.gather(family.refresh(token), family.refresh(token))
    pairs = {(a.access_token, a.refresh_token, a.session.generation) for a in answers if a}
    assert len(pairs) == 1 and all(answers)
    return pairs.pop()[1]


async def grandparent(family: Family, first: str) -> None:
    """A token from before the last one comes back, while its owner goes on."""
    second = await twice(family, first)
    third = await twice(family, second)
    stolen, _ = await asyncio.gather(family.refresh(first), family.refresh(third))
    assert stolen is None


async def thief_and_owner(family: Family, first: str) -> None:
    """Both use the same token at once and hold the same successor; who is later with it gives them away."""
    second = await twice(family, first)
    owner = await family.refresh(second)
    assert owner and (await family.refresh(second, late=LATER)) is None


async def both_late(family: Family, first: str) -> None:
    """A used token comes back twice at once, long after."""
    await twice(family, first)
    late = await asyncio.gather(*(family.refresh(first, late=LATER) for _ in range(2)))
    assert late == [None, None]


@pytest.mark.req("SEC-01")
async def test_a_used_token_ends_the_family_in_every_race(company: Company) -> None:
    boss = await company.administrator()
    rpc: Any = next(rpc for rpc in company.access.runtime.rpcs if isinstance(rpc, SessionRpc))
    ended = 0

    async def race(n: int) -> None:
        nonlocal ended
        family = Family(rpc, company.tenant, boss.name)
        first = await family.begin()
        if n % 10 == 0:  # nothing was stolen: nothing ends
            third = await twice(family, await twice(family, first))
            assert (await family.kept()).state is State.ACTIVE
            assert (await family.refresh(third, late=LATER)) is not None
            assert (await family.refresh(first)) is None
        else:
            await (grandparent, thief_and_owner, both_late)[n % 3](family, first)
        session = await family.kept()
        ended += (session.state, session.end_reason) == (State.REVOKED, "token reused")
        assert session.generation <= 4

    for start in range(0, RACES, AT_ONCE):
        await asyncio.gather(*(race(n) for n in range(start, min(RACES, start + AT_ONCE))))
    assert ended == RACES
