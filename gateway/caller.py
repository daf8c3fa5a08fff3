"""Who calls, as the two doors of the gateway see it, and what is passed on about the call."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Protocol

from chassis.kernel.refusals import Refused

TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
Metadata = tuple[tuple[str, str], ...]
# How often a stream asks whether it may go on.
RECHECK_SECONDS = 0.4
_ACCESS = "/tradewind.access.v1."
SETTING_UP = frozenset({
    f"{_ACCESS}TotpService/EnrollTotp", f"{_ACCESS}TotpService/ConfirmTotp",
    f"{_ACCESS}SessionService/GetMe", f"{_ACCESS}SessionService/SignOut",
})  # fmt: skip


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

    @property
    def session(self) -> str:
        """sessions/{session} or apiKeys/{api_key}."""

    @property
    def version(self) -> str:
        """Changes when anything that the caller may do changes."""

    @property
    def limited(self) -> bool:
        """Whether nothing may be done but setting up a second factor, which the organization asks for."""

    @property
    def view(self) -> str:
        """Changes when the fields that are kept from the caller change; "" where none is."""


class Identify(Protocol):
    """Who stands behind an Authorization header; raises Refused UNAUTHENTICATED for nobody."""

    async def __call__(self, authorization: str, peer: str) -> Identity:
        """*authorization* as it was sent ("" when it was not), *peer* the client's address."""


def metadata_for(
    identity: Identity | None, *, locale: str, traceparent: str, peer: str, agent: str = ""
) -> Metadata:
    """What a service is told with a call: made here from nothing, so no client's header gets through.

    Without a *locale* the caller's own counts. Told too is the address it comes from, and what it is called.
    """
    device = agent if agent.isprintable() and agent.isascii() else _printable(agent)
    told = [("traceparent", traceparent), ("x-internal-peer", peer), ("x-internal-agent", device[:200])]
    if locale:
        told.append(("accept-language", locale))
    if identity is not None:
        told.append(("authorization", f"Bearer {identity.token}"))
    return tuple(told)


def _printable(text: str) -> str:
    return "".join(c for c in text[:200] if " " <= c <= "~")


def check_reach(identity: Identity, method: str) -> None:
    """Refuse with SECOND_FACTOR_NEEDED what is beyond who must set up a second factor first; *method* is a
    path such as /tradewind.access.v1.TotpService/EnrollTotp."""
    if identity.limited and method not in SETTING_UP:
        raise Refused("SECOND_FACTOR_NEEDED")


async def changed(asked: Awaitable[Identity], before: Identity) -> bool:
    """Whether who is *asked* for now is out, or may do otherwise than *before*: a stream ends then."""
    try:
        now = await asked
    except Refused:
        return True
    except Exception:  # nobody can be asked at the moment, nor has anybody been able to change anything
        return False
    return now.version != before.version or now.limited != before.limited


def trace_of(traceparent: str) -> str:
    """The trace that the client is in; "" where it named none or no well-formed one, so that a new one begins
    and is recorded as often as the ratio of this process says."""
    return traceparent if TRACEPARENT.fullmatch(traceparent) else ""
