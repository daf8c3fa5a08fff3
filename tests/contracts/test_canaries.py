"""What one organization knows is told to nobody else: in no answer, refusal, event or line of a log."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from chassis.call import new_id
from tests.canaries import CANARIES, Canaries, organization_of
from tests.platform import Platform, Running


async def test_a_word_told_to_somebody_else_is_noticed(company: Any, customer: Running) -> None:
    names, at = company
    told = (await at["customer"].GetCustomer(name=names["customers"])).SerializeToString()
    ((word, home),) = CANARIES.homes.items()
    assert word in told and organization_of(at["customer"].token) == home
    watch = Canaries({word: home})
    watch.look(told, home, "the owner")
    assert not watch.found
    watch.look(told, new_id(), "a stranger")
    watch.look(told, "", "nobody")
    assert len(watch.found) == 2


def test_a_word_in_a_log_line_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    watch = Canaries()
    watch.plant("Canarybird", new_id())
    log = logging.getLogger("tradewind.trial")
    log.warning("sang", extra={"facts": {"who": "a Canarybird"}})
    log.warning("silence")
    watch.close()
    assert len(watch.found) == 1


async def test_a_stranger_who_watches_events_hears_none_of_another_organization(
    company: Any, platform: Platform
) -> None:
    stranger = (await platform.service("customer")).as_("administrator")
    watching = stranger.WatchEvents(after_position=0, until_now=True)
    assert [event async for event in watching] == []


@pytest.mark.last
def test_nobody_was_told_the_words_of_another_organization(watched_suite: None) -> None:
    assert CANARIES.looked > 10_000
    assert CANARIES.found == []
