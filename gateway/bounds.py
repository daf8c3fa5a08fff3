"""The bounds of one gateway process, each a variable of its environment."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from ipaddress import ip_address
from typing import Any, Self

from chassis.settings import Networks, Variable, networks, read_variable

# A chain of proxies is short; more than this is somebody's invention.
MOST_HOPS = 16


@dataclass(frozen=True)
class Rate:
    """So many a second on the long run, and so many at once after a pause."""

    name: str
    per_second: float
    burst: int

    @cached_property
    def policy(self) -> bytes:
        """As the RateLimit-Policy header says it."""
        return f'"{self.name}";q={self.burst};w={math.ceil(self.burst / self.per_second)}'.encode()


def _rate(name: str) -> Callable[[str], Rate]:
    def parse(value: str) -> Rate:
        often, slash, burst = value.partition("/")
        try:
            found = Rate(name, float(often), int(burst) if slash else math.ceil(float(often)))
        except (ValueError, OverflowError):
            found = Rate(name, 0.0, 0)
        if not (0 < found.per_second <= 1e9 and 0 < found.burst <= 10**9):
            raise ValueError("must be a number a second and a number at once, such as 100/300")
        return found

    return parse


def _count(most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not (value.isascii() and value.isdigit() and len(value) <= 12 and 0 < int(value) <= most):
            raise ValueError(f"must be a whole number from 1 to {most}")
        return int(value)

    return parse


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0.001 <= seconds <= 86_400:
        raise ValueError("must be a number of seconds")
    return seconds


def _logged(value: str) -> str:
    if value not in ("all", "refused", "none"):
        raise ValueError("must be all, refused or none")
    return value


def _said(env: str, default: str, parse: Callable[[str], Any], sentence: str) -> Any:
    variable = Variable(f"TRADEWIND_{env}", default, parse, sentence)
    return field(default=parse(default), metadata={"variable": variable})


@dataclass(frozen=True)
class LimitSettings:
    """What one gateway process allows; N processes allow N times as much."""

    principal: Rate = _said(
        "RATE_PRINCIPAL",
        "1000/3000",
        _rate("principal"),
        "Requests of one user or key to one gateway: a second, and at once.",
    )
    organization: Rate = _said(
        "RATE_ORGANIZATION",
        "2000/6000",
        _rate("organization"),
        "Requests of one organization to one gateway: a second, and at once.",
    )
    sign_in: Rate = _said(
        "RATE_SIGN_IN",
        "10/100",
        _rate("address"),
        "Sign-ins and other calls without a token from one address: a second, and at once.",
    )
    # A guesser is slowed down, a person with an old tab is not.
    stranger: Rate = _said(
        "RATE_STRANGER",
        "20/200",
        _rate("stranger"),
        "Requests with a token that nobody knows from one address: a second, and at once.",
    )
    in_flight: int = _said(
        "LIMIT_IN_FLIGHT",
        "1000",
        _count(100_000),
        "Requests that a gateway answers or keeps waiting at once.",
    )
    in_flight_each: int = _said(
        "LIMIT_IN_FLIGHT_EACH", "256", _count(100_000), "The same, of one user, key or address."
    )
    at_once: int = _said(
        "LIMIT_AT_ONCE",
        "64",
        _count(100_000),
        "Calls to the services at once; the rest wait, organizations in turn.",
    )
    streams_each: int = _said(
        "LIMIT_STREAMS_EACH",
        "16",
        _count(10_000),
        "Streams at once of one user or key, and reflections over gRPC of one address.",
    )
    connections: int = _said(
        "LIMIT_CONNECTIONS", "10000", _count(1_000_000), "HTTP connections of one gateway."
    )
    connections_each: int = _said(
        "LIMIT_CONNECTIONS_EACH",
        "1000",
        _count(1_000_000),
        "HTTP connections of one address, unless it is a trusted proxy.",
    )
    body_bytes: int = _said(
        "LIMIT_BODY_BYTES",
        "1048576",
        _count(2**30),
        "The largest body of a request; over gRPC, the largest message.",
    )
    url_bytes: int = _said("LIMIT_URL_BYTES", "8192", _count(65_536), "The longest URL.")
    head_bytes: int = _said(
        "LIMIT_HEAD_BYTES", "32768", _count(2**20), "The largest head of a request, its URL apart."
    )
    metadata_bytes: int = _said(
        "LIMIT_METADATA_BYTES", "16384", _count(2**20), "The largest metadata of a gRPC call."
    )
    head_seconds: float = _said(
        "TIMEOUT_HEAD",
        "15",
        _seconds,
        "Seconds for the first byte of a connection, and for a whole head once begun.",
    )
    body_seconds: float = _said("TIMEOUT_BODY", "15", _seconds, "Seconds for a whole body.")
    idle_seconds: float = _said(
        "TIMEOUT_IDLE", "75", _seconds, "Seconds that an HTTP connection is kept without a request."
    )
    write_seconds: float = _said(
        "TIMEOUT_WRITE", "30", _seconds, "Seconds that a client may leave an answer unread."
    )
    trusted_proxies: Networks = _said(
        "TRUSTED_PROXIES",
        "",
        networks,
        "Networks whose X-Forwarded-For says from where a request comes; nobody's is believed else.",
    )
    access_log: str = _said(
        "ACCESS_LOG", "all", _logged, "Which requests the gateway logs, a line each: all, refused or none."
    )

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """What the environment allows; a wrong value ends the process and names the variable."""
        told = os.environ if env is None else env
        return cls(**{each.name: read_variable(told, each.metadata["variable"]) for each in fields(cls)})

    def trusts(self, address: str) -> bool:
        """Whether it is a proxy of ours."""
        if not self.trusted_proxies:
            return False
        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(found in network for network in self.trusted_proxies)

    def client(self, peer: str, forwarded: str) -> str:
        """From where a request comes: the last address of X-Forwarded-For that no trusted proxy has, as far
        as trusted proxies vouch for it."""
        if not forwarded or not self.trusts(peer):
            return peer
        for hop in reversed(forwarded.split(",")[-MOST_HOPS:]):
            try:
                peer = str(ip_address(hop.strip()))
            except ValueError:
                return peer
            if not self.trusts(peer):
                return peer
        return peer


def variables() -> list[Variable]:
    """The gateway's own variables, in the order in which they are documented."""
    return [each.metadata["variable"] for each in fields(LimitSettings)]
