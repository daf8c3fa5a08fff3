"""Who comes in on the word of an identity provider: which user it is, or becomes, and with which roles."""

from __future__ import annotations

import hashlib

from tradewind.access.v1 import events_pb2 as events
from tradewind.access.v1 import user_pb2

from chassis.call import new_id
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.shapes import Shape
from chassis.store import Tx
from gateway.domain.identity_provider import Identity, IdentityProvider
from gateway.domain.role import Role
from gateway.domain.user import ADMINISTRATOR, Kind, State, User, check_administered
from gateway.store import AccessStore, account_of, in_line, other_administrators

show = Shape(User, user_pb2.User)


async def arrive(tx: Tx, provider: IdentityProvider, who: Identity) -> User:
    """The user who may come in, as the provider's claims make them; or a refusal that says why not.

    Known by what the provider calls them; by their address the first time only. Whoever the claims leave
    without a role loses theirs here too and is told afterwards, see `admitted`.
    """
    user = await _linked(tx, provider, who)
    if user is None:
        await in_line(tx, "identities")  # two first sign-ins at once make one user
        user = await _linked(tx, provider, who) or await _met(tx, provider, who)
    if user.state is State.DISABLED or user.delete_time is not None:
        raise Refused("IDENTITY_UNKNOWN")
    if user.state is State.INVITED:
        user = tx.save(user.enter())
        tx.emit(events.UserActivated(user=show(user)))
    return await _with_roles(tx, provider, who, user)


def admitted(provider: IdentityProvider, user: User) -> None:
    """Refuse who has no role left, where the provider gives the roles."""
    if provider.role_claim and not user.roles:
        raise Refused("ROLE_MISSING")


async def _linked(tx: Tx, provider: IdentityProvider, who: Identity) -> User | None:
    rows = await tx.rows(
        "SELECT person FROM identities WHERE tenant_id = %s AND provider = %s AND subject = %s",
        [tx.call.tenant, provider.id, _digest(provider, who)],
    )
    return await tx.get(User, f"users/{rows[0]['person']}", lock=True) if rows else None


async def _met(tx: Tx, provider: IdentityProvider, who: Identity) -> User:
    """Somebody who signs in this way for the first time: known by the address, or made."""
    provider.check_email(who)
    user = await account_of(tx, who.email)
    if user is None:
        user = await _made(tx, provider, who)
    elif user.kind is not Kind.PERSON or user.state is State.DISABLED:
        raise Refused("IDENTITY_UNKNOWN")
    return await _link(tx, provider, who, user)


async def _made(tx: Tx, provider: IdentityProvider, who: Identity) -> User:
    if not provider.creates_users:
        raise Refused("IDENTITY_UNKNOWN")
    roles = provider.roles_of(who, await _known_roles(tx))
    if not roles:
        raise Refused("ROLE_MISSING")
    user = User(id=new_id(), display_name=who.display_name, email=who.email, roles=roles)
    made = tx.add(replace(user, state=State.ACTIVE))
    tx.emit(events.UserCreated(user=show(made)))
    return made


async def _link(tx: Tx, provider: IdentityProvider, who: Identity, user: User) -> User:
    """From now on this identity is this user. Another one of the same provider's is not taken over: who got
    somebody's address after them is not them."""
    rows = await tx.rows(
        "SELECT 1 AS one FROM identities WHERE tenant_id = %s AND provider = %s AND person = %s",
        [tx.call.tenant, provider.id, user.id],
    )
    if rows:
        raise Refused("IDENTITY_UNKNOWN")
    key = {"provider": provider.id, "subject": _digest(provider, who)}
    tx.put(AccessStore.identities, key=key, values={"person": user.id})
    linked = tx.save(user) if user.create_time != tx.call.now else user  # one just made changed already
    tx.emit(events.UserLinked(user=show(linked), identity_provider=f"identityProviders/{provider.id}"))
    return linked


async def _with_roles(tx: Tx, provider: IdentityProvider, who: Identity, user: User) -> User:
    """With the roles that follow from the claims; the last administrator keeps what nobody else has."""
    if not provider.role_claim:
        return user
    await in_line(tx, "roles")
    after = replace(user, roles=provider.roles_of(who, await _known_roles(tx)))
    if user.administers and not after.administers:
        await in_line(tx, "administrators")
        try:
            check_administered(user, after, await other_administrators(tx, user))
        except Refused:
            after = replace(after, roles=(ADMINISTRATOR, *after.roles))
    if set(after.roles) == set(user.roles):
        return user
    after = tx.save(after)
    tx.emit(events.UserUpdated(user=show(after)))
    return after


async def _known_roles(tx: Tx) -> list[str]:
    return [f"roles/{role.id}" for role in await tx.all(Role)]


def _digest(provider: IdentityProvider, who: Identity) -> str:
    """What stands for somebody: nothing that says who it is."""
    return hashlib.sha256(f"{provider.issuer}\n{who.subject}".encode()).hexdigest()
