"""What people have agreed to: a log that only grows, what it comes to, and whether one may write to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chassis.kernel.erasable import Erasable
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused, invalid

MOST_ENTRIES = 200  # in the log of one person: what a conversion carries over at once


class Purpose(StrEnum):
    """For what."""

    MARKETING = "MARKETING"
    NEWSLETTER = "NEWSLETTER"
    SURVEY = "SURVEY"
    EVENT_INVITATION = "EVENT_INVITATION"
    PROFILING = "PROFILING"
    DATA_SHARING = "DATA_SHARING"


class Channel(StrEnum):
    """By which way somebody is reached."""

    EMAIL = "EMAIL"
    PHONE = "PHONE"
    SMS = "SMS"
    POST = "POST"
    MESSENGER = "MESSENGER"


class Basis(StrEnum):
    """By which law; the first is what an unsaid basis means."""

    CONSENT = "CONSENT"
    LEGITIMATE_INTEREST = "LEGITIMATE_INTEREST"
    CONTRACT = "CONTRACT"
    LEGAL_OBLIGATION = "LEGAL_OBLIGATION"


class Decision(StrEnum):
    """What was said."""

    GIVEN = "GIVEN"
    WITHDRAWN = "WITHDRAWN"


class Source(StrEnum):
    """How we were told."""

    WEB_FORM = "WEB_FORM"
    PAPER_FORM = "PAPER_FORM"
    LETTER = "LETTER"
    EMAIL_MESSAGE = "EMAIL_MESSAGE"
    PHONE_CALL = "PHONE_CALL"
    CONVERSATION = "CONVERSATION"
    EXHIBITION = "EXHIBITION"
    CONTRACT_TERMS = "CONTRACT_TERMS"
    IMPORT = "IMPORT"
    OTHER = "OTHER"


class Reason(StrEnum):
    """Why somebody may be reached, or may not."""

    GIVEN = "GIVEN"
    OBJECTED = "OBJECTED"
    WITHDRAWN = "WITHDRAWN"
    EXPIRED = "EXPIRED"
    NEVER_GIVEN = "NEVER_GIVEN"
    UNKNOWN = "UNKNOWN"
    ERASED = "ERASED"


REACHES_NOBODY = frozenset({Purpose.PROFILING, Purpose.DATA_SHARING})


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What stands for one purpose and channel: the newest that the person said."""

    purpose: Purpose
    channel: Channel | None = None
    decision: Decision
    basis: Basis = Basis.CONSENT
    decide_time: datetime
    expire_time: datetime | None = None
    consent: str  # "consents/…", the entry that says so

    def beats(self, other: Standing) -> bool:
        """Whether this was said later. Of two of one moment the one that takes back stands."""
        return self._place > other._place

    @property
    def _place(self) -> tuple[datetime, bool, str]:
        return self.decide_time, self.decision is Decision.WITHDRAWN, self.consent


@dataclass(frozen=True, kw_only=True)
class Consent(Erasable):
    """One entry of the log: somebody agreed to something, or took it back."""

    person: str  # "contacts/…", "leads/…" or "customers/…"
    purpose: Purpose
    channel: Channel | None = None
    decision: Decision
    basis: Basis = Basis.CONSENT
    decide_time: datetime | None = None
    expire_time: datetime | None = None
    source: Source | None = None
    evidence: str = ""
    wording: str = ""
    origin: str = ""  # "consents/…" of the lead it was carried over from

    def said(self, *, now: datetime) -> Consent:
        """Said now unless it says when; refuses what was not said yet, or would be over before it began."""
        when = self.decide_time or now
        if when > now:
            raise invalid("decide_time", "must not lie in the future")
        check_channel(self.purpose, self.channel)
        if self.expire_time is not None:
            if self.decision is Decision.WITHDRAWN:
                raise invalid("expire_time", "must be left out of what is withdrawn: that stays")
            if self.expire_time <= when:
                raise invalid("expire_time", "must lie after decide_time")
        return replace(self, decide_time=when)

    def standing(self, name: str) -> Standing:
        """What this entry, of that name, would come to by itself."""
        assert self.decide_time is not None
        return Standing(
            purpose=self.purpose, channel=self.channel, decision=self.decision, basis=self.basis,
            decide_time=self.decide_time, expire_time=self.expire_time, consent=name,
        )  # fmt: skip

    def carried(self, *, id: str, person: str, origin: str) -> Consent:
        """The same, in the log of the person that a lead has become."""
        return replace(self, id=id, person=person, origin=origin, version=0)


def check_channel(purpose: Purpose, channel: Channel | None) -> None:
    """Refuse a channel where the purpose reaches nobody, and its lack where it does."""
    if purpose in REACHES_NOBODY and channel is not None:
        raise invalid("channel", f"must be left out: {purpose} reaches nobody")
    if purpose not in REACHES_NOBODY and channel is None:
        raise invalid("channel", f"must say by which way {purpose} may reach them")


def after(standings: Iterable[Standing], said: Standing) -> tuple[Standing, ...]:
    """What stands once that was said; in whatever order we are told, it comes to the same."""
    by_key = {(each.purpose, each.channel): each for each in standings}
    key = (said.purpose, said.channel)
    if key not in by_key or said.beats(by_key[key]):
        by_key[key] = said
    return tuple(sorted(by_key.values(), key=lambda each: (each.purpose, each.channel or "")))


def check_room(person: str, entries: int) -> None:
    """Refuse one more entry than a log may have."""
    if entries >= MOST_ENTRIES:
        raise Refused("TOO_MANY_CONSENTS", name=person, limit=str(MOST_ENTRIES))


def judge(
    standings: Iterable[Standing],
    *,
    erased: bool = False,
    objected: bool,
    purpose: Purpose,
    channel: Channel | None,
    at: datetime,
) -> tuple[Reason, Standing | None]:
    """Why somebody may be reached at that time, or may not, and by which standing."""
    found = next((each for each in standings if (each.purpose, each.channel) == (purpose, channel)), None)
    if erased:
        return Reason.ERASED, found
    if objected:
        return Reason.OBJECTED, found
    if found is None:
        return Reason.NEVER_GIVEN, None
    if found.decision is Decision.WITHDRAWN:
        return Reason.WITHDRAWN, found
    if found.expire_time is not None and found.expire_time <= at:
        return Reason.EXPIRED, found
    return Reason.GIVEN, found
