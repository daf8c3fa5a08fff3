"""How often and how much at once, by a clock that the test moves."""

from __future__ import annotations

import pytest

from gateway.limits import SHORTEST, Buckets, Comeback, Exceeded, Limits, LimitSettings, Rate


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


RATE = Rate("principal", per_second=2, burst=3)


def test_a_burst_is_allowed_then_the_rate():
    clock = Clock()
    buckets = Buckets(RATE, clock)
    for _ in range(3):
        buckets.take("ann")
    with pytest.raises(Exceeded) as no:
        buckets.take("ann")
    assert (no.value.reason, no.value.retry_after) == ("OVERLOADED", 0.5)
    clock.now = 0.5
    buckets.take("ann")
    with pytest.raises(Exceeded):
        buckets.take("ann")


def test_a_pause_never_saves_more_than_the_burst():
    clock = Clock()
    buckets = Buckets(RATE, clock)
    buckets.take("ann")
    clock.now = 1000
    for _ in range(3):
        buckets.take("ann")
    with pytest.raises(Exceeded):
        buckets.take("ann")


def test_callers_do_not_share_a_bucket():
    buckets = Buckets(RATE, Clock())
    for _ in range(3):
        buckets.take("ann")
    assert dict(buckets.take("bob"))[b"ratelimit"] == b'"principal";r=2;t=0'


def test_the_headers_tell_the_policy_and_what_is_left():
    buckets = Buckets(RATE, Clock())
    assert dict(buckets.take("ann")) == {
        b"ratelimit-policy": b'"principal";q=3;w=2',
        b"ratelimit": b'"principal";r=2;t=0',
    }
    buckets.take("ann")
    assert dict(buckets.take("ann"))[b"ratelimit"] == b'"principal";r=0;t=1'
    with pytest.raises(Exceeded) as no:
        buckets.take("ann")
    assert dict(no.value.headers)[b"ratelimit"] == b'"principal";r=0;t=1'


def test_strangers_cannot_fill_the_memory():
    buckets = Buckets(RATE, Clock(), keys=10)
    for number in range(1000):
        buckets.take(str(number))
    assert len(buckets._levels) == 10


def test_a_place_in_flight_is_given_back_whatever_happens():
    limits = Limits(LimitSettings(in_flight=1))
    with pytest.raises(ZeroDivisionError), limits.flight():
        with pytest.raises(Exceeded), limits.flight():
            pass
        raise ZeroDivisionError
    with limits.flight():
        pass
    assert limits.in_flight == 0


def test_one_caller_cannot_take_every_place():
    limits = Limits(LimitSettings(in_flight_each=1, streams_each=1))
    with limits.one_of("ann"):
        with pytest.raises(Exceeded), limits.one_of("ann"):
            pass
        with limits.one_of("bob"), limits.one_of("ann", streams=True):
            pass
    assert limits._each == {}


def test_the_more_are_refused_the_longer_they_are_told_to_stay_away_until_it_is_calm():
    clock = Clock()
    comeback = Comeback(clock, lambda: 0.5)

    def second(refused: int, answered: int) -> float:
        clock.now += 1
        told = [comeback.refused() for _ in range(refused)]
        for _ in range(answered):
            comeback.answered()
        return told[0]

    assert [second(9, 8) for _ in range(7)] == [1, 2, 4, 8, 16, 32, 32]
    assert [second(8, 9), second(2, 17), second(2, 17)] == [32, 32, 16]  # neither many nor few, then few
    assert [second(1, 100) for _ in range(6)] == [8, 4, 2, 1, 1, 1]


def test_who_is_refused_at_one_moment_is_not_told_the_same_moment():
    limits = Limits(LimitSettings(in_flight=1), Clock())
    told = []
    with limits.flight():
        for _ in range(50):
            with pytest.raises(Exceeded) as no, limits.flight():
                pass
            told.append(no.value.retry_after)
    assert len(set(told)) == 50
    assert all(SHORTEST / 2 <= seconds <= SHORTEST * 1.5 for seconds in told)
