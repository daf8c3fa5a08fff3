"""Who calls, as the two doors of the gateway see it, and what is passed on about the call."""

from __future__ import annotations

import re
from typing import Protocol

TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
Metadata = tuple[tuple[str, str], ...]


class Identity(Protocol):
    """Somebody whose credential was found good."""

    @property
    def token(self) -> str:
        """The principal token, minted for the services."""

    @property
    def user(self) -> str:
        """users/{user}: whose limits count."""

    @property
    def tenant(self) -> str:
        """The organization."""


class Identify(Protocol):
    """Who stands behind an Authorization header; raises Refused UNAUTHENTICATED for nobody."""

    async def __call__(self, authorization: str, peer: str) -> Identity:
        """*authorization* as it was sent ("" when it was not), *peer* the client's address."""


def metadata_for(
    identity: Identity | None, *, locale: str, traceparent: str, peer: str, agent: str = ""
) -> Metadata:
    """What a service is told with a call: made here from nothing, so no client's header gets through.

    Without a *locale* the caller's own counts. A call without identity says from where it signs in.
    """
    told = [("traceparent", traceparent)]
    if locale:
        told.append(("accept-language", locale))
    if identity is not None:
        told.append(("authorization", f"Bearer {identity.token}"))
    else:
        told.append(("x-internal-peer", peer))
        told.append(("x-internal-agent", "".join(c for c in agent[:200] if " " <= c <= "~")))
    return tuple(told)


def trace_of(traceparent: str) -> str:
    """The trace that the client is in; "" where it named none or no well-formed one, so that a new one begins
    and is recorded as often as the ratio of this process says."""
    return traceparent if TRACEPARENT.fullmatch(traceparent) else ""
