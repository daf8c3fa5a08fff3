"""What a customer is, and what may happen to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from chassis.kernel.erasable import Erasable
from chassis.kernel.lifecycle import Lifecycle
from chassis.kernel.record import Owned, replace
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import Money
from services.customer.domain import tax_id as tax_ids
from services.customer.domain.consent import Standing
from services.customer.domain.likeness import likeness

DEEPEST = 20  # levels of customers that belong to one another


class Kind(StrEnum):
    """What kind of customer it is."""

    COMPANY = "COMPANY"
    PERSON = "PERSON"


class State(StrEnum):
    """Where the customer stands with us."""

    PROSPECT = "PROSPECT"
    ACTIVE = "ACTIVE"
    DORMANT = "DORMANT"
    LOST = "LOST"


class Source(StrEnum):
    """How we came to know of somebody."""

    WEBSITE = "WEBSITE"
    REFERRAL = "REFERRAL"
    EXHIBITION = "EXHIBITION"
    ADVERTISEMENT = "ADVERTISEMENT"
    COLD_CALL = "COLD_CALL"
    PARTNER = "PARTNER"
    CAMPAIGN = "CAMPAIGN"
    SOCIAL = "SOCIAL"
    RESEARCH = "RESEARCH"
    IMPORT = "IMPORT"
    OTHER = "OTHER"


class Channel(StrEnum):
    """By which channel somebody likes to be reached."""

    PHONE = "PHONE"
    EMAIL = "EMAIL"
    VISIT = "VISIT"
    CHAT = "CHAT"
    POST = "POST"


class Priority(StrEnum):
    """How much we care; the first is what an unsaid priority means."""

    NORMAL = "NORMAL"
    LOW = "LOW"
    HIGH = "HIGH"
    KEY_ACCOUNT = "KEY_ACCOUNT"


class Grade(StrEnum):
    """How valuable the customer is."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"


class AddressUse(StrEnum):
    """What an address serves for."""

    OFFICE = "OFFICE"
    BILLING = "BILLING"
    SHIPPING = "SHIPPING"
    REGISTERED = "REGISTERED"


class NeedKind(StrEnum):
    """Whether the customer said so, or we think so."""

    STATED = "STATED"
    LATENT = "LATENT"


@dataclass(frozen=True, kw_only=True)
class Address:
    """A place the customer is found at."""

    use: AddressUse = AddressUse.OFFICE
    recipient: str = ""
    street: str = ""
    district: str = ""
    city: str = ""
    province: str = ""
    postal_code: str = ""
    country_code: str = ""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Something the customer needs, from one day to another."""

    text: str
    kind: NeedKind = NeedKind.STATED
    start_date: date | None = None
    end_date: date | None = None

    def dated(self, today: date) -> Need:
        """Begun today, or when it ended, unless it says since when it is felt."""
        return self if self.start_date else replace(self, start_date=min(today, self.end_date or today))


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something that happened to the customer one day."""

    date: date
    text: str
    reference: str = ""


