"""Nobody gets more than their part, and nobody else notices."""

from __future__ import annotations

import httpx

from gateway.bounds import LimitSettings
from tests.fuzz import abuse
from tests.fuzz.target import Target
from tests.gateway.notes import stage


async def test_a_quiet_organization_is_served_beside_a_noisy_one(fuzzed: Target) -> None:
    failed, said = await abuse.noisy(fuzzed, per_second=5, seconds=3)
    print(said)
    assert failed == 0, said


async def test_who_drips_is_let_go_and_others_are_served() -> None:
    async with stage(LimitSettings(head_seconds=0.3)) as notes:
        held = await abuse.dripping(notes.address, count=100, drips=20)
        assert held == 0
        assert (await notes.http.get("/healthz")).status_code == 200


async def test_hundreds_who_say_nothing_hinder_nobody(fuzzed: Target) -> None:
    lines = await abuse.idle(f"127.0.0.1:{fuzzed.edge_port}", 300)
    lines += await abuse.idle(fuzzed.http.removeprefix("http://"), 300)
    async with httpx.AsyncClient(timeout=60) as client:
        assert (await client.get(f"{fuzzed.http}/healthz")).status_code == 200
    assert (await abuse.greedy(fuzzed))["a page of 2^31-1"] == "OK"
    for line in lines:
        line.close()


async def test_who_asks_for_far_too_much_gets_a_page_or_a_refusal(fuzzed: Target) -> None:
    assert await abuse.greedy(fuzzed) == {
        "a page of 2^31-1": "OK", "a page of -1": "INVALID_ARGUMENT",
        "300,000 elements": "INVALID_ARGUMENT",
        "20 KiB of metadata": "RESOURCE_EXHAUSTED", "5 MiB": "RESOURCE_EXHAUSTED",
    }  # fmt: skip
