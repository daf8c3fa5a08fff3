"""The laws of waiting after wrong passwords."""

from __future__ import annotations

import pytest

from chassis.kernel.refusals import Refused
from gateway.login import Throttle


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def guesses(throttle: Throttle, clock: Clock, seconds: int, network: str) -> int:
    """How many passwords somebody can try who always tries as soon as allowed."""
    tried = 0
    for _ in range(seconds * 4):
        try:
            throttle.check("li@example.com", network)
            throttle.failed("li@example.com", network)
            tried += 1
        except Refused:
            pass
        clock.now += 0.25
    return tried


def test_a_guesser_on_one_network_gets_a_dozen_tries_a_minute_and_then_one(clock: Clock) -> None:
    throttle = Throttle(clock)
    assert guesses(throttle, clock, 60, "a") <= 12
    assert guesses(throttle, clock, 600, "a") <= 12


def test_guessers_on_many_networks_get_twenty_tries_a_minute_together(clock: Clock) -> None:
    throttle, tried = Throttle(clock), 0
    for n in range(240):
        try:
            throttle.check("li@example.com", f"network {n}")
            throttle.failed("li@example.com", f"network {n}")
            tried += 1
        except Refused:
            pass
        clock.now += 0.25
    assert tried <= 20


def test_the_owner_on_a_known_network_never_waits_for_others(clock: Clock) -> None:
    throttle = Throttle(clock)
    throttle.succeeded("li@example.com", "home")
    for n in range(100):
        throttle.failed("li@example.com", f"network {n}")
    throttle.check("li@example.com", "home")
    with pytest.raises(Refused, match="SIGN_IN_THROTTLED"):
        throttle.check("li@example.com", "elsewhere")


def test_nobody_is_locked_out_for_good(clock: Clock) -> None:
    throttle = Throttle(clock)
    for _ in range(50):
        throttle.failed("li@example.com", "a")
    with pytest.raises(Refused) as no:
        throttle.check("li@example.com", "a")
    clock.now += int(no.value.facts["seconds"])
    throttle.check("li@example.com", "a")


def test_the_right_password_ends_the_waiting(clock: Clock) -> None:
    throttle = Throttle(clock)
    for _ in range(5):
        throttle.failed("li@example.com", "a")
    throttle.succeeded("li@example.com", "a")
    throttle.check("li@example.com", "a")


def test_what_is_counted_is_bounded(clock: Clock) -> None:
    throttle = Throttle(clock)
    throttle.KEYS = 10
    for n in range(100):
        throttle.failed(f"{n}@example.com", "a")
        throttle.succeeded(f"{n}@example.com", "b")
    assert len(throttle._pairs) == len(throttle._accounts) == len(throttle._familiar) == 10