LIFECYCLE = Lifecycle(
    {
        # verb           from                                                to
        "activate":     ({State.PROSPECT, State.DORMANT, State.LOST},        State.ACTIVE),
        "mark dormant": ({State.ACTIVE},                                     State.DORMANT),
        "lose":         ({State.PROSPECT, State.ACTIVE, State.DORMANT},      State.LOST),
        "reopen":       ({State.LOST},                                       State.PROSPECT),
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Customer(Owned, Erasable):
    """A company or person we sell to, or hope to."""

    number: str = ""
    kind: Kind = Kind.COMPANY
    display_name: str
    legal_name: str = ""
    tax_id: str = ""
    country_code: str = ""
    industry: str = ""
    region: str = ""
    employees: int = 0
    annual_revenue: Money | None = None
    founding_year: int = 0
    source: Source | None = None
    website: str = ""
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()
    parent: str = ""  # "customers/…"
    tags: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    history: tuple[Fact, ...] = ()
    preferred_channel: Channel | None = None
    buying_preferences: tuple[str, ...] = ()
    priority: Priority = Priority.NORMAL
    grade: Grade | None = None
    grade_reason: str = ""
    currency: str = ""
    payment_terms_days: int = 0
    credit_limit: Money | None = None  # None: no limit
    state: State = State.PROSPECT
    state_reason: str = ""
    first_order_date: date | None = None
    last_order_date: date | None = None
    external_id: str = ""
    description: str = ""
    do_not_contact: bool = False
    consents: tuple[Standing, ...] = ()  # what the consent log of a private customer comes to
    territory: str = ""  # "territories/…"
    territory_reason: str = ""  # the criteria that put it there, or BY_HAND
    name_key: str = ""  # likeness of a company's display_name: duplicates are looked for by it
    legal_key: str = ""  # likeness of legal_name

    def tidy(self, today: date) -> Customer:
        """As it should be kept: names trimmed, tax id compact, needs dated, likenesses up to date."""
        display_name, legal_name = " ".join(self.display_name.split()), " ".join(self.legal_name.split())
        return replace(
            self,
            display_name=display_name,
            legal_name=legal_name,
            tax_id=tax_ids.compact(self.tax_id),
            needs=tuple(need.dated(today) for need in self.needs),
            currency=self.currency or ("" if self.credit_limit is None else self.credit_limit.currency),
            name_key=likeness(display_name) if self.kind is Kind.COMPANY else "",
            legal_key=likeness(legal_name) if self.kind is Kind.COMPANY else "",
        )

    def check(self) -> None:
        """Refuse values that cannot be right, or not together."""
        if not self.display_name:
            raise invalid("display_name", "must say what the customer is called")
        if self.erase_time and self.kind is Kind.PERSON and self.display_name != self.number:
            raise Refused("PERSON_ERASED", field="display_name", name=f"customers/{self.id}")
        if self.tax_id:
            tax_ids.check(self.tax_id, self.country_code)
        if self.grade and not self.grade_reason:
            raise invalid("grade_reason", f"must say why the grade is {self.grade}")
        if self.annual_revenue and self.annual_revenue.amount < 0:
            raise invalid("annual_revenue", "must not be negative")
        if self.credit_limit is not None:
            if self.credit_limit.amount < 0:
                raise invalid("credit_limit", "must not be negative; leave it out for no limit")
            if self.currency != self.credit_limit.currency:
                raise invalid("credit_limit", f"must be in the customer's currency, {self.currency}")
        for place, need in enumerate(self.needs):
            if need.start_date and need.end_date and need.end_date < need.start_date:
                raise invalid(f"needs[{place}].end_date", "must not lie before its start_date")

    def forgotten(self) -> Customer:
        """A private person is called by the number from now on, and nothing is told of them; a company keeps
        everything but the ways to reach it."""
        if self.kind is not Kind.PERSON:
            return self
        return replace(
            self,
            display_name=self.number,
            name_key="",
            legal_name="",
            legal_key="",
            tax_id="",
            website="",
            founding_year=0,
            addresses=(),
            needs=(),
            history=(),
            buying_preferences=(),
            tags=(),
            state_reason="",
            grade=None,
            grade_reason="",
            external_id="",
            description="",
        )

    def activate(self) -> Customer:
        """Buys from us."""
        return replace(self, state=LIFECYCLE.after("activate", self.state), state_reason="")

    def mark_dormant(self, reason: str) -> Customer:
        """Has stopped buying."""
        return replace(self, state=LIFECYCLE.after("mark dormant", self.state), state_reason=reason)

    def lose(self, reason: str) -> Customer:
        """Given up."""
        return replace(self, state=LIFECYCLE.after("lose", self.state), state_reason=reason)

    def reopen(self, reason: str) -> Customer:
        """Courted again after it was given up."""
        return replace(self, state=LIFECYCLE.after("reopen", self.state), state_reason=reason)

    def ordered(self, on: date) -> Customer:
        """Has a confirmed order of that day: active, whatever it was before, however late we hear of it."""
        return replace(
            self,
            state=State.ACTIVE,
            state_reason="" if self.state is not State.ACTIVE else self.state_reason,
            first_order_date=min(on, self.first_order_date or on),
            last_order_date=max(on, self.last_order_date or on),
        )

    def transfer(self, owner: str, team: str) -> Customer:
        """Looked after by somebody else from now on."""
        if (owner, team) == (self.owner, self.team):
            raise invalid("owner", "must be somebody else, or in another team, than now")
        return replace(
            self, owner=owner, team=team, collaborators=tuple(c for c in self.collaborators if c != owner)
        )

    def shared_with(self, collaborators: Sequence[str]) -> Customer:
        """Worked by these people beside its owner."""
        return replace(self, collaborators=tuple(c for c in collaborators if c != self.owner))


def check_ancestors(name: str, parent: str, ancestors: Sequence[str]) -> None:
    """Refuse *parent* for the customer *name* when that closes a circle or makes the chain too long.

    *ancestors* are the customers that *parent* belongs to, nearest first.
    """
    if name == parent or name in ancestors:
        raise Refused("PARENT_CYCLE", name=name, parent=parent)
    if len(ancestors) + 2 > DEEPEST:
        raise Refused("PARENT_TOO_DEEP", limit=DEEPEST)
