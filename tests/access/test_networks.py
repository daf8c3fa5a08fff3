"""From where an organization is entered: nowhere but its own networks, by whatever credential and door."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
import pytest_asyncio
from tradewind.access.v1 import session_pb2

from chassis.kernel.refusals import Refused
from chassis.reasons import reason_of
from gateway.bounds import LimitSettings
from gateway.domain.organization import Organization, within
from tests.access.authenticator import challenge_of, enrolled
from tests.access.conftest import Company
from tests.access.doors import ME, Doors, opened
from tests.access.test_doors import PATIENCE
from tests.platform import Running, refused

OFFICE, OUTSIDE = "192.0.2.1", "203.0.113.9"
ACME = Organization(id="acme", display_name="Acme")


@pytest.mark.parametrize(
    ("networks", "address", "inside"),
    [
        (["192.0.2.0/24"], "192.0.2.255", True),
        (["192.0.2.0/24"], "192.0.3.0", False),
        (["198.51.100.7"], "198.51.100.7", True),
        (["2001:db8::/32"], "2001:db8:ffff::1", True),
        (["2001:db8::/32"], "2001:db9::1", False),
        (["2001:db8::/32", "192.0.2.0/24"], "::ffff:192.0.2.9", True),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["0.0.0.0/0"], "2001:db8::1", False),
        (["0.0.0.0/0", "::/0"], "", False),
    ],
)
def test_an_address_lies_in_a_network_or_does_not(networks: list[str], address: str, inside: bool) -> None:
    assert within(replace(ACME, allowed_networks=tuple(networks)).networks(), address) is inside


@pytest.mark.parametrize("text", ["192.0.2.1/24", "192.0.2.0/33", "example.com", "192.0.2", "2001:db8::/129"])
def test_what_is_no_network_is_refused_by_its_place(text: str) -> None:
    with pytest.raises(Refused) as no:
        replace(ACME, allowed_networks=("::/0", text)).check()
    assert no.value.facts["field"] == "allowed_networks[1]"


@pytest.mark.req("X-63")
async def test_nobody_locks_themselves_out(company: Company) -> None:
    boss = await company.administrator()

    async def allow(*networks: str, **more: Any) -> Any:
        wanted = {"name": company.name, "allowed_networks": networks}
        return await boss.UpdateOrganization(
            organization=wanted, update_mask={"paths": ["allowed_networks"]}, **more
        )

    facts = await refused(allow("198.51.100.0/24"), "LOCKS_OUT_CALLER")
    assert facts == {"field": "organization.allowed_networks", "address": OFFICE}
    facts = await refused(allow("198.51.100.0/99"), "FIELD_INVALID")
    assert facts["field"] == "organization.allowed_networks[0]"
    assert list((await allow("198.51.100.0/24", f"{OFFICE}/32")).allowed_networks)
    boss.company.identify.forget()
    with pytest.raises(Refused, match="NETWORK_REFUSED"):
        await company.call("GetMe", boss.sign_in.access_token, peer=OUTSIDE)
    assert not (await allow()).allowed_networks
    assert await company.call("GetMe", boss.sign_in.access_token, peer=OUTSIDE)


@pytest.mark.req("X-63")
async def test_nobody_signs_in_or_stays_signed_in_from_elsewhere(company: Company) -> None:
    boss = await company.administrator()
    app = await enrolled(rep := await company.person("sales_rep"))
    waiting = await challenge_of(rep)
    await boss.UpdateOrganization(organization={"name": company.name, "allowed_networks": [OFFICE]})
    await refused(company.sign_in(company.administrator_email, peer=OUTSIDE), "NETWORK_REFUSED")
    # Only who knows the password hears of it.
    wrong = company.sign_in(company.administrator_email, "wrong wrong wrong", peer=OUTSIDE)
    await refused(wrong, "SIGN_IN_REFUSED")
    await refused(company.complete(waiting, await app.again(), peer=OUTSIDE), "NETWORK_REFUSED")
    refresh = company.access.method("RefreshSession", **{"x-internal-peer": OUTSIDE})
    await refused(refresh(refresh_token=boss.sign_in.refresh_token), "NETWORK_REFUSED")
    assert (await company.complete(waiting, await app.again(), peer=OFFICE)).access_token
    assert (await company.sign_in(company.administrator_email, peer=OFFICE)).access_token


@pytest_asyncio.fixture
async def proxied(access: Running) -> AsyncIterator[Doors]:
    """Doors behind a proxy that they trust, so that a request may come from anywhere."""
    bounds = LimitSettings.from_env({"TRADEWIND_TRUSTED_PROXIES": "127.0.0.1/32"})
    async with opened(access, bounds=bounds) as found:
        yield found


@pytest.mark.req("X-63")
async def test_it_holds_at_both_doors_for_sessions_and_keys_within_five_seconds(
    proxied: Doors, company: Company
) -> None:
    boss = await company.administrator()
    key = await boss.CreateApiKey(api_key={"display_name": "erp", "permissions": ["users.read"]})
    credentials = boss.sign_in.access_token, key.key

    async def over_http(credential: str, address: str) -> str:
        status, said = await proxied.ask("GET", "/v1/me", credential, **{"X-Forwarded-For": address})
        return said["reason"] if status != 200 else "OK"

    async def over_grpc(credential: str, address: str) -> str:
        call = proxied.channel.unary_unary(
            ME, session_pb2.GetMeRequest.SerializeToString, session_pb2.Me.FromString
        )
        told = [("authorization", f"Bearer {credential}"), ("x-forwarded-for", address)]
        try:
            await call(session_pb2.GetMeRequest(), timeout=10, metadata=told)
        except grpc.aio.AioRpcError as no:
            return reason_of(no)[0]
        return "OK"

    asked = [(way, credential) for way in (over_http, over_grpc) for credential in credentials]
    assert {await way(credential, OUTSIDE) for way, credential in asked} == {"OK"}
    await boss.UpdateOrganization(organization={"name": company.name, "allowed_networks": ["192.0.2.0/24"]})
    end, seen = time.monotonic() + PATIENCE, {"OK"}
    while "OK" in seen and time.monotonic() < end:
        await asyncio.sleep(0.2)
        seen = {await way(credential, OUTSIDE) for way, credential in asked}
    assert seen == {"NETWORK_REFUSED"}
    assert {await way(credential, OFFICE) for way, credential in asked} == {"OK"}
