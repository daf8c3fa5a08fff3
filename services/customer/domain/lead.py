"""What a lead is, how it is scored, and how it becomes a customer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from chassis.kernel.erasable import Erasable
from chassis.kernel.lifecycle import Lifecycle
from chassis.kernel.record import Owned, replace
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import Money
from services.customer.domain.consent import Standing
from services.customer.domain.contact import Contact, Role
from services.customer.domain.customer import Customer, Kind, Need, Source

LONGEST_TITLE = 200


class State(StrEnum):
    """How far we are with a lead."""

    NEW = "NEW"
    WORKING = "WORKING"
    QUALIFIED = "QUALIFIED"
    CONVERTED = "CONVERTED"
    DISQUALIFIED = "DISQUALIFIED"


class ScoreRule(StrEnum):
    """What makes a lead likelier to buy."""

    COMPANY_NAMED = "COMPANY_NAMED"
    PERSON_NAMED = "PERSON_NAMED"
    REACHABLE = "REACHABLE"
    DECIDES = "DECIDES"
    CAME_TO_US = "CAME_TO_US"
    WISH_KNOWN = "WISH_KNOWN"
    BUDGET_KNOWN = "BUDGET_KNOWN"


LIFECYCLE = Lifecycle(
    {
        # verb         from                                           to
        "start":      ({State.NEW},                                   State.WORKING),
        "qualify":    ({State.NEW, State.WORKING},                    State.QUALIFIED),
        "disqualify": ({State.NEW, State.WORKING, State.QUALIFIED},   State.DISQUALIFIED),
        "reopen":     ({State.DISQUALIFIED},                          State.WORKING),
        "convert":    ({State.QUALIFIED},                             State.CONVERTED),
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ScoreReason:
    """One rule that holds, and what it adds to the score."""

    rule: ScoreRule
    points: int


@dataclass(frozen=True, kw_only=True)
class Lead(Owned, Erasable):
    """A company or person who might become a customer."""

    number: str = ""
    company_name: str = ""
    person: str = ""
    job_title: str = ""
    role: Role | None = None
    email: str = ""
    phone: str = ""
    website: str = ""
    industry: str = ""
    region: str = ""
    country_code: str = ""
    source: Source | None = None
    campaign: str = ""
    wish: str = ""
    budget: Money | None = None
    expected_close_date: date | None = None
    next_follow_up_date: date | None = None
    tags: tuple[str, ...] = ()
    score: int = 0
    score_reasons: tuple[ScoreReason, ...] = ()
    state: State = State.NEW
    state_reason: str = ""
    qualify_time: datetime | None = None
    convert_time: datetime | None = None
    customer: str = ""
    contact: str = ""
    opportunity: str = ""
    external_id: str = ""
    description: str = ""
    do_not_contact: bool = False
    consents: tuple[Standing, ...] = ()  # what the consent log comes to

    def check(self) -> None:
        """Refuse a lead to nobody."""
        if not (self.company_name or self.person or self.erase_time):
            raise invalid("company_name", "must be given when no person is named")
        if self.budget and self.budget.amount < 0:
            raise invalid("budget", "must not be negative")

    def scored(self) -> Lead:
        """With its names trimmed and its score as the rules have it."""
        lead = replace(
            self, company_name=" ".join(self.company_name.split()), person=" ".join(self.person.split())
        )
        reasons = tuple(
            ScoreReason(rule=rule, points=points) for rule, (points, holds) in SCORING.items() if holds(lead)
        )
        return replace(lead, score=sum(r.points for r in reasons), score_reasons=reasons)

    def still_open(self, verb: str) -> Lead:
        """Itself, unless it was converted and is history."""
        if self.state is State.CONVERTED:
            allowed = ", ".join(sorted(set(State) - {State.CONVERTED}))
            raise Refused("STATE_FORBIDS", verb=verb, state=self.state, allowed=allowed)
        return self

    def assign(self, owner: str, team: str) -> Lead:
        """Worked on by somebody else from now on."""
        return replace(self.still_open("assign"), owner=owner, team=team)

    def forgotten(self) -> Lead:
        """A lead of which the company is known at most, and what became of it."""
        bare = replace(self, job_title="", external_id="", description="")
        if self.company_name:
            return bare
        return replace(bare, website="", wish="", tags=(), state_reason="")

    def start(self) -> Lead:
        """Being worked on."""
        return replace(self, state=LIFECYCLE.after("start", self.state))

    def qualify(self, *, at: datetime) -> Lead:
        """Found worth a deal."""
        return replace(self, state=LIFECYCLE.after("qualify", self.state), qualify_time=at)

    def disqualify(self, reason: str) -> Lead:
        """Dropped."""
        return replace(self, state=LIFECYCLE.after("disqualify", self.state), state_reason=reason)

    def reopen(self, reason: str) -> Lead:
        """Taken up again."""
        return replace(
            self, state=LIFECYCLE.after("reopen", self.state), state_reason=reason, qualify_time=None
        )

    def convert(self, *, customer: str, contact: str, opportunity: str, at: datetime) -> Lead:
        """Became a customer; nothing more can happen to it."""
        return replace(
            self, state=LIFECYCLE.after("convert", self.state), next_follow_up_date=None,
            customer=customer, contact=contact, opportunity=opportunity, convert_time=at,
        )  # fmt: skip

    def as_customer(self, id: str) -> Customer:
        """The customer it would become, in the same hands."""
        private = not self.company_name
        return Customer(
            id=id,
            kind=Kind.PERSON if private else Kind.COMPANY,
            display_name=self.person if private else self.company_name,
            emails=(self.email,) if private and self.email else (),
            phones=(self.phone,) if private and self.phone else (),
            do_not_contact=private and self.do_not_contact,
            needs=(Need(text=self.wish),) if self.wish else (),
            currency=self.budget.currency if self.budget else "",
            country_code=self.country_code, industry=self.industry, region=self.region, source=self.source,
            website=self.website, tags=self.tags, owner=self.owner, team=self.team,
        )  # fmt: skip

    def as_contact(self, id: str, customer: str) -> Contact | None:
        """The person it names, as a contact of that customer."""
        if not self.person:
            return None
        return Contact(
            id=id, customer=customer, display_name=self.person, job_title=self.job_title, role=self.role,
            emails=(self.email,) if self.email else (), phones=(self.phone,) if self.phone else (),
            do_not_contact=self.do_not_contact,
        )  # fmt: skip

    def deal_title(self) -> str:
        """What the deal is called when nobody says: never by the person's name, for events carry it."""
        of = self.company_name or self.number
        return (f"{of}: {self.wish}" if self.wish else of)[:LONGEST_TITLE]


_CAME_TO_US = {Source.WEBSITE, Source.REFERRAL, Source.EXHIBITION, Source.PARTNER}
_DECIDES = {Role.DECISION_MAKER, Role.BUDGET_HOLDER}
SCORING: dict[ScoreRule, tuple[int, Callable[[Lead], bool]]] = {
    ScoreRule.COMPANY_NAMED: (10, lambda lead: bool(lead.company_name)),
    ScoreRule.PERSON_NAMED: (10, lambda lead: bool(lead.person)),
    ScoreRule.REACHABLE: (15, lambda lead: bool(lead.email or lead.phone)),
    ScoreRule.DECIDES: (20, lambda lead: lead.role in _DECIDES),
    ScoreRule.CAME_TO_US: (15, lambda lead: lead.source in _CAME_TO_US),
    ScoreRule.WISH_KNOWN: (10, lambda lead: bool(lead.wish)),
    ScoreRule.BUDGET_KNOWN: (20, lambda lead: bool(lead.budget)),
}
