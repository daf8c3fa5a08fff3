"""An organization that was really founded, and its people really signed in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest_asyncio

from chassis.call import new_id
from gateway.found import found
from gateway.identify import Identifier
from tests.platform import REPEATED, Platform, Running

if TYPE_CHECKING:
    from tests.access.doors import Doors

PASSWORD = "tall grass by the river"


@dataclass(frozen=True)
class Person:
    """Somebody signed in: `await person.GetMe()`, as the gateway would pass the call on."""

    company: Company
    name: str
    email: str
    sign_in: Any

    def __getattr__(self, method: str) -> Any:
        if not method[:1].isupper():
            raise AttributeError(method)

        async def call(**fields: Any) -> Any:
            return await self.company.call(method, self.sign_in.access_token, **fields)

        return call


@dataclass(frozen=True)
class Company:
    """One organization of the access service under test."""

    access: Running
    identify: Identifier
    name: str  # "organizations/…"
    display_name: str
    administrator_email: str

    async def sign_in(
        self, email: str, password: str = PASSWORD, peer: str = "192.0.2.1", **fields: Any
    ) -> Any:
        """Tokens for an e-mail and a password."""
        method = self.access.method("CreateSession", **{"x-internal-peer": peer, "x-internal-agent": "tests"})
        return await method(email=email, password=password, **fields)

    async def call(self, method: str, credential: str, /, *, peer: str = "192.0.2.1", **fields: Any) -> Any:
        """A method with a bearer credential, identified anew."""
        self.identify.forget()
        who = await self.identify(f"Bearer {credential}", peer)
        asked = self.access.method(method, who.token, **{"x-internal-peer": peer})
        return await self._once(method, asked, fields)

    async def _once(self, method: str, asked: Any, fields: dict[str, Any]) -> Any:
        """The answer; the first of a method that changes something is asked for again."""
        name, known = f"access.{method}", self.access.request_of(method).DESCRIPTOR.fields_by_name
        if name in REPEATED or "request_id" not in known or fields.keys() & {"request_id", "validate_only"}:
            return await asked(**fields)
        fields = {**fields, "request_id": new_id()}
        answer = await asked(**fields)
        assert await asked(**fields) == answer, f"{method} asked twice answers differently"
        REPEATED.add(name)
        return answer

    async def complete(self, challenge: str, code: str, peer: str = "192.0.2.1", **fields: Any) -> Any:
        """Tokens for a challenge and a code."""
        method = self.access.method("CompleteSession", **{"x-internal-peer": peer})
        return await method(challenge=challenge, code=code, **fields)

    @property
    def tenant(self) -> str:
        """Its id."""
        return self.name.removeprefix("organizations/")

    async def administrator(self) -> Person:
        """The first administrator, signed in."""
        sign_in = await self.sign_in(self.administrator_email)
        return Person(self, sign_in.user.name, self.administrator_email, sign_in)

    async def person(self, *roles: str, team: str = "") -> Person:
        """A new person with these roles: invited, activated, signed in."""
        boss, email = await self.administrator(), f"{new_id()}@example.com"
        named = [role if "/" in role else f"roles/{role}" for role in roles]
        wanted = {"display_name": "Someone", "email": email, "roles": named, "team": team}
        user = await boss.CreateUser(user=wanted)
        activate = self.access.method("ActivateUser")
        await activate(invitation_code=user.invitation_code, password=PASSWORD)
        return Person(self, user.name, email, await self.sign_in(email))


@pytest_asyncio.fixture
async def company(access: Running) -> Company:
    """A fresh organization."""
    return await make_company(access)


async def make_company(access: Running, email: str = "") -> Company:
    """An organization founded as the command line does it."""
    name, email = f"Company {new_id()}", email or f"{new_id()}@example.com"
    made = await found(
        access.runtime.settings, display_name=name, email=email, password=PASSWORD, locale="zh-CN",
        time_zone="Asia/Shanghai", currency="CNY",
    )  # fmt: skip
    identify = Identifier(access.runtime.store, access.runtime.signer, trail=access.runtime.trail)
    return Company(access, identify, made["organization"], name, email)


@pytest_asyncio.fixture(scope="session")
async def doors(access: Running, customer: Running) -> AsyncIterator[Doors]:
    """The gateway's two ports before the real access and customer services."""
    from tests.access.doors import opened

    async with opened(access, customer) as found:
        yield found


@pytest_asyncio.fixture(scope="session")
async def fellows(platform: Platform) -> Any:
    """The organization of the matrix; made once."""
    from tests.access.matrix.company import gather_fellows

    return await gather_fellows(platform)
