"""Who stands behind an Authorization header, and the principal token that says so to the services.

What was looked up is used again for some seconds, short enough that an ended session, a disabled user or
a changed role is felt everywhere within five: an identity is at most IDENTITY_SECONDS old and was made
from roles and teams at most DIRECTORY_SECONDS old.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tradewind.type.v1 import audit_pb2

from chassis.audit.trail import Trail
from chassis.call import Call
from chassis.identity import Principal, Signer
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.store import Ahead, Store, Tx, utc_now
from gateway.domain.access_request import AccessRequest
from gateway.domain.api_key import SEEN as KEY_SEEN
from gateway.domain.api_key import ApiKey
from gateway.domain.organization import Networks, Organization, within
from gateway.domain.role import EXPORT, Role, Scope, only
from gateway.domain.session import SEEN as SESSION_SEEN
from gateway.domain.session import Session
from gateway.domain.team import Team
from gateway.domain.territory import Territory, reached_by
from gateway.domain.tree import Tree
from gateway.domain.user import Kind, State, User
from gateway.field_rules import rules_for, seen_in_full
from gateway.permissions import permissions_of
from gateway.store import Held, granted_requests, territories_of, tree_of
from gateway.tokens import PREFIXES, digest, held

IDENTITY_SECONDS = 2.5
DIRECTORY_SECONDS = 2.0
REUSE_SECONDS = 45.0  # of a principal token that lives 60
MOST = 20_000
# What may stand in an Authorization header, and in a cookie.
HEADERS, COOKIES = ("access", "key", "grant"), ("browser",)
_Given = tuple[Mapping[str, Scope], Mapping[str, str]]
Clock = Callable[[], float]
Now = Callable[[], datetime]


@dataclass(frozen=True)
class Identity:
    """Somebody whose credential was found good."""

    token: str  # the principal token
    user: str  # "users/…"
    tenant: str
    session: str  # "sessions/…" or "apiKeys/…"
    permissions: Mapping[str, Scope]
    version: str = ""  # of what the token says
    limited: bool = False  # to setting up a second factor, which the organization asks for
    view: str = ""  # of the rules by which fields are kept from them; "" for none


@dataclass(frozen=True)
class Directory:
    """What an organization's identities are made from."""

    roles: Mapping[str, Role]
    tree: Tree[Team]
    territories: Tree[Territory]
    organization: Organization
    networks: Networks
    seen: int = 0  # of which versions it was made; see `seen_of`
    _given: dict[tuple[str, ...], _Given] = field(default_factory=dict)  # by the names of roles

    def given_to(self, user: User) -> _Given:
        """What a user's roles let them do, and which field rules hold: found out once for the same roles."""
        given = self._given.get(user.roles)
        if given is None:
            roles = self.roles_of(user)
            given = self._given[user.roles] = permissions_of(roles), rules_for(roles)
        return given

    def roles_of(self, user: User) -> list[Role]:
        """The roles of a user that are there."""
        return [self.roles[name] for name in user.roles if name in self.roles]

    def lacks_second_factor(self, user: User) -> bool:
        """Whether the organization asks a second factor of this user, who has none yet."""
        asked = user.kind is Kind.PERSON and self.organization.asks_for_second_factor(user.roles)
        return asked and user.second_factor_time is None


_VERSIONS = " UNION ALL ".join(
    f"SELECT '{table}/' || id || ' ' || version AS said FROM {table} WHERE tenant_id = %s"
    for table in ("organizations", "roles", "teams", "territories")
)


def seen_of(tx: Tx) -> Ahead[int]:
    """Another number whenever anything is that a directory is made from; made by one statement."""
    every = "coalesce(hashtextextended(string_agg(said, ',' ORDER BY said), 0), 0)"
    asked = tx.rows(f"SELECT {every} AS seen FROM ({_VERSIONS}) v", [tx.call.tenant] * 4)

    async def receive() -> int:
        return int((await asked)[0]["seen"])

    return Ahead(receive)


def directory_of(tx: Tx) -> Ahead[Directory]:
    """The roles, teams and territories of the organization, as they are."""
    before = seen_of(tx)  # asked first: what changes meanwhile is found to have
    asked = tx.all(Role), tx.get(Organization, f"organizations/{tx.call.tenant}"), tree_of(tx)
    parts = territories_of(tx)

    async def receive() -> Directory:
        roles, organization, tree = await asked[0], await asked[1], await asked[2]
        by_name = {f"roles/{role.id}": role for role in roles}
        seen = await before
        return Directory(by_name, tree, await parts, organization, organization.networks(), seen)

    return Ahead(receive)


