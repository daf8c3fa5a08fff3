"""Who calls, for which organization, until when: what a handler knows beside its request."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chassis.kernel.refusals import Refused

if TYPE_CHECKING:
    from chassis.clients import Clients
    from chassis.field_rules import FieldRules

SCOPES = ("own", "team", "subtree", "territory", "all")  # from narrow to wide
_DERIVED = uuid.UUID("6f1f6a52-93a5-5f1c-8d5d-0d7a1f3c2b10")


def new_id() -> str:
    """A fresh UUIDv7 (RFC 9562): sorts by time of birth."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def derived_id(*cause: str) -> str:
    """The id of something that follows from *cause* exactly once: the same cause, the same id (UUIDv5)."""
    return str(uuid.uuid5(_DERIVED, "\n".join(cause)))


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo:
    """The zone of that name; UTC for one that is only in the gateway's younger database of them."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


@dataclass
class Call:
    """One call of one method, as the principal token and the request describe it."""

    tenant: str
    user: str  # "users/…" or "services/…"
    method: str = ""  # "/tradewind.opportunity.v1.OpportunityService/WinOpportunity"
    permission: str = ""
    scope: str = "all"
    permissions: Mapping[str, str] = field(default_factory=dict)  # permission → scope
    roles: tuple[str, ...] = ()
    team: str = ""
    teams: tuple[str, ...] = ()  # the caller's own team and all below it
    territories: tuple[str, ...] = ()  # those the caller is a member of and all below them
    locale: str = "en"
    zone: str = "UTC"  # the organization's, an IANA name; UTC where nobody calls
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    deadline: float = 0.0  # time.monotonic(); 0: none
    request_id: str = ""
    request_hash: bytes = b""
    validate_only: bool = False
    actor: str = ""  # on whose behalf, when a service acts because of an event
    cause: str = ""
    traceparent: str = ""
    clients: Clients | None = None
    event: Any = None  # the FeedEvent being reacted to
    request: Any = None  # the message as it came
    session: str = ""  # "sessions/…" or "apiKeys/…": the credential behind the call
    peer: str = ""  # the client's address and what the client calls itself, as the gateway says; of a
    agent: str = ""  # call between services the host and the service
    fields: FieldRules | None = None  # what the caller may not see or write of records; None: no rules

    def again(self) -> Call:
        """Another call like this one, now."""
        made = object.__new__(Call)  # its __init__ would set the same, one by one
        made.__dict__.update(self.__dict__)
        made.now = datetime.now(UTC)
        return made

    @property
    def today(self) -> date:
        """The day it is in the organization's time zone: what a record is dated by when nobody says."""
        return self.now.astimezone(_zone(self.zone)).date()

    @staticmethod
    def new_id() -> str:
        """A fresh record id."""
        return new_id()

    def can(self, permission: str) -> str | None:
        """The scope this caller has for a permission, or None."""
        if self.user.startswith("services/"):
            return "all"
        return self.permissions.get(permission)

    def require(self, permission: str) -> None:
        """Refuse unless the caller holds a further permission, e.g. to set a date in the past."""
        if self.can(permission) is None:
            raise Refused("PERMISSION_DENIED", permission=permission)

    def remaining(self) -> float:
        """Seconds until the caller gives up; a minute where nobody waits."""
        return self.deadline - time.monotonic() if self.deadline else 60.0
