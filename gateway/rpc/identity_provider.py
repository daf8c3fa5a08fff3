"""Identity providers, and the sessions that begin on their word."""

from __future__ import annotations

import hmac
from typing import Any

from tradewind.access.v1 import identity_provider_pb2 as api

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.rpc import Handler, Policy, Rpc
from chassis.shapes import Shape
from chassis.store import Tx
from gateway.domain.built_in import BUILT_IN
from gateway.domain.identity_provider import IdentityProvider
from gateway.domain.session import Session
from gateway.domain.user import ADMINISTRATOR, State, User
from gateway.fetch import Fetcher
from gateway.openid import OpenId
from gateway.providers import ClientSecrets, challenge_of, entrance, way_back
from gateway.rpc.role import check_given
from gateway.rpc.session import SessionRpc, end_session, kind_of
from gateway.store import roles_of, use_up
from gateway.tokens import held, revealing

HINT = 4


class Shown(Shape[IdentityProvider, api.IdentityProvider]):
    """As everyone sees it: without the secret, even encrypted."""

    def put(self, message: Any, record: IdentityProvider) -> None:
        """Fill an empty message with the record."""
        super().put(message, replace(record, client_secret=""))


show = Shown(IdentityProvider, api.IdentityProvider)


class IdentityProviderRpc(Rpc):
    """Standard methods, Test, and the exchange of what a browser came back with."""

    service = "tradewind.access.v1.IdentityProviderService"
    shape = show

    def __init__(self, runtime: Any) -> None:
        super().__init__(runtime)
        self.secrets = ClientSecrets(runtime.signer)
        self.openid = OpenId(Fetcher(runtime.settings.issuer_networks))
        self.sessions = SessionRpc(runtime)

    def handlers(self) -> dict[str, tuple[Policy, Handler]]:
        """RedeemSignIn shows the tokens, in its answer and nowhere else."""
        reveals = {"RedeemSignIn": self.sessions.show_tokens}
        return revealing(super().handlers(), self.store, reveals)

    async def admit(
        self, tx: Tx, record: IdentityProvider, before: IdentityProvider | None
    ) -> IdentityProvider:
        """It can be asked, gives roles that are there, and is set up by who may do everything anyway."""
        self.openid.fetcher.check(record.issuer)
        all_of_it = BUILT_IN[ADMINISTRATOR.removeprefix("roles/")].role("en")
        named = await roles_of(tx, record.roles, "identity_provider.default_roles, role_mappings")
        check_given(tx.call, [all_of_it, *named])
        secret = record.client_secret
        if secret and (before is None or secret != before.client_secret):
            sealed = self.secrets.close(secret, tx.call.tenant, record)
            hint = secret[-HINT:] if len(secret) >= 4 * HINT else ""
            return replace(record, client_secret=sealed, client_secret_hint=hint)
        return record if secret else replace(record, client_secret_hint="")

    async def TestIdentityProvider(self, request: api.TestIdentityProviderRequest, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            provider = await tx.get(IdentityProvider, request.name)
        origin, answer = self.runtime.settings.origin, api.TestIdentityProviderResponse()
        answer.redirect_uri, answer.sign_in_uri = (
            origin + way_back(provider.id),
            origin + entrance(provider.id),
        )
        fresh = OpenId(self.openid.fetcher)  # as the provider is now, not as it was some minutes ago
        try:
            if self.secrets.open(call.tenant, provider) is None:
                raise Refused("PROVIDER_INVALID", problem="its client secret cannot be read; set it again")
            configuration = await fresh.configuration(provider.issuer)
            answer.authorization_uri = configuration.authorize
            answer.keys = len(await fresh.keys(configuration))
            if not answer.keys:
                raise Refused("PROVIDER_INVALID", problem="it has no key that can be used")
        except Refused as refused:
            answer.problems.append(self.runtime.reasons.status(refused, call.locale).message)
        return answer

    async def RedeemSignIn(self, request: api.RedeemSignInRequest, call: Call) -> Any:
        """The session's id is in the code: the same request again finds its answer, another the session."""
        code = await held(self.store, request.code, "entry", at=call.now)
        person, session, challenge = code.subject.split() if code else ("", "", "")
        if code is None or not hmac.compare_digest(challenge, challenge_of(request.verifier)):
            raise Refused("CODE_INVALID")
        own = replace(call, tenant=code.tenant, user=f"users/{person}", scope="all")
        async with self.store.begin(own) as tx:
            user = await tx.get(User, own.user, lock=True)
            if user.state is not State.ACTIVE:
                raise Refused("IDENTITY_UNKNOWN")
            if await use_up(tx, request.code, code.expire_time):
                device = request.device or call.agent
                return await self.sessions.known(tx, user, device, kind_of(request.kind), session)
            copied = await tx.find(Session, id=session)
            if copied is not None and copied.good(call.now):
                end_session(tx, copied, "code reused")
        raise Refused("CODE_INVALID")
