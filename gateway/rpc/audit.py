"""The audit trail over all services: each is asked for its part, and one page is made of the answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Any, NamedTuple

from tradewind.access.v1 import audit_entry_pb2 as api
from tradewind.type.v1 import audit_pb2

from chassis import listing
from chassis.audit import history
from chassis.audit.entries import micros, wanted
from chassis.call import Call
from chassis.field_rules import MASK
from chassis.kernel.record import replace
from chassis.rpc import Rpc

log = logging.getLogger(__name__)
WITHIN = 3.0  # seconds for every service to answer; those that do not are named
OWN = "access"
Place = tuple[int, str]  # an entry's time in microseconds, and its event id


class _Part(NamedTuple):
    """What one service answered: its entries, and down to where it looked; None: there is no more."""

    entries: list[audit_pb2.AuditEntry]
    reached: Place | None


class AuditRpc(Rpc):
    """List."""

    service = "tradewind.access.v1.AuditService"

    async def ListAuditEntries(self, request: api.ListAuditEntriesRequest, call: Call) -> Any:
        size = listing.page_size(request.page_size)
        query = _query(request, call)
        asked = audit_pb2.ReadAuditEntriesRequest(
            actor=request.actor, record=request.record, method=request.method, outcome=request.outcome,
            limit=size,
        )  # fmt: skip
        for name in ("start_time", "end_time"):
            if request.HasField(name):
                getattr(asked, name).CopyFrom(getattr(request, name))
        if request.page_token:
            asked.before_micros, asked.before_event = self.runtime.tokens.read(request.page_token, query)
        wanted(asked)  # refuses what cannot be asked, before anybody is asked
        parts, silent = await self._ask_all(asked, call)
        entries, reached = merged(list(parts.values()), size)
        if call.fields:
            for entry in entries:
                _keep_from(call.fields.unseen, entry)
        answer = api.ListAuditEntriesResponse(audit_entries=entries, unreachable=silent)
        if reached:
            answer.next_page_token = self.runtime.tokens.make(list(reached), query)
        return answer

    async def _ask_all(
        self, asked: audit_pb2.ReadAuditEntriesRequest, call: Call
    ) -> tuple[dict[str, _Part], list[str]]:
        """(what the services answered, those that did not)."""
        names = sorted({*self.runtime.settings.peers, *self.runtime.clients.addresses} | {OWN})
        answers = await asyncio.gather(
            *(self._ask(name, asked, call) for name in names), return_exceptions=True
        )
        parts, silent = {}, []
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, _Part):
                parts[name] = answer
            elif isinstance(answer, Exception):
                log.warning("the audit trail of %s cannot be read: %s", name, answer)
                silent.append(name)
            else:
                raise answer
        return parts, silent

    async def _ask(self, name: str, asked: audit_pb2.ReadAuditEntriesRequest, call: Call) -> _Part:
        if name == OWN:
            async with self.store.begin(replace(call, scope="all")) as tx:
                found, at = await history.page(tx, OWN, wanted(asked), asked.limit)
            return _Part(found, (micros(at[0]), at[1]) if at else None)
        method = f"tradewind.{name}.v1.EventsService.ReadAuditEntries"
        async with asyncio.timeout(min(WITHIN, max(0.1, call.remaining() - 0.5))):
            answer = await self.runtime.clients.ask(method, asked, call)
        reached = (answer.reached_micros, answer.reached_event) if answer.more else None
        return _Part(list(answer.audit_entries), reached)


def _query(request: api.ListAuditEntriesRequest, call: Call) -> str:
    said = api.ListAuditEntriesRequest()
    said.CopyFrom(request)
    for name in ("page_size", "page_token"):
        said.ClearField(name)
    return "\n".join([call.tenant, call.user, said.SerializeToString(deterministic=True).hex()])


def _keep_from(unseen: Collection[str], entry: audit_pb2.AuditEntry) -> None:
    """Leave out the values of fields that the caller may not see; that they changed is told."""
    kept = {key.split(".")[1] for key in unseen if entry.records and entry.records[0].startswith(
        key.partition(".")[0] + "/")}  # fmt: skip
    for change in entry.changes:
        if change.field in kept:
            change.before, change.after = "", MASK


def _place(entry: audit_pb2.AuditEntry) -> Place:
    return entry.event_time.ToMicroseconds(), entry.name.rpartition("/")[2]


def merged(parts: list[_Part], size: int) -> tuple[list[audit_pb2.AuditEntry], Place | None]:
    """(the newest *size* entries of all, after which entry to go on).

    Nothing is told that is older than where a service with more has looked: its own might come before.
    """
    down_to = max((part.reached for part in parts if part.reached), default=None)
    entries = sorted((entry for part in parts for entry in part.entries), key=_place, reverse=True)
    told = [entry for entry in entries if down_to is None or _place(entry) >= down_to]
    if len(told) > size or (len(told) == size and down_to):
        return told[:size], _place(told[size - 1])
    return told, down_to
