"""The laws of keys: for oneself or a service account, within a year, ended once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chassis.kernel.refusals import Refused
from gateway.domain.api_key import LONGEST, USUAL, ApiKey
from gateway.domain.user import Kind, User

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LI = User(id="li", display_name="李雷", email="li@example.com", team="teams/east")
BOT = User(id="bot", display_name="Importer", kind=Kind.SERVICE_ACCOUNT)
KEY = ApiKey(id="k", display_name="import", permissions=("orders.*",))


def test_it_is_good_for_ninety_days_unless_it_says_otherwise() -> None:
    issued = KEY.issued(LI, by="users/li", at=NOW)
    assert (issued.owner, issued.team, issued.expire_time) == ("users/li", "teams/east", NOW + USUAL)
    assert issued.good(NOW) and not issued.good(NOW + USUAL)


@pytest.mark.parametrize("end", [NOW, NOW - timedelta(days=1), NOW + LONGEST + timedelta(seconds=1)])
def test_its_end_is_neither_past_nor_far(end: datetime) -> None:
    with pytest.raises(Refused, match="expire_time"):
        replace(KEY, expire_time=end).issued(LI, by="users/li", at=NOW)


def test_nobody_makes_a_key_that_acts_for_another_person() -> None:
    with pytest.raises(Refused, match="KEY_FOR_ANOTHER"):
        KEY.issued(LI, by="users/boss", at=NOW)
    assert KEY.issued(BOT, by="users/boss", at=NOW).owner == "users/bot"


def test_it_ends_once() -> None:
    ended = KEY.issued(LI, by="users/li", at=NOW).revoke()
    assert not ended.good(NOW)
    with pytest.raises(Refused, match="STATE_FORBIDS"):
        ended.revoke()


@pytest.mark.parametrize("field", ["display_name", "permissions"])
def test_it_is_for_something_and_may_do_something(field: str) -> None:
    with pytest.raises(Refused, match=field):
        replace(KEY, **{field: "" if field == "display_name" else ()}).check()
