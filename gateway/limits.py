"""How much at once, and how often: buckets by caller and by address, and a bound on requests in flight."""

from __future__ import annotations

import math
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chassis import telemetry
from chassis.kernel.refusals import Refused
from gateway.bounds import LimitSettings, Rate
from gateway.domain.throttle import network_of
from gateway.turns import Turns

__all__ = ["STRANGERS", "Buckets", "Exceeded", "Headers", "LimitSettings", "Limits", "Rate"]

Clock = Callable[[], float]
# Whose turn it is when nobody is signed in: one place in the line for all of them.
STRANGERS = ""
# Seconds that who is refused for too much at once is told to stay away, on average: at first, and at most.
SHORTEST, LONGEST = 1.0, 32.0

telemetry.METRICS.describe(
    "tradewind_limited_total", "counter", "Requests refused because of a limit, by which limit."
)


class Exceeded(Refused):
    """Too often: come back after *retry_after* seconds."""

    def __init__(self, name: str, limit: str, retry_after: float, headers: Headers = ()) -> None:
        super().__init__("OVERLOADED", limit=limit)
        telemetry.METRICS.count("tradewind_limited_total", limit=name)
        self.retry_after = retry_after
        self.headers = headers


Headers = tuple[tuple[bytes, bytes], ...]


class Buckets:
    """One bucket per key, filled by time; the keys seen longest ago are forgotten first."""

    def __init__(self, rate: Rate, clock: Clock = time.monotonic, keys: int = 100_000) -> None:
        self.rate, self._clock, self._keys = rate, clock, keys
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> Headers:
        """Take one for *key*, or raise Exceeded; the headers tell what is left."""
        left = self.draw(key)
        return self._headers(left, 0 if left >= 1 else (1 - left) / self.rate.per_second)

    def draw(self, key: str) -> float:
        """Take one for *key*, or raise Exceeded; what is left."""
        left = self._level(key)
        if left < 1:
            wait = (1 - left) / self.rate.per_second
            limit = f"{self.rate.per_second:g} a second, {self.rate.burst} at once, per {self.rate.name}"
            raise Exceeded(self.rate.name, limit, wait, self._headers(0, wait))
        self._levels[key] = (left - 1, self._clock())
        self._levels.move_to_end(key)
        if len(self._levels) > self._keys:
            self._levels.popitem(last=False)
        return left - 1

    def _level(self, key: str) -> float:
        """What *key* may still take now."""
        known = self._levels.get(key)
        if known is None:
            return self.rate.burst
        return min(self.rate.burst, known[0] + (self._clock() - known[1]) * self.rate.per_second)

    def _headers(self, left: float, wait: float) -> Headers:
        state = f'"{self.rate.name}";r={int(left)};t={math.ceil(wait)}'.encode()
        return ((b"ratelimit-policy", self.rate.policy), (b"ratelimit", state))


class Comeback:
    """When to come back, told to who is refused because there is too much at once.

    A refusal costs a good part of an answer. Where everybody comes back after a second, as after a restart,
    a gateway may do nothing but refuse for ever; so the pause is doubled after each second with more refusals
    than answers, and halved after each with few. Drawn by chance, that not all come at the same moment.
    """

    def __init__(self, clock: Clock, chance: Callable[[], float] = random.random) -> None:
        self._clock, self._chance = clock, chance
        self._pause, self._since = SHORTEST, clock()
        self._refused = self._answered = 0

    def refused(self) -> float:
        """One more was refused: the seconds to tell."""
        self._look()
        self._refused += 1
        return self._pause * (0.5 + self._chance())

    def answered(self) -> None:
        """One more was answered."""
        self._look()
        self._answered += 1

    def _look(self) -> None:
        now = self._clock()
        if now - self._since < 1:
            return
        if self._refused > self._answered:
            self._pause = min(LONGEST, 2 * self._pause)
        elif 8 * self._refused < self._answered:
            self._pause = max(SHORTEST, self._pause / 2)
        self._since, self._refused, self._answered = now, 0, 0


class Limits:
    """The limits of one process; counted here, so that N processes allow N times as much."""

    def __init__(self, settings: LimitSettings | None = None, clock: Clock = time.monotonic) -> None:
        self.settings = settings or LimitSettings()
        self._principal = Buckets(self.settings.principal, clock)
        self._organization = Buckets(self.settings.organization, clock)
        self._turns = Turns(self.settings.at_once)
        self._sign_in = Buckets(self.settings.sign_in, clock)
        self._stranger = Buckets(self.settings.stranger, clock)
        self._comeback = Comeback(clock)
        self.in_flight = 0
        self._each: dict[str, int] = {}

    def caller(self, organization: str, who: str) -> Headers:
        """One request of a caller who is known, and of the organization; the headers tell of the caller."""
        headers = self._principal.take(who)
        self._organization.draw(organization)
        return headers

    async def take_turn(self, organization: str, within: float) -> None:
        """Hold a place among the calls to the services, once it is the organization's turn; to be given back
        with `give_turn`. Raises Exceeded when it was not within so many seconds."""
        try:
            await self._turns.take(organization, within)
        except TimeoutError:
            most = self.settings.at_once
            raise Exceeded("at once", f"{most} calls to the services at once", 1.0) from None

    def give_turn(self, organization: str) -> None:
        """Let the next in."""
        self._turns.give(organization)

    def sign_in(self, address: str) -> Headers:
        """One request that needs no sign-in, such as signing in."""
        return self._sign_in.take(network_of(address))

    def stranger(self, address: str) -> Headers:
        """One credential that was refused."""
        return self._stranger.take(network_of(address))

    @contextmanager
    def flight(self) -> Iterator[None]:
        """Hold a place among the requests in flight."""
        if self.in_flight >= self.settings.in_flight:
            later = self._comeback.refused()
            raise Exceeded("in flight", f"{self.settings.in_flight} requests in flight", later)
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            self._comeback.answered()

    @contextmanager
    def one_of(self, who: str, streams: bool = False) -> Iterator[None]:
        """Hold a place among the caller's own requests, or the caller's own streams."""
        most = self.settings.streams_each if streams else self.settings.in_flight_each
        key = f"{who} {streams}"
        held = self._each.get(key, 0)
        if held >= most:
            what = "streams" if streams else "requests in flight"
            raise Exceeded(f"{what} each", f"{most} {what} per principal", 1.0)
        self._each[key] = held + 1
        try:
            yield
        finally:
            self._each[key] -= 1
            if not self._each[key]:
                del self._each[key]
