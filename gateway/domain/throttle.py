"""How long somebody has to wait after wrong passwords or codes.

Failures are counted per account and network, and per account over all networks that never signed in to it.
So whoever guesses waits, the owner on a network of their own does not, and nothing is locked for good.
A try counts from its beginning: a hundred at once are no way around the count.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from chassis.kernel.record import replace

# A try that never said how it went, because its process ended, is forgotten after this long.
ABANDONED = timedelta(minutes=1)
# For so long a network that somebody signed in from is known as theirs.
FAMILIAR = timedelta(days=90)


@dataclass(frozen=True)
class Pace:
    """How many tries there are."""

    free: int  # failures without a wait, per account and network
    longest: timedelta  # each further one doubles the wait, up to this
    at_once: int  # failures and tries under way, per account and network
    across: int  # the same per account, from networks that are not known as its own, in a window
    window: timedelta
    forgiven: timedelta  # without a failure for so long, counting begins anew


# Twenty guesses a minute at the most, by who sits both on a network of the account's own and elsewhere.
PASSWORDS = Pace(
    free=5, longest=timedelta(minutes=1), at_once=10, across=10, window=timedelta(minutes=1),
    forgiven=timedelta(minutes=15),
)  # fmt: skip
# Three of a million codes are good at any time: who knows the password and guesses for a day finds one with a
# chance of less than one in a thousand.
CODES = Pace(
    free=5, longest=timedelta(hours=1), at_once=8, across=10, window=timedelta(hours=1),
    forgiven=timedelta(hours=12),
)  # fmt: skip
# The secret of a program cannot be guessed, and many of its processes may ask at once.
PROGRAMS = Pace(
    free=5, longest=timedelta(minutes=1), at_once=500, across=500, window=timedelta(minutes=1),
    forgiven=timedelta(minutes=15),
)  # fmt: skip


@dataclass(frozen=True)
class Tried:
    """What was tried on one account from one network, or from all that are not known as its own."""

    failures: int = 0
    under_way: int = 0
    last_time: datetime | None = None  # of a failure; over all networks, when the window began
    begin_time: datetime | None = None  # of the last try
    good_time: datetime | None = None  # of the last right one: the network is known since then

    def familiar(self, at: datetime) -> bool:
        """Whether the network is one of the account's own."""
        return self.good_time is not None and at - self.good_time < FAMILIAR


Change = Callable[[Tried, Tried, datetime], tuple[Tried, Tried]]


def settled(pace: Pace, pair: Tried, everywhere: Tried, at: datetime) -> tuple[Tried, Tried]:
    """The same without what is forgiven, over or abandoned by now."""
    if pair.last_time and at - pair.last_time >= pace.forgiven:
        pair = replace(pair, failures=0)
    if everywhere.last_time is None or at - everywhere.last_time >= pace.window:
        everywhere = replace(everywhere, failures=0, under_way=0, last_time=at)
    if pair.begin_time and at - pair.begin_time >= ABANDONED:
        pair = replace(pair, under_way=0)
    if everywhere.begin_time and at - everywhere.begin_time >= ABANDONED:
        everywhere = replace(everywhere, under_way=0)
    return pair, everywhere


def wait(pace: Pace, pair: Tried, everywhere: Tried, at: datetime) -> timedelta:
    """How long a further try has to wait, of what is `settled`; zero or less for not at all."""
    due = timedelta(0)
    if pair.failures >= pace.free and pair.last_time:
        doubled = timedelta(seconds=2.0 ** min(pair.failures - pace.free + 1, 20))
        due = pair.last_time + min(pace.longest, doubled) - at
    if pair.under_way and pair.failures + pair.under_way >= pace.at_once:
        due = max(due, timedelta(seconds=1))
    if not pair.familiar(at) and everywhere.failures + everywhere.under_way >= pace.across:
        due = max(due, (everywhere.last_time or at) + pace.window - at)
    return due


def begun(pair: Tried, everywhere: Tried, at: datetime) -> tuple[Tried, Tried]:
    """With one more try under way."""
    if not pair.familiar(at):
        everywhere = replace(everywhere, under_way=everywhere.under_way + 1, begin_time=at)
    return replace(pair, under_way=pair.under_way + 1, begin_time=at), everywhere


def failed(pair: Tried, everywhere: Tried, at: datetime) -> tuple[Tried, Tried]:
    """The try was wrong."""
    if not pair.familiar(at):
        everywhere = replace(everywhere, under_way=_less(everywhere), failures=everywhere.failures + 1)
    return replace(pair, under_way=_less(pair), failures=pair.failures + 1, last_time=at), everywhere


def succeeded(pair: Tried, everywhere: Tried, at: datetime) -> tuple[Tried, Tried]:
    """The try was right: this network is the account's own from now on."""
    if not pair.familiar(at):
        everywhere = replace(everywhere, under_way=_less(everywhere))
    return replace(pair, under_way=_less(pair), failures=0, good_time=at), everywhere


def _less(tried: Tried) -> int:
    return max(0, tried.under_way - 1)


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """What counts as one network: an IPv4 address, the /64 of an IPv6 one, or the text that was said."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