async def principal_of(
    user: User, directory: Directory, granted: Ahead[list[AccessRequest]], now: datetime
) -> tuple[Principal, Mapping[str, Scope]]:
    """What tokens say of a user, whatever the credential, and the permissions once more as scopes; *granted*
    is what they asked to see, or to export, beyond their roles."""
    permissions, rules = directory.given_to(user)
    lifted = await granted if rules or EXPORT not in permissions else []
    if exports := {f"{each.export}.export": Scope.ALL for each in lifted if each.export and each.holds(now)}:
        permissions = {**permissions, **exports}
    # Who has the scope nowhere need not be told which they are.
    placed = Scope.TERRITORY in permissions.values()
    return Principal(
        user=f"users/{user.id}", tenant="", permissions=_said(permissions), team=user.team,
        roles=tuple(name.removeprefix("roles/") for name in user.roles),
        teams=directory.tree.below(user.team),
        territories=reached_by(f"users/{user.id}", directory.territories) if placed else (),
        locale=user.locale or directory.organization.locale,
        zone=directory.organization.time_zone,
        fields=seen_in_full(rules, lifted, now) if rules else None,
    ), permissions  # fmt: skip


def _said(permissions: Mapping[str, Scope]) -> dict[str, str]:
    return {name: scope.lower() for name, scope in permissions.items()}


@dataclass(frozen=True)
class _Known:
    principal: Principal
    permissions: Mapping[str, Scope]
    good_until: datetime  # the credential's own end
    networks: Networks
    limited: bool
    view: str
    browser: Session | None = None  # whose uses are written down apart


class _Ended(Refused):
    """A credential that was good once, or is elsewhere: it is known whose."""

    def __init__(self, tenant: str, user: str, reason: str = "UNAUTHENTICATED", **facts: object) -> None:
        super().__init__(reason, **facts)
        self.tenant, self.user = tenant, user


class Identifier:
    """`await identify(authorization, peer)`; one per process."""

    def __init__(
        self,
        store: Store,
        signer: Signer,
        clock: Clock = time.monotonic,
        now: Now = utc_now,
        trail: Trail | None = None,
    ) -> None:
        self._store, self._signer, self._clock, self._now = store, signer, clock, now
        self._trail = trail
        self._known: OrderedDict[str, tuple[float, _Known]] = OrderedDict()
        self._directories: OrderedDict[str, tuple[float, Directory]] = OrderedDict()
        self._minted: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()
        self._asked: dict[str, asyncio.Task[_Known]] = {}

    async def __call__(self, authorization: str, peer: str) -> Identity:
        """Who calls, or UNAUTHENTICATED."""
        return await self._found(_bearer(authorization), peer, HEADERS)

    async def by_cookie(self, secret: str, peer: str, used: bool = True) -> Identity:
        """Who calls with a browser's cookie, or UNAUTHENTICATED; not *used* leaves the session idle."""
        return await self._found(secret, peer, COOKIES, used)

    async def _found(self, secret: str, peer: str, kinds: tuple[str, ...], used: bool = True) -> Identity:
        if not secret.startswith(tuple(PREFIXES[kind] for kind in kinds)):
            raise Refused("UNAUTHENTICATED", problem="the token is unknown or over")
        try:
            known = await self._look_up(key := digest(secret), secret, kinds)
            who = known.principal
            if self._now() >= known.good_until:
                raise _Ended(who.tenant, who.user, problem="the token is over")
            if known.networks and not within(known.networks, peer):
                raise _Ended(who.tenant, who.user, "NETWORK_REFUSED")
        except _Ended as ended:
            if self._trail is not None:
                call = Call(tenant=ended.tenant, user=ended.user, peer=peer)
                self._trail.note(call, audit_pb2.REFUSED, reason=ended.reason)
            raise
        if used and known.browser is not None:
            await self._use(key, known)
        return Identity(
            self._token(who), who.user, who.tenant, who.session, known.permissions, who.version,
            known.limited, known.view,
        )  # fmt: skip

    def forget(self) -> None:
        """Look everything up anew, as if the seconds had passed."""
        self._known.clear()
        self._directories.clear()

    async def _look_up(self, key: str, secret: str, kinds: tuple[str, ...]) -> _Known:
        at, known = self._known.get(key, (0.0, None))
        if known and self._clock() - at < IDENTITY_SECONDS:
            return known
        # Many calls of one session at once ask the database once; a caller who leaves does not end it.
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._ask(key, secret, kinds))
            task.add_done_callback(lambda done: self._answered(key, done))
        return await asyncio.shield(task)

    async def _use(self, key: str, known: _Known) -> None:
        """Write down that a browser's session is used: apart from the look-up, which a stream that is left
        open asks for as well, and whose answer a use may find."""
        at, kept = self._known.get(key, (0.0, known))
        session, now = kept.browser, self._now()
        if session is None or not session.unseen(now):
            return
        if key in self._known:  # so that of many at once one writes
            self._known[key] = at, replace(kept, browser=replace(session, last_used_time=now))
        async with self._store.begin(Call(tenant=kept.principal.tenant, user="services/access")) as tx:
            await _seen(tx, session, now)

    def _answered(self, key: str, done: asyncio.Task[_Known]) -> None:
        self._asked.pop(key, None)
        if not done.cancelled():
            done.exception()  # seen here too, in case every caller has left

    async def _ask(self, key: str, secret: str, kinds: tuple[str, ...]) -> _Known:
        began = self._clock()
        self._known.pop(key, None)
        now = self._now()
        found = await held(self._store, secret, *kinds, at=now)
        if found is None:
            raise Refused("UNAUTHENTICATED", problem="the token is unknown or over")
        async with self._store.begin(Call(tenant=found.tenant, user="services/access")) as tx:
            known = await self._known_from(tx, found, now)
        if not known.limited:  # so that who has set up a second factor goes on at once
            self._known[key] = (began, known)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return known

    async def _known_from(self, tx: Tx, found: Held, now: datetime) -> _Known:
        credential: ApiKey | Session
        subject, _, scope = found.subject.partition(" ")  # a token may be for less than its key
        of_session = found.kind in ("access", "browser")
        asked: Ahead[Any] = (
            tx.get(Session, f"sessions/{subject}") if of_session else tx.get(ApiKey, f"apiKeys/{subject}")
        )
        directory = self._directory(tx, found.tenant)  # asked for with it, where it is not known
        try:
            credential = await asked
            reading, granted = tx.get(User, credential.owner), granted_requests(tx, credential.owner)
            user = await reading
        except Refused:
            raise Refused("UNAUTHENTICATED", problem="the account is gone") from None
        if not credential.good(now):
            raise _Ended(found.tenant, credential.owner, problem="the session or key was ended")
        if user.state is not State.ACTIVE:
            raise _Ended(found.tenant, credential.owner, problem="the account is not active")
        known = await directory
        principal, permissions = await principal_of(user, known, granted, now)
        if isinstance(credential, ApiKey):
            permissions = only(permissions, credential.permissions)
            permissions = only(permissions, scope.split()) if scope else permissions
        browser = credential if isinstance(credential, Session) and found.kind == "browser" else None
        if browser is None and credential.unseen(now):
            await _seen(tx, credential, now)
        principal = replace(
            principal, tenant=found.tenant, session=tx.name(credential), permissions=_said(permissions)
        )
        return _Known(
            replace(principal, version=_version(principal)), permissions, found.expire_time,
            known.networks, limited=known.lacks_second_factor(user), view=_view(principal),
            browser=browser,
        )  # fmt: skip

    def _directory(self, tx: Tx, tenant: str) -> Ahead[Directory]:
        at, known = self._directories.get(tenant, (0.0, None))
        began = self._clock()
        if known is None:
            asked = directory_of(tx)
        elif began - at >= DIRECTORY_SECONDS:
            seen = seen_of(tx)

        async def receive() -> Directory:
            if known is None:
                found = await asked
            elif began - at < DIRECTORY_SECONDS:
                return known
            else:  # as a rule nothing has changed
                found = known if await seen == known.seen else await directory_of(tx)
            self._directories[tenant] = began, found
            while len(self._directories) > MOST:
                self._directories.popitem(last=False)
            return found

        return Ahead(receive)

    def _token(self, who: Principal) -> str:
        key = (who.session, who.version)
        at, token = self._minted.get(key, (0.0, ""))
        if not token or self._clock() - at > REUSE_SECONDS:
            token = self._signer.mint(who)
            self._minted[key] = (self._clock(), token)
            self._minted.move_to_end(key)
            while len(self._minted) > MOST:
                self._minted.popitem(last=False)
        return token


