"""The laws of waiting after wrong passwords and codes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain import throttle
from gateway.domain.throttle import ABANDONED, CODES, FAMILIAR, PASSWORDS, Pace, Tried, network_of

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
STEP = timedelta(milliseconds=250)


class Account:
    """One account, and what was tried on it from its networks."""

    def __init__(self, pace: Pace = PASSWORDS) -> None:
        self.pace, self.at, self.everywhere = pace, NOW, Tried()
        self.pairs: dict[str, Tried] = {}

    def wait(self, network: str) -> timedelta:
        """How long a try from there has to wait."""
        self._settle(network)
        return throttle.wait(self.pace, self.pairs[network], self.everywhere, self.at)

    def begin(self, network: str) -> bool:
        """Begin a try, if it need not wait."""
        if self.wait(network) > timedelta(0):
            return False
        self._now(network, throttle.begun)
        return True

    def fail(self, network: str) -> None:
        self._settle(network)
        self._now(network, throttle.failed)

    def succeed(self, network: str) -> None:
        self._settle(network)
        self._now(network, throttle.succeeded)

    def guesses(self, seconds: int, *networks: str) -> int:
        """How many codes somebody can try who always tries from everywhere as soon as allowed."""
        tried = 0
        for _ in range(seconds * 4):
            for network in networks:
                while self.begin(network):
                    self.fail(network)
                    tried += 1
            self.at += STEP
        return tried

    def _settle(self, network: str) -> None:
        pair = self.pairs.get(network, Tried())
        self.pairs[network], self.everywhere = throttle.settled(self.pace, pair, self.everywhere, self.at)

    def _now(self, network: str, change: throttle.Change) -> None:
        self.pairs[network], self.everywhere = change(self.pairs[network], self.everywhere, self.at)


@pytest.mark.req("X-63")
def test_a_guesser_on_one_network_gets_ten_tries_a_minute_and_then_one() -> None:
    account = Account()
    assert account.guesses(60, "a") <= 10
    assert account.guesses(600, "a") <= 11


@pytest.mark.req("X-63")
def test_guessers_everywhere_get_twenty_tries_a_minute_together_also_beside_the_owner() -> None:
    account = Account()
    account.begin("home")
    account.succeed("home")
    networks = [f"network {n}" for n in range(50)]
    for _ in range(5):
        assert account.guesses(60, "home", *networks) <= 20


def test_tries_that_are_under_way_count_before_it_is_known_how_they_went() -> None:
    account = Account()
    assert sum(account.begin("a") for _ in range(200)) == PASSWORDS.at_once
    account.at += ABANDONED
    assert account.begin("a")  # those before never said how they went
    crowd = Account()
    assert sum(crowd.begin(f"network {n}") for n in range(200)) == PASSWORDS.across


@pytest.mark.req("X-63")
def test_the_owner_on_a_known_network_never_waits_for_others() -> None:
    account = Account()
    account.begin("home")
    account.succeed("home")
    for _ in range(40):
        account.guesses(15, *(f"network {n}" for n in range(20)))
        assert account.wait("home") <= timedelta(0)
    account.guesses(1, *(f"network {n}" for n in range(20)))
    assert account.wait("home") <= timedelta(0) < account.wait("elsewhere")


def test_a_network_is_forgotten_when_nobody_signs_in_from_it_for_long() -> None:
    assert Tried(good_time=NOW).familiar(NOW + FAMILIAR - STEP)
    assert not Tried(good_time=NOW).familiar(NOW + FAMILIAR)


@pytest.mark.parametrize("pace", [PASSWORDS, CODES])
def test_nobody_is_locked_out_for_good(pace: Pace) -> None:
    account = Account(pace)
    account.guesses(120, "a")
    for _ in range(3):
        due = account.wait("a")
        assert timedelta(0) < due <= pace.longest
        account.at += due
        assert account.begin("a")
        account.fail("a")


def test_the_right_one_ends_the_waiting() -> None:
    account = Account()
    for _ in range(PASSWORDS.free):
        account.begin("a")
        account.fail("a")
    assert account.wait("a") > timedelta(0)
    account.succeed("a")
    assert account.wait("a") <= timedelta(0)


def test_codes_of_six_digits_are_not_found_by_trying() -> None:
    account, networks = Account(CODES), ["home", *(f"network {n}" for n in range(30))]
    account.begin("home")
    account.succeed("home")
    tried = 0
    for _ in range(24 * 12):
        tried += account.guesses(1, *networks)
        account.at += timedelta(minutes=5)
    # Three codes of a million are good at any time.
    assert tried * 3 / 1_000_000 < 0.001


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "", True),
    ],
)
def test_the_addresses_that_one_house_has_are_one_network(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same
