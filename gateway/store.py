"""What access keeps, and the questions worth a name.

Signing in begins before the organization is known: four functions of the database (see the migrations)
answer across organizations, each with names and ids and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from chassis.kernel.record import Record
from chassis.kernel.refusals import Refused
from chassis.personal.persons import Person
from chassis.personal.sealing import LOGIN, digest
from chassis.store import Ahead, Collection, Rows, Store, Tx
from gateway.domain.access_request import MOST, AccessRequest
from gateway.domain.access_request import State as RequestState
from gateway.domain.api_key import ApiKey
from gateway.domain.handover import Handover, HandoverItem
from gateway.domain.identity_provider import IdentityProvider
from gateway.domain.organization import Organization
from gateway.domain.personal_data_request import PersonalDataRequest
from gateway.domain.role import Role
from gateway.domain.session import Session
from gateway.domain.session import State as SessionState
from gateway.domain.team import Team
from gateway.domain.territory import Territory
from gateway.domain.tree import Tree
from gateway.domain.user import ADMINISTRATOR, User
from gateway.domain.user import Kind as UserKind
from gateway.domain.user import State as UserState

OPEN = (RequestState.PENDING, RequestState.GRANTED)  # of access requests


class AccessStore(Store):
    """Organizations, their people and roles, and the digests of what they sign in with."""

    organizations = Collection(Organization)
    # One of a kind are e-mails by their blind index; the group says so of those that are not sealed yet.
    users = Collection(User, index=(("team",), ("state",)), unique=(("email",),), sealed={"email": LOGIN})
    teams = Collection(Team, index=(("parent",),))
    territories = Collection(Territory, index=(("parent",),))
    roles = Collection(Role, unique=(("display_name",),))
    sessions = Collection(Session, index=(("owner", "state"),), sealed={"device": None, "network": None},
                          about=("owner",))  # fmt: skip
    api_keys = Collection(ApiKey, index=(("owner", "state"),))
    access_requests = Collection(AccessRequest, index=(("owner", "state"), ("state", "expire_time")))
    handovers = Collection(Handover, index=(("owner", "state"), ("team", "state")))
    handover_items = Collection(HandoverItem, index=(("handover", "state"),))
    personal_data_requests = Collection(PersonalDataRequest, index=(("subject",), ("state", "kind")))
    identity_providers = Collection(IdentityProvider, private=("client_secret",))
    # Who is whom: the digest of what a provider calls somebody, and the user it is.
    identities = Rows(
        "identities", sa.Column("provider", sa.Text()), sa.Column("subject", sa.Text()),
        sa.Column("person", sa.Text(), nullable=False),
        key=("provider", "subject"), index=(("person",),),
    )  # fmt: skip
    passwords = Rows(
        "passwords",
        sa.Column("person", sa.Text()),
        sa.Column("hash", sa.Text(), nullable=False),
        key=("person",),
    )
    # A row per secret that was given out, by its SHA-256; used-up refresh tokens stay to be recognised.
    tokens = Rows(
        "tokens", sa.Column("digest", sa.Text()), sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=False),
        key=("digest",), index=(("subject", "kind"),),
    )  # fmt: skip
    # Wrong and right passwords and codes, per account and network; see `tries`.
    tries = Rows(
        "tries", sa.Column("digest", sa.Text()), sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("under_way", sa.BigInteger(), nullable=False),
        sa.Column("last_time", sa.DateTime(timezone=True)),
        sa.Column("begin_time", sa.DateTime(timezone=True)),
        sa.Column("good_time", sa.DateTime(timezone=True)),
        sa.Column("keep_time", sa.DateTime(timezone=True), nullable=False),
        key=("digest",), index=(("keep_time",),),
    )  # fmt: skip
    # The authenticator of a person: its secret sealed; the step of the last code that was taken.
    authenticators = Rows(
        "authenticators", sa.Column("person", sa.Text()), sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("pending", sa.Text(), nullable=False),
        sa.Column("pending_until", sa.DateTime(timezone=True)),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        key=("person",),
    )  # fmt: skip
    recovery_codes = Rows(
        "recovery_codes", sa.Column("person", sa.Text()), sa.Column("digest", sa.Text()),
        sa.Column("use_time", sa.DateTime(timezone=True)),
        key=("person", "digest"),
    )  # fmt: skip
    # Sign-ins that wait for the code of an authenticator.
    challenges = Rows(
        "challenges", sa.Column("id", sa.Text()), sa.Column("person", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False), sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("answered", sa.Boolean(), nullable=False),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=False),
        key=("id",),
    )  # fmt: skip

    async def meet(self, tx: Tx, person: Person) -> None:
        """SUBJECT_UNFIT for a program, and for whoever can still sign in."""
        for name in person.subjects:
            for user in await tx.all(
                User, deleted=True, scoped=False, limit=1, id=name.partition("users/")[2]
            ):
                if user.kind is not UserKind.PERSON or user.state is not UserState.DISABLED:
                    raise Refused("SUBJECT_UNFIT", field="subject", name=name)

    async def forget_besides(self, tx: Tx, record: Any) -> None:
        """How somebody signed in, and from where."""
        for table in ("passwords", "identities", "authenticators", "recovery_codes", "challenges"):
            await tx.run(
                f"DELETE FROM {table} WHERE tenant_id = %s AND person = %s", [tx.call.tenant, record.id]
            )
        await tx.run("DELETE FROM tokens WHERE tenant_id = %s AND subject = %s", [tx.call.tenant, record.id])


# Looked up before the organization is known, so these do not lead with it.
sa.Index("tokens_by_digest", AccessStore.tokens.c.digest)
sa.Index("users_by_email", AccessStore.users.table.c.email)
sa.Index("identity_providers_by_id", AccessStore.identity_providers.table.c.id)
sa.Index("organizations_by_display_name", AccessStore.organizations.table.c.display_name)


@dataclass(frozen=True)
class Held:
    """What a secret stands for: a session, a key or a user of one organization."""

    tenant: str
    kind: str
    subject: str
    generation: int
    expire_time: datetime


async def _across(store: Store, question: str, *values: str) -> list[tuple[Any, ...]]:
    async with store.database.pipe() as pipe:
        return await pipe.ask(question, values).rows()


async def holder(store: Store, kept: str) -> Held | None:
    """Whose secret is kept as this digest, in whichever organization."""
    asked = "SELECT tenant_id, kind, subject, generation, expire_time FROM token_holder(%s)"
    rows = await _across(store, asked, kept)
    return Held(*rows[0]) if rows else None


async def accounts(store: Store, email: str) -> list[tuple[str, str]]:
    """(organization, user) of everyone with this address, by their ids."""
    found = await _across(store, _ACCOUNTS, *await _asked(store, email))
    return [(row[0], row[1]) for row in found]


async def account_of(tx: Tx, email: str) -> User | None:
    """The user of this organization with this address, locked."""
    for row in await tx.rows(_ACCOUNTS, await _asked(tx.store, email)):
        if row["tenant_id"] == tx.call.tenant:
            return await tx.get(User, f"users/{row['user_id']}", lock=True)
    return None


_ACCOUNTS = (
    "SELECT tenant_id, user_id FROM accounts_by(%s)"
    " UNION SELECT tenant_id, user_id FROM accounts_of(%s) ORDER BY tenant_id"
)


async def _asked(store: Store, email: str) -> tuple[str, str]:
    """An address as it is looked for: by its blind index, and as it stands where it is not sealed yet."""
    return digest(await store.shared_key(), "users.email", f"={LOGIN.whole(email)}"), email


async def organization_of(store: Store, provider: str) -> str:
    """The id of the organization that has this identity provider, or ""."""
    rows = await _across(store, "SELECT provider_organization(%s)", provider)
    return rows[0][0] or ""


async def organization_named(store: Store, display_name: str) -> str:
    """The id of the organization of this name, or ""."""
    rows = await _across(store, "SELECT organization_named(%s)", display_name)
    return rows[0][0] or ""


async def in_line(tx: Tx, what: str) -> None:
    """One at a time from here to the commit, so that two changes cannot both find what neither leaves."""
    await tx.rows("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{what} of {tx.call.tenant}"])


async def refer(tx: Tx, record: type[Record], field: str, name: str) -> Any:
    """The record a field names, or REFERENCE_UNKNOWN."""
    try:
        return await tx.get(record, name)
    except Refused as refused:
        if refused.reason != "NOT_FOUND":
            raise
        raise Refused("REFERENCE_UNKNOWN", field=field, name=name) from None


async def roles_of(tx: Tx, names: Iterable[str], field: str = "roles") -> list[Role]:
    """The roles of these names; REFERENCE_UNKNOWN for one that is not there."""
    return [await refer(tx, Role, f"{field}[{at}]", name) for at, name in enumerate(names)]


def tree_of(tx: Tx) -> Ahead[Tree[Team]]:
    """All teams of the organization."""
    teams = tx.all(Team, limit=10_000)

    async def receive() -> Tree[Team]:
        return Tree(await teams)

    return Ahead(receive)


def territories_of(tx: Tx) -> Ahead[Tree[Territory]]:
    """All territories of the organization."""
    found = tx.all(Territory)

    async def receive() -> Tree[Territory]:
        return Tree(await found)

    return Ahead(receive)


async def other_administrators(tx: Tx, user: User) -> int:
    """How many more people administer the organization."""
    rows = await tx.rows(
        "SELECT count(*) AS n FROM users WHERE tenant_id = %s AND id <> %s AND delete_time IS NULL"
        " AND state = 'ACTIVE' AND kind = 'PERSON' AND password_time IS NOT NULL AND roles @> %s::jsonb",
        [tx.call.tenant, user.id, f'["{ADMINISTRATOR}"]'],
    )
    return int(rows[0]["n"])


async def users_of(tx: Tx, *, team: str = "", role: str = "") -> int:
    """How many users are in a team, or have a role."""
    rows = await tx.rows(
        "SELECT count(*) AS n FROM users WHERE tenant_id = %s AND delete_time IS NULL"
        " AND (team = %s OR roles @> jsonb_build_array(%s::text))",
        [tx.call.tenant, team or "-", role or "-"],
    )
    return int(rows[0]["n"])


def granted_requests(tx: Tx, user: str) -> Ahead[list[AccessRequest]]:
    """What somebody was granted to see, or was until now."""
    return tx.all(AccessRequest, owner=user, state=RequestState.GRANTED.value, limit=2 * MOST, scoped=False)


async def open_requests(tx: Tx, user: str) -> list[AccessRequest]:
    """The access requests of a user that are not over."""
    states = sa.or_(*(AccessStore.access_requests.table.c.state == state.value for state in OPEN))
    found = await tx.all(AccessRequest, states, owner=user, scoped=False)
    return [request for request in found if request.expire_time and request.expire_time > tx.call.now]


async def active_sessions(tx: Tx, user: User) -> list[Session]:
    """The sessions of a user that were not ended, oldest first."""
    return await tx.all(
        Session,
        owner=f"users/{user.id}",
        state=SessionState.ACTIVE.value,
        order="create_time, id",
        scoped=False,
    )


async def password_hash(tx: Tx, user_id: str) -> str:
    """The hash of a user's password, "" for none."""
    rows = await tx.rows(
        "SELECT hash FROM passwords WHERE tenant_id = %s AND person = %s", [tx.call.tenant, user_id]
    )
    return str(rows[0]["hash"]) if rows else ""


async def forget_password(tx: Tx, user_id: str) -> None:
    """Without a password, and without the codes that could set one."""
    await tx.run("DELETE FROM passwords WHERE tenant_id = %s AND person = %s", [tx.call.tenant, user_id])
    await tx.run(
        "DELETE FROM tokens WHERE tenant_id = %s AND subject = %s AND kind = 'code'",
        [tx.call.tenant, user_id],
    )


async def use_up(tx: Tx, secret: str, until: datetime) -> bool:
    """Whether nobody has brought this secret before; remembered until then, by its SHA-256."""
    digest = hashlib.sha256(f"used\n{secret}".encode()).hexdigest()
    return bool(await tx.run(
        "INSERT INTO tokens (tenant_id, digest, kind, subject, generation, expire_time)"
        " VALUES (%s, %s, 'used', '', 0, %s) ON CONFLICT DO NOTHING",
        [tx.call.tenant, digest, until],
    ))  # fmt: skip