async def _seen(tx: Tx, credential: ApiKey | Session, now: datetime) -> None:
    """Write down that it is used, once a minute whoever asks; to be seen is no change of it."""
    table, seconds = ("api_keys", KEY_SEEN) if isinstance(credential, ApiKey) else ("sessions", SESSION_SEEN)
    await tx.run(
        f"UPDATE {table} SET last_used_time = %s WHERE tenant_id = %s AND id = %s"
        " AND (last_used_time IS NULL OR last_used_time <= %s)",
        [now, tx.call.tenant, credential.id, now - seconds],
    )


def _bearer(authorization: str) -> str:
    scheme, _, secret = authorization.strip().partition(" ")
    if not authorization:
        raise Refused(
            "UNAUTHENTICATED", problem="send Authorization: Bearer with an access token or an API key"
        )
    if scheme.lower() != "bearer" or not secret.strip():
        raise Refused("UNAUTHENTICATED", problem="the Authorization header must be Bearer and a token")
    return secret.strip()


def _view(who: Principal) -> str:
    """What tells those who are shown a record otherwise from each other."""
    said = json.dumps(who.fields.claim(), sort_keys=True) if who.fields else ""
    return hashlib.sha256(said.encode()).hexdigest()[:8] if said else ""


def _version(who: Principal) -> str:
    """Changes whenever anything that the token says changes."""
    fields = who.fields.claim() if who.fields else None
    said = [
        sorted(who.permissions.items()),
        who.roles,
        who.team,
        who.teams,
        who.territories,
        who.locale,
        who.zone,
        fields,
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]
