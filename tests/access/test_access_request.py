"""The laws of access requests: one thing, a reason, somebody else, and an end that is near."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from gateway.domain.access_request import LIFECYCLE, LONGEST, USUAL, AccessRequest, State
from tests.lifecycles import follows

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ASKED = AccessRequest(id="1", owner="users/rep", field="customers.tax_id", reason="A bank asks").asked(at=NOW)
BOSS: dict[str, Any] = {"by": "users/boss", "at": NOW}
VERBS = {
    "grant": lambda r: r.grant(**BOSS),
    "deny": lambda r: r.deny(**BOSS),
    "revoke": lambda r: r.revoke(**BOSS),
    "cancel": lambda r: r.cancel(),
    "expire": lambda r: r.expire(),
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("verb", LIFECYCLE.steps)
def test_every_verb_leads_where_its_table_says(verb: str, state: State) -> None:
    follows(LIFECYCLE, verb, state, lambda: VERBS[verb](replace(ASKED, state=state)))


def test_nobody_decides_for_themselves() -> None:
    for move in (ASKED.grant, ASKED.deny):
        with pytest.raises(Refused, match="SELF_APPROVAL"):
            move(by="users/rep", at=NOW)


def test_it_ends_within_a_week_and_a_grant_only_comes_nearer() -> None:
    assert ASKED.expire_time == NOW + USUAL
    assert replace(ASKED, expire_time=NOW + LONGEST).asked(at=NOW).expire_time == NOW + LONGEST
    for end in (NOW, NOW - HOUR, NOW + LONGEST + HOUR):
        with pytest.raises(Refused, match="expire_time"):
            replace(ASKED, expire_time=end).asked(at=NOW)
    granted = ASKED.grant(**BOSS, until=NOW + HOUR)
    assert granted.holds(NOW) and not granted.holds(NOW + HOUR) and not ASKED.holds(NOW)
    for end in (NOW, NOW + USUAL + HOUR):
        with pytest.raises(Refused, match="expire_time"):
            ASKED.grant(**BOSS, until=end)
    with pytest.raises(Refused, match="expire_time"):
        ASKED.grant(by="users/boss", at=NOW + USUAL)
    assert not granted.revoke(**BOSS).holds(NOW) and not granted.cancel().holds(NOW)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"field": ""}, "field"),
        ({"method": "tradewind.x.Y"}, "field"),
        ({"record": "leads/1"}, "record"),
        ({"field": "", "method": "tradewind.x.Y", "record": "customers/1"}, "record"),
        ({"reason": "  "}, "reason"),
    ],
)
def test_it_asks_for_one_thing_and_says_why(said: dict[str, str], field: str) -> None:
    replace(ASKED, record="customers/1").check()
    with pytest.raises(Refused) as no:
        replace(ASKED, **said).check()
    assert no.value.facts["field"] == field
