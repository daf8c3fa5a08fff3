"""What every service answers of its audit trail: entries, the history of a record, signed checkpoints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from google.protobuf import descriptor_pool
from tradewind.type.v1 import audit_pb2

from chassis import listing
from chassis.audit import history
from chassis.audit.checkpoints import sign
from chassis.call import Call
from chassis.kernel.record import Record, replace
from chassis.kernel.refusals import Refused, invalid
from chassis.rpc import Rpc, policy_of
from chassis.shapes import read_time

_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """Microseconds since 1970: a fact's time without loss."""
    return (moment - _FIRST) // timedelta(microseconds=1)


def moment_of(micros: int) -> datetime:
    """The time that `micros` told."""
    try:
        return _FIRST + timedelta(microseconds=micros)
    except OverflowError:
        raise invalid("before_micros", "must be a time that there is") from None


class _Noun(NamedTuple):
    """How records of a collection are read."""

    record: type[Record]
    permission: str
    scoped: bool


class AuditRpc(Rpc):
    """The methods of an EventsService that look back."""

    async def ReadAuditEntries(self, request: Any, call: Call) -> Any:
        answer = audit_pb2.ReadAuditEntriesResponse()
        async with self.store.begin(call) as tx:
            name = self.runtime.service.name
            found, reached = await history.page(tx, name, wanted(request), request.limit or 50)
        answer.audit_entries.extend(found)
        if reached:
            answer.more, answer.reached_micros, answer.reached_event = True, micros(reached[0]), reached[1]
        return answer

    async def SignCheckpoints(self, request: Any, call: Call) -> Any:
        made = await sign(self.store, self.runtime.service.name, self.runtime.signer)
        return audit_pb2.SignCheckpointsResponse(checkpoints=made)

    async def ListFieldChanges(self, request: Any, call: Call) -> Any:
        noun = self._nouns.get(request.name.partition("/")[0])
        if noun is None:
            raise Refused("NOT_FOUND", name=request.name)
        reach = call.can(noun.permission)
        if reach is None:
            raise Refused("PERMISSION_DENIED", permission=noun.permission)
        own = replace(call, scope=reach if noun.scoped else "all", permission=noun.permission)
        size = listing.page_size(request.page_size)
        query = "\n".join([call.tenant, call.user, request.name, request.field])
        before = self.runtime.tokens.read(request.page_token, query) if request.page_token else None
        answer = audit_pb2.ListFieldChangesResponse()
        async with self.store.begin(own) as tx:
            await tx.get(noun.record, request.name, deleted=True)
            facts = await history.of_record(tx, request.name, before, size + 1)
        for fact, changes in facts[:size]:
            if kept := [c for c in changes if request.field in ("", c.field)]:
                answer.changes.append(_change(fact, kept))
        if len(facts) > size:
            last = facts[size - 1][0]
            answer.next_page_token = self.runtime.tokens.make([last.version, last.nth], query)
        return answer

    @cached_property
    def _nouns(self) -> dict[str, _Noun]:
        """The collections whose records can be got one by one."""
        found = {}
        for rpc in self.runtime.rpcs:
            if rpc.shape is not None and rpc.shape.record in self.store.collections:
                described = descriptor_pool.Default().FindServiceByName(rpc.service).methods_by_name
                get = described.get(f"Get{rpc.shape.message.DESCRIPTOR.name}")
                if get is not None:
                    policy, key = policy_of(get), rpc.shape.prefix.rstrip("/")
                    found[key] = _Noun(rpc.shape.record, policy.permission, policy.scoped)
        return found


def wanted(request: audit_pb2.ReadAuditEntriesRequest) -> history.Wanted:
    """What a request asks for."""
    since, until = request.start_time, request.end_time
    before = (moment_of(request.before_micros), request.before_event) if request.before_event else None
    return history.Wanted(
        request.actor, request.record, request.method, request.outcome,
        read_time(since, "start_time") if request.HasField("start_time") else None,
        read_time(until, "end_time") if request.HasField("end_time") else None, before,
    )  # fmt: skip


def _change(fact: history.Fact, changes: list[audit_pb2.FieldChange]) -> audit_pb2.RecordChange:
    made = audit_pb2.RecordChange(
        actor=fact.actor, on_behalf_of=fact.on_behalf_of, cause=fact.cause, type=fact.type,
        record_version=fact.version, changes=changes,
    )  # fmt: skip
    made.event_time.FromDatetime(fact.at.astimezone(UTC))
    return made
