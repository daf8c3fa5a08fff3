"""Keys for programs."""

from __future__ import annotations

from typing import Any

from tradewind.access.v1 import api_key_pb2 as api
from tradewind.access.v1 import events_pb2 as events

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.rpc import Handler, Policy, Rpc
from chassis.shapes import Shape
from chassis.store import Tx
from gateway.domain.api_key import MOST, ApiKey, State
from gateway.domain.role import check_known, check_within, matches, only
from gateway.domain.user import User
from gateway.permissions import catalogue, permissions_of
from gateway.rpc.role import held_by
from gateway.store import refer, roles_of
from gateway.tokens import Mint, revealing

show = Shape(ApiKey, api.ApiKey)


class ApiKeyRpc(Rpc):
    """Create, Get, List, Revoke."""

    service = "tradewind.access.v1.ApiKeyService"
    shape = show

    def __init__(self, runtime: Any) -> None:
        super().__init__(runtime)
        self.mint = Mint(runtime.signer)

    def handlers(self) -> dict[str, tuple[Policy, Handler]]:
        """CreateApiKey shows the key, in its answer and nowhere else."""
        return revealing(super().handlers(), self.store, {"CreateApiKey": self._show_key})

    def _show_key(self, answer: api.ApiKey) -> None:
        answer.key = self.mint.secret("key", answer.name.removeprefix("apiKeys/"), 0)

    async def admit(self, tx: Tx, record: ApiKey, before: Any) -> ApiKey:
        """For the caller or a service account, within what both of them may."""
        call = tx.call
        owner: User = await refer(tx, User, "api_key.owner", record.owner or call.user)
        issued = record.issued(owner, by=call.user, at=call.now)
        check_known(issued.permissions, catalogue(), "api_key.permissions")
        has = permissions_of(await roles_of(tx, owner.roles))
        for pattern in issued.permissions:
            if not any(matches(pattern, permission) for permission in has):
                raise Refused("GRANT_EXCEEDS_OWN", permission=pattern, scope="own")
        check_within(only(has, issued.permissions), held_by(call))
        await _not_too_many(tx, issued.owner)
        assert issued.expire_time is not None
        secret = self.mint.keep(tx, "key", issued.id, 0, issued.expire_time)
        return replace(issued, hint=secret[-4:])

    async def RevokeApiKey(self, request: api.RevokeApiKeyRequest, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            key = await tx.get(ApiKey, request.name, etag=request.etag)
            revoked = tx.save(key.revoke())
            tx.emit(events.ApiKeyRevoked(api_key=show(revoked)))
            return tx.reply(show(revoked))


async def _not_too_many(tx: Tx, owner: str) -> None:
    keys = await tx.all(ApiKey, owner=owner, state=State.ACTIVE.value, scoped=False)
    if sum(key.good(tx.call.now) for key in keys) >= MOST:
        raise Refused("TOO_MANY_KEYS", owner=owner, limit=MOST)
