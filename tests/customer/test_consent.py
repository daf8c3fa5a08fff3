"""Laws of the consent log: what stands is the newest that was said, in whatever order we are told."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from services.customer.domain.consent import (
    MOST_ENTRIES,
    REACHES_NOBODY,
    Channel,
    Consent,
    Decision,
    Purpose,
    Reason,
    Standing,
    after,
    check_room,
    judge,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENTRY = Consent(
    id="1", person="contacts/1", purpose=Purpose.MARKETING, channel=Channel.EMAIL, decision=Decision.GIVEN
)


def told(entries: list[Consent]) -> tuple[Standing, ...]:
    """What the entries come to, heard of in this order."""
    stands: tuple[Standing, ...] = ()
    for entry in entries:
        stands = after(stands, entry.standing(f"consents/{entry.id}"))
    return stands


def log_of(seed: int, entries: int) -> list[Consent]:
    """A log with several entries per purpose and channel, some of one and the same moment."""
    chance = random.Random(seed)
    made = []
    for at in range(entries):
        decision = chance.choice(list(Decision))
        when = NOW - timedelta(hours=chance.randrange(6))
        until = when + timedelta(hours=chance.randrange(1, 9)) if decision is Decision.GIVEN else None
        made.append(Consent(
            id=str(at), person="contacts/1", purpose=chance.choice([Purpose.MARKETING, Purpose.SURVEY]),
            channel=chance.choice([Channel.EMAIL, Channel.SMS]), decision=decision, decide_time=when,
            expire_time=chance.choice([None, until]),
        ))  # fmt: skip
    return made


@pytest.mark.parametrize("seed", range(40))
def test_what_stands_is_the_log_in_the_order_of_time_however_late_we_are_told(seed: int) -> None:
    log = log_of(seed, 5)
    in_time = sorted(log, key=lambda e: (e.decide_time, e.decision is Decision.WITHDRAWN, e.id))
    last = {(entry.purpose, entry.channel): entry.standing(f"consents/{entry.id}") for entry in in_time}
    for order in permutations(log):
        assert {(each.purpose, each.channel): each for each in told(list(order))} == last
    assert told(log + log) == told(log)  # told twice is told once


def test_a_withdrawal_heard_of_late_does_not_undo_a_later_yes() -> None:
    yes = replace(ENTRY, decide_time=NOW)
    no = replace(ENTRY, id="2", decision=Decision.WITHDRAWN, decide_time=NOW - timedelta(days=30))
    (stands,) = told([yes, no])
    assert stands.decision is Decision.GIVEN
    (stands,) = told([replace(no, decide_time=NOW), yes])  # of one moment: who takes back is believed
    assert stands.decision is Decision.WITHDRAWN


def test_an_objection_beats_every_consent() -> None:
    stands = told([replace(ENTRY, decide_time=NOW)])
    asked = {"purpose": Purpose.MARKETING, "channel": Channel.EMAIL, "at": NOW}
    assert judge(stands, objected=False, **asked)[0] is Reason.GIVEN
    assert judge(stands, objected=True, **asked)[0] is Reason.OBJECTED
    assert judge((), objected=True, **asked)[0] is Reason.OBJECTED


def test_a_consent_ends_at_its_time_and_the_one_before_does_not_come_back() -> None:
    for_good = replace(ENTRY, decide_time=NOW - timedelta(days=9))
    for_a_day = replace(
        ENTRY, id="2", decide_time=NOW - timedelta(days=1), expire_time=NOW + timedelta(seconds=1)
    )
    stands = told([for_good, for_a_day])
    asked = {"objected": False, "purpose": Purpose.MARKETING, "channel": Channel.EMAIL}
    assert judge(stands, at=NOW, **asked)[0] is Reason.GIVEN
    assert judge(stands, at=NOW + timedelta(seconds=1), **asked)[0] is Reason.EXPIRED


def test_a_yes_is_for_its_purpose_and_channel_alone() -> None:
    stands = told([replace(ENTRY, decide_time=NOW)])
    for purpose in Purpose:
        for channel in [None] if purpose in REACHES_NOBODY else Channel:
            reason, found = judge(stands, objected=False, purpose=purpose, channel=channel, at=NOW)
            same = (purpose, channel) == (ENTRY.purpose, ENTRY.channel)
            assert reason is (Reason.GIVEN if same else Reason.NEVER_GIVEN)
            assert (found is not None) is same


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (replace(ENTRY, decide_time=NOW + timedelta(seconds=1)), "decide_time"),
        (replace(ENTRY, channel=None), "channel"),
        (replace(ENTRY, purpose=Purpose.PROFILING), "channel"),
        (replace(ENTRY, expire_time=NOW), "expire_time"),
        (replace(ENTRY, decision=Decision.WITHDRAWN, expire_time=NOW + timedelta(days=1)), "expire_time"),
    ],
)
def test_what_cannot_have_been_said_is_refused(entry: Consent, field: str) -> None:
    with pytest.raises(Refused) as no:
        entry.said(now=NOW)
    assert (no.value.reason, no.value.facts["field"]) == ("FIELD_INVALID", field)


def test_a_log_has_an_end() -> None:
    check_room("contacts/1", MOST_ENTRIES - 1)
    with pytest.raises(Refused, match="TOO_MANY_CONSENTS"):
        check_room("contacts/1", MOST_ENTRIES)
