"""Signing in, staying signed in, and ending it."""

from __future__ import annotations

from typing import Any

from tradewind.access.v1 import events_pb2 as events
from tradewind.access.v1 import role_pb2, user_pb2
from tradewind.access.v1 import session_pb2 as api

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.rpc import Handler, Policy, Rpc
from chassis.shapes import Shape
from chassis.store import Tx
from gateway.domain.organization import Organization
from gateway.domain.role import Role
from gateway.domain.session import MOST, Session, begin
from gateway.domain.team import Team
from gateway.domain.user import State, User
from gateway.domain.view import View, of_roles
from gateway.login import Login
from gateway.permissions import listed
from gateway.rpc import organization as organization_rpc
from gateway.rpc import team as team_rpc
from gateway.store import active_sessions, roles_of
from gateway.tokens import Mint, held, revealing

show = Shape(Session, api.Session)
show_user = Shape(User, user_pb2.User)
show_view = Shape(View, role_pb2.Role.View)


class SessionRpc(Rpc):
    """Create, Refresh, Get, List, Revoke; and who am I."""

    service = "tradewind.access.v1.SessionService"
    shape = show

    def __init__(self, runtime: Any) -> None:
        super().__init__(runtime)
        self.mint = Mint(runtime.signer)
        self.login = Login(self.store)

    def handlers(self) -> dict[str, tuple[Policy, Handler]]:
        """The two methods that sign in show their tokens, in the answer and nowhere else."""
        reveals = {"CreateSession": self._show_tokens, "RefreshSession": self._show_tokens}
        return revealing(super().handlers(), self.store, reveals)

    def _show_tokens(self, answer: api.SignIn) -> None:
        key, generation = answer.session.name.removeprefix("sessions/"), answer.session.generation
        answer.access_token = self.mint.secret("access", key, generation)
        answer.refresh_token = self.mint.secret("refresh", key, generation)

    async def CreateSession(self, request: api.CreateSessionRequest, call: Call) -> Any:
        account = await self.login.account(request.email, request.password, request.organization, call.peer)
        own = replace(call, tenant=account.tenant, user=f"users/{account.user}", scope="all")
        async with self.store.begin(own) as tx:
            user = await tx.get(User, own.user, lock=True)
            if user.state is not State.ACTIVE:
                raise Refused("SIGN_IN_REFUSED")
            session = tx.add(begin(
                call.new_id(), owner=own.user, team=user.team, device=request.device or call.agent,
                network=call.peer, at=call.now,
            ))  # fmt: skip
            for oldest in (await active_sessions(tx, user))[:-MOST]:
                _end(tx, oldest, "too many")
            tx.emit(events.SessionCreated(session=show(session)))
            return self._sign_in(tx, session, user)

    def _sign_in(self, tx: Tx, session: Session, user: User) -> api.SignIn:
        """The answer, still without its tokens, which are recognised from the commit on."""
        self.mint.keep(tx, "access", session.id, session.generation, session.access_expire_time)
        self.mint.keep(tx, "refresh", session.id, session.generation, session.expire_time)
        answer = api.SignIn(session=show(session), user=show_user(user))
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
            after = session.refresh(token.generation, at=call.now)
            if after is not None:
                return self._sign_in(tx, after if after is session else tx.save(after), user)
            _end(tx, session, "token reused")
        raise Refused("SESSION_ENDED")

    async def RevokeSession(self, request: api.RevokeSessionRequest, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            session = await tx.get(Session, request.name, etag=request.etag)
            return tx.reply(show(_end(tx, session, "revoked")))

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


def _end(tx: Tx, session: Session, reason: str) -> Session:
    ended = tx.save(session.revoke(reason))
    tx.emit(events.SessionRevoked(session=show(ended)))
    return ended


async def end_sessions(tx: Tx, user: User, reason: str, but: str = "") -> None:
    """End every session of a user, save perhaps the one that asks for it."""
    for session in await active_sessions(tx, user):
        if tx.name(session) != but:
            _end(tx, session, reason)
