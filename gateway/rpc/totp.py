"""One's own second factor: set up, replaced, taken away."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from google.protobuf.message import Message
from tradewind.access.v1 import events_pb2 as events
from tradewind.access.v1 import totp_pb2 as api
from tradewind.access.v1 import user_pb2

from chassis.call import Call
from chassis.kernel.refusals import Refused
from chassis.rpc import Handler, Policy, Rpc
from chassis.shapes import Shape
from chassis.store import Tx
from gateway.domain import throttle
from gateway.domain.organization import Organization
from gateway.domain.second_factor import SECRET_BYTES, TO_CONFIRM, base32, uri_of
from gateway.domain.session import FRESH, Session
from gateway.domain.user import User
from gateway.login import PASSWORDS
from gateway.rpc.role import check_given
from gateway.rpc.session import end_sessions
from gateway.second_factor import SecondFactors
from gateway.store import password_hash, roles_of
from gateway.tokens import Reveal, revealing
from gateway.tries import Throttle

show = Shape(User, user_pb2.User)
ISSUER = "Tradewind"
M = TypeVar("M", bound=Message)


class TotpRpc(Rpc):
    """Enroll, Confirm, Renew, Disable; Reset by an administrator."""

    service = "tradewind.access.v1.TotpService"

    def __init__(self, runtime: Any) -> None:
        super().__init__(runtime)
        self.second = SecondFactors(self.store, runtime.signer)
        self.passwords = Throttle(self.store, runtime.signer, "passwords", throttle.PASSWORDS)

    def handlers(self) -> dict[str, tuple[Policy, Handler]]:
        """A secret and recovery codes are shown in one answer and nowhere else."""
        codes = self._show_codes
        reveals: dict[str, Reveal] = {
            "EnrollTotp": self._show_secret, "ConfirmTotp": codes, "RenewRecoveryCodes": codes
        }  # fmt: skip
        return revealing(super().handlers(), self.store, reveals)

    def _show_secret(self, answer: api.TotpEnrollment) -> None:
        """What is kept of the answer holds the secret sealed, and the account in place of the URI."""
        secret = self.second.seal.open(answer.secret, answer.user)
        answer.secret = base32(secret)
        answer.uri = uri_of(secret, issuer=ISSUER, account=answer.uri)

    def _show_codes(self, answer: api.RecoveryCodes) -> None:
        answer.codes.extend(self.second.codes(answer.user.name, int(answer.user.etag)))

    async def EnrollTotp(self, request: api.EnrollTotpRequest, call: Call) -> Any:
        await self._check_password(request.password, call)

        async def enroll() -> api.TotpEnrollment:
            async with self.store.begin(call) as tx:
                user = await tx.get(User, call.user, lock=True)
                if user.second_factor_time is not None:
                    await self._take(tx, user, request.code)
                until = call.now + TO_CONFIRM
                sealed = await self.second.begin(tx, user, os.urandom(SECRET_BYTES), until)
                answer = api.TotpEnrollment(user=call.user)
                if not call.validate_only:
                    answer.secret, answer.uri = sealed, user.email
                answer.expire_time.FromDatetime(until)
                return tx.reply(answer)

        return await self._counted(call, enroll)

    async def ConfirmTotp(self, request: api.ConfirmTotpRequest, call: Call) -> Any:
        await self._known(call)

        async def confirm() -> api.RecoveryCodes:
            async with self.store.begin(call) as tx:
                user = await tx.get(User, call.user, lock=True)
                if not await self.second.confirm(tx, user, request.code, call.now):
                    raise Refused("CODE_REFUSED")
                await end_sessions(tx, user, "second factor", but=call.session)
                return await self._other_codes(tx, user.use_second_factor(at=call.now))

        return await self._counted(call, confirm)

    async def RenewRecoveryCodes(self, request: api.RenewRecoveryCodesRequest, call: Call) -> Any:
        await self._known(call)

        async def renew() -> api.RecoveryCodes:
            async with self.store.begin(call) as tx:
                user = await tx.get(User, call.user, lock=True)
                await self._take(tx, user, request.code, recovery=False)
                return await self._other_codes(tx, user)

        return await self._counted(call, renew)

    async def DisableTotp(self, request: api.DisableTotpRequest, call: Call) -> Any:
        await self._check_password(request.password, call)

        async def disable() -> user_pb2.User:
            async with self.store.begin(call) as tx:
                user = await tx.get(User, call.user, lock=True)
                organization = await tx.get(Organization, f"organizations/{call.tenant}")
                if organization.asks_for_second_factor(user.roles):
                    raise Refused("SECOND_FACTOR_REQUIRED")
                without = user.drop_second_factor()
                await self._take(tx, user, request.code)
                return await self._dropped(tx, without, but=call.session)

        return await self._counted(call, disable)

    async def ResetTotp(self, request: api.ResetTotpRequest, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            user = await tx.get(User, request.name, etag=request.etag)
            if call.user != request.name:
                check_given(call, await roles_of(tx, user.roles))
            return await self._dropped(tx, user.drop_second_factor())

    async def _check_password(self, password: str, call: Call) -> None:
        kept = await self._known(call)
        if not kept and not password:
            await self._check_sign_in(call)
            return
        await self.passwords.begin(call.user, call.peer)
        if not await PASSWORDS.verify(kept, password):
            await self.passwords.failed(call.user, call.peer)
            raise Refused("SIGN_IN_REFUSED")
        await self.passwords.succeeded(call.user, call.peer)

    async def _check_sign_in(self, call: Call) -> None:
        """Who has no password shows by a sign-in of just now who they are."""
        async with self.store.begin(call) as tx:
            session = await tx.get(Session, call.session) if call.session.startswith("sessions/") else None
        if session is None or session.create_time is None or call.now - session.create_time > FRESH:
            raise Refused("SIGN_IN_ANEW", minutes=str(int(FRESH.total_seconds()) // 60))

    async def _known(self, call: Call) -> str:
        """The hash of the caller's password. A repeated request finds its answer here, before anything of it
        is counted or used up."""
        async with self.store.begin(call) as tx:
            user = await tx.get(User, call.user)
            user.must_be_a_person()
            return await password_hash(tx, user.id)

    async def _counted(self, call: Call, change: Callable[[], Awaitable[M]]) -> M:
        """Carry out a change that looks at a code, while there are tries left."""
        counted = self.second.throttle
        await counted.begin(call.user, call.peer)
        try:
            answer = await change()
        except Refused as refused:
            if refused.reason == "CODE_REFUSED":
                await counted.failed(call.user, call.peer)
            raise
        await counted.succeeded(call.user, call.peer)
        return answer

    async def _take(self, tx: Tx, user: User, code: str, *, recovery: bool = True) -> None:
        if user.second_factor_time is None:
            raise Refused("NO_SECOND_FACTOR", user=f"users/{user.id}")
        if not await self.second.accept(tx, user, code, tx.call.now, recovery=recovery):
            raise Refused("CODE_REFUSED")

    async def _other_codes(self, tx: Tx, user: User) -> api.RecoveryCodes:
        """The user, saved, with new recovery codes, which `_show_codes` shows."""
        saved = tx.save(user)
        await self.second.renew(tx, saved, saved.version)
        tx.emit(events.UserUpdated(user=show(saved)))
        return tx.reply(api.RecoveryCodes(user=show(saved)))

    async def _dropped(self, tx: Tx, user: User, but: str = "") -> user_pb2.User:
        saved = tx.save(user)
        await self.second.forget(tx, saved)
        await end_sessions(tx, saved, "second factor", but=but)
        tx.emit(events.UserUpdated(user=show(saved)))
        return tx.reply(show(saved))
