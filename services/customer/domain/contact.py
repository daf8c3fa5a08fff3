"""What a contact is: a person at a customer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chassis.kernel.erasable import Erasable
from chassis.kernel.record import Owned, replace
from chassis.kernel.refusals import invalid
from services.customer.domain.consent import Standing
from services.customer.domain.customer import Channel, Customer


class Role(StrEnum):
    """What part somebody plays when their house decides to buy."""

    DECISION_MAKER = "DECISION_MAKER"
    BUDGET_HOLDER = "BUDGET_HOLDER"
    INFLUENCER = "INFLUENCER"
    USER = "USER"
    GATEKEEPER = "GATEKEEPER"
    CHAMPION = "CHAMPION"


@dataclass(frozen=True, kw_only=True)
class Contact(Owned, Erasable):
    """A person at a customer; whoever may see the customer may see them."""

    customer: str
    display_name: str
    family_name: str = ""
    given_name: str = ""
    salutation: str = ""
    job_title: str = ""
    department: str = ""
    role: Role | None = None
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    preferred_channel: Channel | None = None
    language: str = ""
    do_not_contact: bool = False
    note: str = ""
    external_id: str = ""
    consents: tuple[Standing, ...] = ()  # what the consent log comes to

    def check(self) -> None:
        """Refuse a person without a name."""
        if not self.display_name.strip() and self.erase_time is None:
            raise invalid("display_name", "must say what the person is called")

    def forgotten(self) -> Contact:
        """Somebody at the customer, of whom nothing is known but the part they played."""
        return replace(self, job_title="", department="", preferred_channel=None, language="", external_id="")

    def following(self, customer: Customer) -> Contact:
        """In the same hands as the customer."""
        return replace(self, owner=customer.owner, team=customer.team, collaborators=customer.collaborators)
