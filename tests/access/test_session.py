"""The laws of a session: one family of tokens, and a token used twice ends it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from chassis.kernel.refusals import Refused
from gateway.domain.session import ACCESS, GRACE, REFRESH, State, begin

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SESSION = begin("s", owner="users/li", team="teams/east", device="curl", network="192.0.2.1", at=NOW)
LATER = NOW + timedelta(minutes=9)


def test_it_lasts_as_long_as_its_tokens() -> None:
    assert SESSION.access_expire_time == NOW + ACCESS
    assert SESSION.good(NOW + REFRESH - timedelta(seconds=1))
    assert not SESSION.good(NOW + REFRESH)


def test_the_present_refresh_token_makes_the_next_pair() -> None:
    after = SESSION.refresh(1, at=LATER)
    assert after is not None
    assert (after.generation, after.rotate_time, after.expire_time) == (2, LATER, LATER + REFRESH)


def test_the_parent_gets_the_same_pair_for_ten_seconds_only() -> None:
    second = SESSION.refresh(1, at=LATER)
    assert second is not None
    assert second.refresh(1, at=LATER + GRACE) == second
    assert second.refresh(1, at=LATER + GRACE + timedelta(milliseconds=1)) is None


def test_an_older_token_never_gets_anything() -> None:
    third = SESSION.refresh(1, at=LATER).refresh(2, at=LATER)  # type: ignore[union-attr]
    assert third is not None and third.refresh(1, at=LATER) is None


@pytest.mark.parametrize("session", [SESSION.revoke("revoked"), SESSION])
def test_what_has_ended_is_not_refreshed(session: object) -> None:
    at = NOW + REFRESH if session is SESSION else NOW
    with pytest.raises(Refused, match="SESSION_ENDED"):
        session.refresh(1, at=at)  # type: ignore[attr-defined]


def test_it_ends_once_and_says_why() -> None:
    ended = SESSION.revoke("disabled")
    assert (ended.state, ended.end_reason) == (State.REVOKED, "disabled")
    with pytest.raises(Refused, match="STATE_FORBIDS"):
        ended.revoke("again")
