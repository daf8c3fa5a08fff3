"""Who may act for an organization, and what may happen to them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chassis.kernel.erasable import Erasable
from chassis.kernel.lifecycle import Lifecycle
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused, invalid
from gateway.domain.organization import check_time_zone

ADMINISTRATOR = "roles/administrator"


class Kind(StrEnum):
    """Who is behind the name."""

    PERSON = "PERSON"
    SERVICE_ACCOUNT = "SERVICE_ACCOUNT"


class State(StrEnum):
    """Whether somebody may act yet, or still."""

    INVITED = "INVITED"
    ACTIVE = "ACTIVE"
    DISABLED = "DISABLED"


LIFECYCLE = Lifecycle({
    # A code sets the first password of an invited person, or a new one after a reset.
    "activate": ({State.INVITED, State.ACTIVE},  State.ACTIVE),
    # An identity provider vouches for who is invited: no password is needed.
    "enter":    ({State.INVITED, State.ACTIVE},  State.ACTIVE),
    "disable":  ({State.INVITED, State.ACTIVE},  State.DISABLED),
    "enable":   ({State.DISABLED},               State.ACTIVE),
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class User(Erasable):
    """A person, or a program under a name of its own."""

    display_name: str
    email: str = ""
    kind: Kind = Kind.PERSON
    state: State = State.INVITED
    roles: tuple[str, ...] = ()  # "roles/…"
    team: str = ""  # "teams/…"
    locale: str = ""
    time_zone: str = ""
    password_time: datetime | None = None
    second_factor_time: datetime | None = None

    @property
    def invitation_code(self) -> str:
        """Never kept: the answer that makes a code shows it, once."""
        return ""

    @property
    def administers(self) -> bool:
        """Whether the organization can be administered through this user."""
        return (
            self.state is State.ACTIVE
            and self.kind is Kind.PERSON
            and self.password_time is not None
            and ADMINISTRATOR in self.roles
        )

    def check(self) -> None:
        """A person has an e-mail, a service account has none; roles are named once."""
        if not self.display_name.strip():
            raise invalid("display_name", "must not be empty")
        if self.kind is Kind.PERSON and not self.email and self.erase_time is None:
            raise invalid("email", "is required for a person")
        if self.kind is Kind.SERVICE_ACCOUNT and self.email:
            raise invalid("email", "must be empty for a service account, which has keys instead")
        if self.email != normal_email(self.email):
            raise invalid("email", "must be in small letters without spaces")
        if len(set(self.roles)) != len(self.roles):
            raise invalid("roles", "must not name a role twice")
        if self.time_zone:
            check_time_zone(self.time_zone)

    def invited(self) -> User:
        """As it begins: a person waits for a password, a service account acts at once."""
        active = self.kind is Kind.SERVICE_ACCOUNT
        return replace(self, email=normal_email(self.email), state=State.ACTIVE if active else State.INVITED)

    def activate(self, *, at: datetime) -> User:
        """With a password of their own, from now on."""
        self.must_be_a_person()
        return replace(self, state=LIFECYCLE.after("activate", self.state), password_time=at)

    def enter(self) -> User:
        """In on the word of an identity provider."""
        self.must_be_a_person()
        return replace(self, state=LIFECYCLE.after("enter", self.state))

    def change_password(self, *, at: datetime) -> User:
        """With another password."""
        self.must_be_a_person()
        return replace(self, password_time=at)

    def reset_password(self) -> User:
        """Without a password, until a code sets one."""
        self.must_be_a_person()
        LIFECYCLE.after("activate", self.state)
        return replace(self, password_time=None)

    def use_second_factor(self, *, at: datetime) -> User:
        """Signing in with a code as well, from now on."""
        self.must_be_a_person()
        return replace(self, second_factor_time=at)

    def drop_second_factor(self) -> User:
        """Signing in with the password alone."""
        if self.second_factor_time is None:
            raise Refused("NO_SECOND_FACTOR", user=f"users/{self.id}")
        return replace(self, second_factor_time=None)

    def disable(self) -> User:
        """Out: nothing is done under this name any more."""
        return replace(self, state=LIFECYCLE.after("disable", self.state))

    def enable(self) -> User:
        """Back in; a person who never set a password waits for one again."""
        state = LIFECYCLE.after("enable", self.state)
        if self.erase_time is not None:
            raise Refused("PERSON_ERASED", field="state", name=f"users/{self.id}")
        if self.kind is Kind.PERSON and self.password_time is None:
            state = State.INVITED
        return replace(self, state=state)

    def forgotten(self) -> User:
        """Somebody who worked here once: what they did keeps saying that it was the same one."""
        return replace(
            self, display_name=f"({self.id[-8:]})", locale="", time_zone="", password_time=None,
            second_factor_time=None,
        )  # fmt: skip

    def must_be_a_person(self) -> None:
        """Refuse what only people have: passwords and codes."""
        if self.kind is not Kind.PERSON:
            raise Refused("NOT_A_PERSON", user=f"users/{self.id}")


def check_administered(before: User, after: User, others: int) -> None:
    """Refuse a change after which no active administrator is left; *others* counts the rest."""
    if before.administers and not after.administers and not others:
        raise Refused("LAST_ADMINISTRATOR", user=f"users/{before.id}")


def normal_email(text: str) -> str:
    """The one way an address is written, so that it is found however it is typed."""
    return unicodedata.normalize("NFKC", text).strip().casefold()
