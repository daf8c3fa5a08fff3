"""Who may sign in, and as what."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tradewind.access.v1 import events_pb2 as events
from tradewind.access.v1 import user_pb2 as api

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.rpc import Handler, Policy, Rpc
from chassis.shapes import Shape
from chassis.store import Tx
from gateway import store
from gateway.domain import throttle
from gateway.domain.handover import check_receiver
from gateway.domain.password import check_password
from gateway.domain.team import Team
from gateway.domain.user import Kind, State, User, check_administered, normal_email
from gateway.login import PASSWORDS
from gateway.rpc.handover import open_handover, under_way
from gateway.rpc.role import check_given
from gateway.rpc.session import end_sessions
from gateway.tokens import Mint, held, revealing
from gateway.tries import Throttle

show = Shape(User, api.User)
INVITATION, RESET = timedelta(days=7), timedelta(hours=24)


class UserRpc(Rpc):
    """Standard methods without Delete, and the verbs of signing in."""

    service = "tradewind.access.v1.UserService"
    shape = show

    def __init__(self, runtime: Any) -> None:
        super().__init__(runtime)
        self.mint = Mint(runtime.signer)
        self.throttle = Throttle(self.store, runtime.signer, "passwords", throttle.PASSWORDS)

    def handlers(self) -> dict[str, tuple[Policy, Handler]]:
        """CreateUser and ResetPassword show a code, in the answer and nowhere else."""
        reveals = {"CreateUser": self._show_code, "ResetPassword": self._show_code}
        return revealing(super().handlers(), self.store, reveals)

    def _show_code(self, answer: api.User) -> None:
        if answer.kind == api.User.PERSON:
            key = answer.name.removeprefix("users/")
            answer.invitation_code = self.mint.secret("code", key, int(answer.etag))

    async def admit(self, tx: Tx, record: User, before: User | None) -> User:
        """Roles and team are there, nobody gets more than the caller has, somebody still administers."""
        if before is None:
            record = record.invited()
            if record.kind is Kind.PERSON:
                self.mint.keep(tx, "code", record.id, 1, tx.call.now + INVITATION)
        else:
            record = replace(record, email=normal_email(record.email))
            await self._reach(tx, before)
        if record.team and (before is None or record.team != before.team):
            await store.in_line(tx, "teams")  # so that the team is not deleted meanwhile
            await store.refer(tx, Team, "user.team", record.team)
        if before is None or record.roles != before.roles:
            await store.in_line(tx, "roles")
            check_given(tx.call, await store.roles_of(tx, record.roles, "user.roles"))
        if before is not None:
            await self._still_administered(tx, before, record)
        return record

    @staticmethod
    async def _reach(tx: Tx, user: User) -> None:
        """Whoever may do more than the caller is not the caller's to change."""
        if tx.call.user != f"users/{user.id}":
            check_given(tx.call, await store.roles_of(tx, user.roles))

    @staticmethod
    async def _still_administered(tx: Tx, before: User, after: User) -> None:
        if before.administers and not after.administers:
            await store.in_line(tx, "administrators")
            check_administered(before, after, await store.other_administrators(tx, before))

    async def ActivateUser(self, request: api.ActivateUserRequest, call: Call) -> Any:
        """The code is good as long as there is no password; the same request again finds its answer first."""
        code = await held(self.store, request.invitation_code, "code", at=call.now)
        if code is None:
            raise Refused("CODE_INVALID")
        check_password(request.password, field="password")
        kept = await PASSWORDS.hash(request.password)
        own = replace(call, tenant=code.tenant, user=f"users/{code.subject}", scope="all")
        async with self.store.begin(own) as tx:
            user = await tx.get(User, own.user, lock=True)
            if user.state is not State.DISABLED and user.password_time is not None:
                raise Refused("CODE_INVALID")
            active = tx.save(user.activate(at=call.now))
            await self._keep_password(tx, active, request.password, kept, "password")
            tx.emit(events.UserActivated(user=show(active)))
            return tx.reply(show(active))

    async def _keep_password(self, tx: Tx, user: User, password: str, kept: str, field: str) -> None:
        check_password(
            password, field=field, about=(user.email, user.email.partition("@")[0], user.display_name)
        )
        tx.put(self.store.passwords, key={"person": user.id}, values={"hash": kept})

    async def ResetPassword(self, request: api.ResetPasswordRequest, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            user = await tx.get(User, request.name, etag=request.etag)
            await self._reach(tx, user)
            reset = tx.save(user.reset_password())
            await store.forget_password(tx, user.id)
            self.mint.keep(tx, "code", user.id, reset.version, call.now + RESET)
            await end_sessions(tx, user, "password")
            tx.emit(events.UserUpdated(user=show(reset)))
            return tx.reply(show(reset))

    async def ChangePassword(self, request: api.ChangePasswordRequest, call: Call) -> Any:
        """Two transactions: no connection is held while the hash is made, which takes its time on purpose."""
        async with self.store.begin(call) as tx:
            user = await tx.get(User, call.user)
            user.must_be_a_person()
            kept = await store.password_hash(tx, user.id)
        await self.throttle.begin(user.id, call.peer)
        if not await PASSWORDS.verify(kept, request.password):
            await self.throttle.failed(user.id, call.peer)
            raise Refused("SIGN_IN_REFUSED")
        await self.throttle.succeeded(user.id, call.peer)
        check_password(request.new_password, field="new_password")
        fresh = await PASSWORDS.hash(request.new_password)
        async with self.store.begin(call) as tx:
            user = await tx.get(User, call.user, lock=True)
            if await store.password_hash(tx, user.id) != kept:
                raise Refused("CONFLICT")
            changed = tx.save(user.change_password(at=call.now))
            await self._keep_password(tx, changed, request.new_password, fresh, "new_password")
            await end_sessions(tx, user, "password", but=call.session)
            tx.emit(events.UserUpdated(user=show(changed)))
            return tx.reply(show(changed))

    async def DisableUser(self, request: api.DisableUserRequest, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            user = await tx.get(User, request.name, etag=request.etag)
            await self._reach(tx, user)
            disabled = user.disable()
            await self._still_administered(tx, user, disabled)
            if request.receiver:
                check_receiver(await store.refer(tx, User, "receiver", request.receiver), request.name)
            disabled = tx.save(disabled)
            await end_sessions(tx, user, "disabled")
            tx.emit(events.UserDisabled(user=show(disabled)))
            if user.kind is Kind.PERSON and not await under_way(tx, request.name):
                await open_handover(tx, user, receiver=request.receiver, at_once=bool(request.receiver))
            return tx.reply(show(disabled))

    async def EnableUser(self, request: api.EnableUserRequest, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            user = await tx.get(User, request.name, etag=request.etag)
            await self._reach(tx, user)
            enabled = tx.save(user.enable())
            tx.emit(events.UserEnabled(user=show(enabled)))
            return tx.reply(show(enabled))
