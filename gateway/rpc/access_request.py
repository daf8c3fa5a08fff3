"""Asking to see what is kept back, and deciding."""

from __future__ import annotations

from typing import Any

from tradewind.access.v1 import access_request_pb2 as api
from tradewind.access.v1 import events_pb2 as events

from chassis.call import Call
from chassis.field_rules import FieldRules, overlap
from chassis.kernel.refusals import Refused
from chassis.rpc import Rpc
from chassis.shapes import Shape, read_time
from chassis.store import Tx
from gateway.domain.access_request import MOST, AccessRequest
from gateway.domain.role import EXPORT
from gateway.export.columns import lists
from gateway.field_rules import reads_of
from gateway.store import in_line, open_requests

show = Shape(AccessRequest, api.AccessRequest)


class AccessRequestRpc(Rpc):
    """Create, Get, List, and the verbs of deciding."""

    service = "tradewind.access.v1.AccessRequestService"
    shape = show

    async def admit(self, tx: Tx, record: AccessRequest, before: Any) -> AccessRequest:
        """Something is kept from the asker, who has not asked too often."""
        call = tx.call
        asked = record.asked(at=call.now)
        asked.check()
        if asked.export:
            _check_export(asked.export, call)
        elif not _kept(asked, call.fields):
            at, problem = ("method", "it is not refused to you") if asked.method else (
                "field", "it is not kept from you")  # fmt: skip
            raise Refused("NOTHING_TO_ASK", field=f"access_request.{at}", problem=problem)
        await in_line(tx, f"access requests of {call.user}")
        if len(await open_requests(tx, call.user)) >= MOST:
            raise Refused("TOO_MANY_REQUESTS", owner=call.user, limit=MOST)
        return asked

    async def GrantAccessRequest(self, request: api.GrantAccessRequestRequest, call: Call) -> Any:
        until = read_time(request.expire_time, "expire_time") if request.HasField("expire_time") else None
        async with self.store.begin(call) as tx:
            asked = await tx.get(AccessRequest, request.name, etag=request.etag)
            granted = asked.grant(by=call.user, at=call.now, comment=request.comment, until=until)
            if kept := _kept(asked, call.fields):  # nobody shows others what is kept from themselves
                raise Refused("FIELD_RULE_MISSING", named=kept[0], rule=kept[1])
            if asked.export and call.can(EXPORT) is None:
                raise Refused("GRANT_EXCEEDS_OWN", permission=EXPORT, scope="all")
            saved = tx.save(granted)
            tx.emit(events.AccessRequestGranted(access_request=show(saved)))
            return tx.reply(show(saved))

    async def DenyAccessRequest(self, request: api.DenyAccessRequestRequest, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            asked = await tx.get(AccessRequest, request.name, etag=request.etag)
            denied = tx.save(asked.deny(by=call.user, at=call.now, comment=request.comment))
            tx.emit(events.AccessRequestDenied(access_request=show(denied)))
            return tx.reply(show(denied))

    async def RevokeAccessRequest(self, request: api.RevokeAccessRequestRequest, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            asked = await tx.get(AccessRequest, request.name, etag=request.etag)
            ended = tx.save(asked.revoke(by=call.user, at=call.now, comment=request.comment))
            tx.emit(events.AccessRequestExpired(access_request=show(ended)))
            return tx.reply(show(ended))

    async def CancelAccessRequest(self, request: api.CancelAccessRequestRequest, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            asked = await tx.get(AccessRequest, request.name, etag=request.etag)
            if asked.owner != call.user:
                raise Refused("NOT_FOUND", name=request.name)
            cancelled = tx.save(asked.cancel())
            tx.emit(events.AccessRequestCancelled(access_request=show(cancelled)))
            return tx.reply(show(cancelled))


def _check_export(collection: str, call: Call) -> None:
    """Refuse to ask for a list that there is not, is not the asker's to read, or is theirs to export."""
    found, at = lists().get(collection), "access_request.export"
    if found is None:
        raise Refused("FIELD_INVALID", field=at, problem="must be a list that can be exported")
    if "." in found.method.permission and call.can(found.method.permission) is None:
        raise Refused("NOTHING_TO_ASK", field=at, problem="it is not yours to read")
    if call.can(EXPORT) is not None:
        raise Refused("NOTHING_TO_ASK", field=at, problem="you may export it")


def _kept(asked: AccessRequest, rules: FieldRules | None) -> tuple[str, str] | None:
    """(the field, the rule) by which what is asked for is kept from somebody with these rules."""
    if rules is None:
        return None
    wanted = reads_of(asked.method) if asked.method else (asked.field,)
    exact = not asked.method
    for key, rule in sorted(rules.unseen.items()):
        if any(key == each if exact else overlap(key, each) for each in wanted):
            return key, rule
    return None
