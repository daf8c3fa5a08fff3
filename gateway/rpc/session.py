"""Signing in, staying signed in, and ending it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from tradewind.access.v1 import events_pb2 as events
from tradewind.access.v1 import role_pb2, user_pb2
from tradewind.access.v1 import session_pb2 as api
from tradewind.type.v1 import audit_pb2

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.rpc import Handler, Policy, Rpc
from chassis.shapes import Shape
from chassis.store import Tx
from gateway.domain.organization import Organization, within
from gateway.domain.role import Role
from gateway.domain.second_factor import MOST_TRIES, TO_ANSWER
from gateway.domain.session import MOST, Kind, Session, begin
from gateway.domain.team import Team
from gateway.domain.user import State, User
from gateway.domain.view import View, of_roles
from gateway.login import Login
from gateway.permissions import listed
from gateway.rpc import organization as organization_rpc
from gateway.rpc import team as team_rpc
from gateway.second_factor import SecondFactors
from gateway.store import Held, active_sessions, roles_of
from gateway.tokens import Mint, held, revealing

show = Shape(Session, api.Session)
show_user = Shape(User, user_pb2.User)
show_view = Shape(View, role_pb2.Role.View)


@dataclass(frozen=True)
class _Challenge:
    """A sign-in that waits for its second step."""

    id: str
    tenant: str
    person: str
    device: str
    kind: Kind
    answered: bool


class SessionRpc(Rpc):
    """Create, Complete, Refresh, Get, List, Revoke, SignOut; and who am I."""

    service = "tradewind.access.v1.SessionService"
    shape = show

    def __init__(self, runtime: Any) -> None:
        super().__init__(runtime)
        self.mint = Mint(runtime.signer)
        self.login = Login(self.store, runtime.signer)
        self.second = SecondFactors(self.store, runtime.signer)

    def handlers(self) -> dict[str, tuple[Policy, Handler]]:
        """The methods that sign in show their tokens, in the answer and nowhere else."""
        reveals = dict.fromkeys(("CreateSession", "CompleteSession", "RefreshSession"), self.show_tokens)
        return revealing(super().handlers(), self.store, reveals)

    def show_tokens(self, answer: api.SignIn) -> None:
        """Put the secrets into an answer that signs in."""
        if answer.HasField("challenge"):
            answer.challenge.token = self.mint.secret("challenge", answer.challenge.token, 0)
        elif answer.session.kind != api.Session.BROWSER:  # whose cookie the HTTP door sets
            key, generation = answer.session.name.removeprefix("sessions/"), answer.session.generation
            answer.access_token = self.mint.secret("access", key, generation)
            answer.refresh_token = self.mint.secret("refresh", key, generation)

    async def CreateSession(self, request: api.CreateSessionRequest, call: Call) -> Any:
        failed = partial(self._failed, call)
        account = await self.login.account(
            request.email, request.password, request.organization, call.peer, failed
        )
        own = replace(call, tenant=account.tenant, user=f"users/{account.user}", scope="all")
        device, kind = request.device or call.agent, kind_of(request.kind)
        async with self.store.begin(own) as tx:
            user = await tx.get(User, own.user, lock=True)
            if user.state is not State.ACTIVE:
                raise Refused("SIGN_IN_REFUSED")
            return await self.known(tx, user, device, kind)

    async def known(self, tx: Tx, user: User, device: str, kind: Kind, key: str = "") -> api.SignIn:
        """The answer to somebody of whom it is clear who they are, by a password or a provider's word: a
        session, of this id if one is said, or the challenge that stands before it."""
        await check_network(tx, tx.call.peer)
        if user.second_factor_time is not None:
            return self._challenge(tx, user, device, kind)
        return self._sign_in(tx, await start_session(tx, user, device, kind, key), user)

    def _challenge(self, tx: Tx, user: User, device: str, kind: Kind) -> api.SignIn:
        """The answer to the first step of who has a second factor; it stands for nothing but its second
        step, and holds the challenge's id until the token is shown."""
        key, until = tx.call.new_id(), tx.call.now + TO_ANSWER
        values = {"person": user.id, "device": device, "kind": kind.value, "tries": 0, "answered": False}
        tx.put(self.store.challenges, key={"id": key}, values=values | {"expire_time": until})
        self.mint.keep(tx, "challenge", key, 0, until)
        answer = api.SignIn(challenge=api.SignInChallenge(token="" if tx.call.validate_only else key))
        answer.challenge.expire_time.FromDatetime(until)
        return tx.reply(answer)

    async def CompleteSession(self, request: api.CompleteSessionRequest, call: Call) -> Any:
        """Counted before it is looked at, twice: for the challenge, and for the account on its network."""
        token = await held(self.store, request.challenge, "challenge", at=call.now)
        if token is None:
            raise Refused("CHALLENGE_ENDED")
        waiting = await self._waiting(token)
        own = replace(call, tenant=waiting.tenant, user=f"users/{waiting.person}", scope="all")
        try:
            if waiting.answered:
                raise Refused("CHALLENGE_ENDED")
            await self.second.throttle.begin(waiting.person, call.peer)
            await self._one_more_try(waiting)
            answer = await self._completed(waiting, request.code, own)
        except Refused:
            if call.request_id:  # the same request may have been carried out before, or just now
                async with self.store.begin(own) as tx:
                    await tx.check_answer()
            raise
        if answer is None:
            await self.second.throttle.failed(waiting.person, call.peer)
            self._failed(call, waiting.tenant, waiting.person, "CODE_REFUSED")
            raise Refused("CODE_REFUSED")
        await self.second.throttle.succeeded(waiting.person, call.peer)
        return answer

    async def _waiting(self, token: Held) -> _Challenge:
        async with self.store.begin(Call(tenant=token.tenant, user="services/access")) as tx:
            rows = await tx.rows(
                "SELECT id, person, device, kind, answered FROM challenges WHERE tenant_id = %s AND id = %s",
                [token.tenant, token.subject],
            )
        if not rows:
            raise Refused("CHALLENGE_ENDED")
        return _Challenge(tenant=token.tenant, **rows[0] | {"kind": Kind(rows[0]["kind"])})

    async def _one_more_try(self, waiting: _Challenge) -> None:
        """In a transaction of its own: a code tried in a dry run, or refused, counts like any other."""
        async with self.store.begin(Call(tenant=waiting.tenant, user="services/access")) as tx:
            counted = await tx.run(
                "UPDATE challenges SET tries = tries + 1"
                " WHERE tenant_id = %s AND id = %s AND tries < %s AND NOT answered",
                [waiting.tenant, waiting.id, MOST_TRIES],
            )
        if not counted:
            raise Refused("CHALLENGE_ENDED")

    async def _completed(self, waiting: _Challenge, code: str, own: Call) -> api.SignIn | None:
        """The session, or None for a wrong code."""
        async with self.store.begin(own) as tx:
            user = await tx.get(User, own.user, lock=True)
            taken = await tx.run(
                "UPDATE challenges SET answered = true WHERE tenant_id = %s AND id = %s AND NOT answered",
                [own.tenant, waiting.id],
            )
            if user.state is not State.ACTIVE or not taken:
                raise Refused("CHALLENGE_ENDED")
            await check_network(tx, own.peer)
            if await self.second.accept(tx, user, code, own.now):
                session = await start_session(tx, user, waiting.device, waiting.kind)
                return self._sign_in(tx, session, user)
            await tx.run(
                "UPDATE challenges SET answered = false WHERE tenant_id = %s AND id = %s",
                [own.tenant, waiting.id],
            )
        return None

    def _failed(self, call: Call, tenant: str, user: str, reason: str = "SIGN_IN_REFUSED") -> None:
        """On record by the user's name; tries at accounts that there are not are counted."""
        whose = replace(call, tenant=tenant if user else "", user=f"users/{user}")
        self.runtime.trail.note(whose, audit_pb2.SIGN_IN_FAILED, reason=reason)

    def _sign_in(self, tx: Tx, session: Session, user: User) -> api.SignIn:
        """The answer, still without its tokens, which are recognised from the commit on."""
        answer = api.SignIn(session=show(session), user=show_user(user))
        if session.kind is Kind.BROWSER:
            self.mint.keep(tx, "browser", session.id, session.generation, session.expire_time)
            return tx.reply(answer)
        self.mint.keep(tx, "access", session.id, session.generation, session.access_expire_time)
        self.mint.keep(tx, "refresh", session.id, session.generation, session.expire_time)
        answer.access_expire_time.FromDatetime(session.access_expire_time)
        answer.refresh_expire_time.FromDatetime(session.expire_time)
        return tx.reply(answer)

    async def RefreshSession(self, request: api.RefreshSessionRequest, call: Call) -> Any:
        token = await held(self.store, request.refresh_token, "refresh", at=call.now)
        if token is None:
            raise Refused("SESSION_ENDED")
        own = replace(call, tenant=token.tenant, user="services/access", scope="all")
        async with self.store.begin(own) as tx:
            session = await tx.get(Session, f"sessions/{token.subject}", lock=True)
            user = await tx.get(User, session.owner)
            if user.state is not State.ACTIVE:
                raise Refused("SESSION_ENDED")
            await check_network(tx, call.peer)
            after = session.refresh(token.generation, at=call.now)
            if after is not None:
                return self._sign_in(tx, after if after is session else tx.save(after), user)
            end_session(tx, session, "token reused")
        raise Refused("SESSION_ENDED")

    async def RevokeSession(self, request: api.RevokeSessionRequest, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            session = await tx.get(Session, request.name, etag=request.etag)
            return tx.reply(show(end_session(tx, session, "revoked")))

    async def SignOut(self, request: api.SignOutRequest, call: Call) -> Any:
        if not call.session.startswith("sessions/"):
            raise Refused("NO_SESSION")
        async with self.store.begin(call) as tx:
            session = await tx.get(Session, call.session)
            return tx.reply(show(end_session(tx, session, "signed out")))

    async def GetMe(self, request: api.GetMeRequest, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            user = await tx.get(User, call.user)
            organization = await tx.get(Organization, f"organizations/{call.tenant}")
            team = await tx.get(Team, user.team) if user.team else None
            roles = await roles_of(tx, user.roles)
        grants = [
            role_pb2.Role.Grant(permission=permission, scope=role_pb2.Role.Scope.Value(scope.upper()))
            for permission, scope in sorted(call.permissions.items())
        ]
        return api.Me(
            user=show_user(user), organization=organization_rpc.show(organization),
            team=team_rpc.show(team) if team else None, credential=call.session, permissions=grants,
            teams=call.teams, views=_views(roles, call), field_rules=_kept(call),
        )  # fmt: skip


def _views(roles: list[Role], call: Call) -> list[role_pb2.Role.View]:
    """What the caller sees first."""
    reachable = [name for name, (permission, _) in listed().items() if permission in call.permissions]
    seen = of_roles((role.views for role in roles), reachable)
    return [show_view(view.filled(me=call.user, team=call.team)) for view in seen]


def _kept(call: Call) -> list[api.Me.KeptField]:
    """What is kept from the caller, as a form needs it."""
    if call.fields is None:
        return []
    return [
        api.Me.KeptField(
            noun=key.partition(".")[0], field=key.partition(".")[2], rule=role_pb2.Role.Rule.Value(rule),
            seen_records=sorted(name for name, keys in call.fields.records.items() if key in keys),
        )
        for key, rule in sorted(call.fields.rules.items())
    ]  # fmt: skip


def kind_of(number: int) -> Kind:
    """What a request asks for; TOKENS when it does not say."""
    return Kind.BROWSER if number == api.Session.BROWSER else Kind.TOKENS


async def check_network(tx: Tx, address: str) -> None:
    """Refuse with NETWORK_REFUSED from outside the organization's networks."""
    organization = await tx.get(Organization, f"organizations/{tx.call.tenant}")
    if (networks := organization.networks()) and not within(networks, address):
        raise Refused("NETWORK_REFUSED")


async def start_session(tx: Tx, user: User, device: str, kind: Kind, key: str = "") -> Session:
    """Sign a user in, whose row is locked; the oldest of too many sessions ends."""
    call = tx.call
    session = tx.add(begin(
        key or call.new_id(), owner=f"users/{user.id}", team=user.team, device=device, network=call.peer,
        at=call.now, kind=kind,
    ))  # fmt: skip
    for oldest in (await active_sessions(tx, user))[:-MOST]:
        end_session(tx, oldest, "too many")
    tx.emit(events.SessionCreated(session=show(session)))
    return session


def end_session(tx: Tx, session: Session, reason: str) -> Session:
    """End a session and tell of it."""
    ended = tx.save(session.revoke(reason))
    tx.emit(events.SessionRevoked(session=show(ended)))
    return ended


async def end_sessions(tx: Tx, user: User, reason: str, but: str = "") -> None:
    """End every session of a user, save perhaps the one that asks for it, and every sign-in half done."""
    await tx.run("DELETE FROM challenges WHERE tenant_id = %s AND person = %s", [tx.call.tenant, user.id])
    for session in await active_sessions(tx, user):
        if tx.name(session) != but:
            end_session(tx, session, reason)
