"""Who is noisy waits behind itself: organizations take turns once places are rare."""

from __future__ import annotations

import asyncio

import pytest

from gateway.limits import Exceeded, Limits, LimitSettings
from gateway.turns import Turns


async def waiting(turns: Turns, who: str, order: list[str]) -> asyncio.Task:
    async def hold():
        await turns.take(who, 60)
        order.append(who)

    task = asyncio.create_task(hold())
    await asyncio.sleep(0)
    return task


async def test_the_quiet_one_is_next_however_many_the_noisy_one_has_waiting():
    turns, order = Turns(4), []
    for _ in range(3):
        await turns.take("noisy", 1)
    crowd = [await waiting(turns, "noisy", order) for _ in range(50)]
    quiet = [await waiting(turns, "quiet", order) for _ in range(2)]
    assert order == ["quiet"]  # a quarter is never the noisy one's
    for _ in range(4):
        turns.give("noisy")
        await asyncio.sleep(0)
    assert order[:3] == ["quiet", "noisy", "quiet"]
    for task in (*crowd, *quiet):
        task.cancel()


async def test_one_who_leaves_the_line_takes_no_place():
    turns, order = Turns(1), []
    await turns.take("ann", 1)
    for who in ("bob", "bob", "cid"):
        task = await waiting(turns, who, order)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    turns.give("ann")
    await asyncio.wait_for(turns.take("dan", 1), 20)
    turns.give("dan")
    assert (turns.free, turns._held, dict(turns._waiting)) == (1, {}, {})


async def test_one_who_is_let_in_while_leaving_gives_the_place_on():
    turns, order = Turns(1), []
    await turns.take("ann", 1)
    leaving, next_one = await waiting(turns, "bob", order), await waiting(turns, "cid", order)
    turns.give("ann")  # bob's turn is there, but bob is cancelled before he sees it
    leaving.cancel()
    await asyncio.wait({leaving, next_one}, timeout=5)
    assert order == ["cid"]
    turns.give("cid")
    assert (turns.free, turns._held) == (1, {})


async def test_a_crowd_that_leaves_at_once_leaves_no_place_unused():
    turns, order = Turns(8), []
    for _ in range(6):
        await turns.take("ann", 1)
    crowd = [await waiting(turns, "ann", order) for _ in range(40)]
    stayed = [await waiting(turns, "ann", order) for _ in range(6)]
    for task in crowd:
        task.cancel()
    for _ in range(6):
        turns.give("ann")  # before any of the crowd has taken itself out of the line
    await asyncio.wait({*crowd, *stayed}, timeout=5)
    assert order == ["ann"] * 6
    assert (turns.free, turns._held, dict(turns._waiting)) == (2, {"ann": 6}, {})


async def test_who_waits_too_long_is_told_to_come_back():
    limits = Limits(LimitSettings(at_once=1))
    await limits.take_turn("ann", 1)
    with pytest.raises(Exceeded) as no:
        await limits.take_turn("bob", 0.01)
    assert no.value.retry_after == 1.0
    limits.give_turn("ann")
    await limits.take_turn("bob", 0.01)
