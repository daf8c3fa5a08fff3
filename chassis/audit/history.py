"""The facts of one service as an auditor reads them: who did what, from where, fields before and after.

What a record became stands in every fact about it; what it was stands in the one before. Nothing is kept
for this beside the facts themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

import orjson
from google.protobuf import descriptor_pool, json_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from tradewind.type.v1 import audit_pb2

from chassis.audit.schema import BEHIND
from chassis.store import Tx

_COLUMNS = (
    "event_id::text, record, record_version, nth, type, payload, actor, on_behalf_of, cause,"
    " occurred_at, place"
)
# What was there before each of some facts: the last fact about the same record. The key answers it.
_BEFORE = (
    "SELECT w.at, b.type, b.payload FROM unnest(%s::int[], %s::text[], %s::bigint[], %s::int[])"
    " w(at, record, version, nth), LATERAL (SELECT type, payload FROM outbox b"
    " WHERE b.tenant_id = %s AND b.record = w.record AND (b.record_version, b.nth) < (w.version, w.nth)"
    " ORDER BY b.record_version DESC, b.nth DESC LIMIT 1) b"
)
_UNTOLD = frozenset({"name", "etag", "update_time", "updater"})  # said by the entry itself
_NOTED, _SIGNED_IN = ".CallNoted", ".SessionCreated"
LONGEST_VALUE = 2_000
LARGEST = 1_000_000  # bytes of one answer: the next page has the rest
STEP, SCANNED = 500, 5_000  # facts looked at together and for one page, where no index finds what is wanted


class Fact(NamedTuple):
    """A row of the outbox, as far as its reader wants it."""

    event_id: str
    record: str
    version: int
    nth: int
    type: str
    payload: bytes
    actor: str
    on_behalf_of: str
    cause: str
    at: datetime
    place: str


class Wanted(NamedTuple):
    """Which facts; "" and None want all."""

    actor: str = ""
    record: str = ""
    method: str = ""
    outcome: int = 0
    since: datetime | None = None
    until: datetime | None = None
    before: tuple[datetime, str] | None = None  # older than that fact, by time and event id


@cache
def message_class(kind: str) -> type[Message] | None:
    """The class of a fact's message; None for one that this release does not know."""
    try:
        return GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(kind))
    except KeyError:
        return None


def _read(kind: str, payload: bytes) -> Any:
    found = message_class(kind)
    return found.FromString(payload) if found else None


def _resource(message: Any, record: str) -> Any:
    """The record inside a fact, if the fact is about it and holds it."""
    if message is None or not message.DESCRIPTOR.fields:
        return None
    inner = getattr(message, message.DESCRIPTOR.fields[0].name)
    return inner if isinstance(inner, Message) and getattr(inner, "name", "") == record else None


def _values(resource: Any) -> dict[str, str]:
    """field → its value as JSON has it."""
    if resource is None:
        return {}
    said: dict[str, Any] = json_format.MessageToDict(resource, preserving_proto_field_name=True)
    return {name: _text(value) for name, value in said.items() if name not in _UNTOLD}


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def changes(before: Any, after: Any) -> list[audit_pb2.FieldChange]:
    """What differs between a record and what it was; of a new one, all that it says."""
    was, now = _values(before), _values(after)
    order = [field.name for field in after.DESCRIPTOR.fields] if after is not None else []
    return [
        audit_pb2.FieldChange(field=name, before=was.get(name, ""), after=now.get(name, ""))
        for name in order
        if was.get(name, "") != now.get(name, "")
    ]


def _conditions(tx: Tx, wanted: Wanted) -> tuple[str, list[Any]]:
    text, params = "tenant_id = %s", list[Any]([tx.call.tenant])
    if wanted.actor:
        text, params = f"{text} AND ({BEHIND}) = %s", [*params, wanted.actor]
    if wanted.record:
        text += " AND record = ANY(ARRAY(SELECT record FROM outbox_concerning(%s)) || %s::text)"
        params += [wanted.record, wanted.record]
    for sign, moment in ((">=", wanted.since), ("<", wanted.until)):
        if moment is not None:
            text, params = f"{text} AND occurred_at {sign} %s", [*params, moment]
    if wanted.before:
        text, params = f"{text} AND (occurred_at, event_id) < (%s, %s::uuid)", [*params, *wanted.before]
    if wanted.outcome == audit_pb2.CHANGED:
        text += " AND NOT (right(type, 10) = '.CallNoted' OR right(type, 15) = '.SessionCreated')"
    elif wanted.outcome == audit_pb2.SIGNED_IN:
        text += " AND right(type, 15) = '.SessionCreated'"
    elif wanted.outcome:
        text += " AND right(type, 10) = '.CallNoted'"
    return text, params


async def facts(tx: Tx, wanted: Wanted, most: int) -> list[Fact]:
    """Up to *most* facts, newest first."""
    text, params = _conditions(tx, wanted)
    asked = tx.pipe.ask(
        f"SELECT {_COLUMNS} FROM outbox WHERE {text} ORDER BY occurred_at DESC, event_id DESC LIMIT {most}",
        params,
    )
    return [Fact(*row) for row in await asked.rows()]


async def befores(tx: Tx, of: Sequence[Fact]) -> dict[int, Any]:
    """By the fact's place in *of*, the record as it stood before; nothing where there was none."""
    if not of:
        return {}
    asked = tx.pipe.ask(_BEFORE, [
        list(range(len(of))), [f.record for f in of], [f.version for f in of], [f.nth for f in of],
        tx.call.tenant,
    ])  # fmt: skip
    return {at: _resource(_read(kind, payload), of[at].record) for at, kind, payload in await asked.rows()}


async def _places(tx: Tx, of: Sequence[Fact]) -> Mapping[str, tuple[str, str]]:
    digests = sorted({fact.place for fact in of if fact.place})
    asked = tx.pipe.ask(
        "SELECT id, network, device FROM call_places WHERE tenant_id = %s AND id = ANY(%s)",
        [tx.call.tenant, digests],
    )
    opened, tenant = tx.store.places.opened, tx.call.tenant
    return {
        key: (
            opened(network, f"network\n{tenant}\n{key}"),
            opened(device, f"device\n{tenant}\n{key}"),
        )
        for key, network, device in await asked.rows()
    }


def _entry(service: str, fact: Fact) -> audit_pb2.AuditEntry:
    """What the fact itself says."""
    entry = audit_pb2.AuditEntry(
        name=f"auditEntries/{fact.event_id}", service=service, actor=fact.actor,
        on_behalf_of=fact.on_behalf_of, cause=fact.cause,
    )  # fmt: skip
    entry.event_time.FromDatetime(fact.at.astimezone(UTC))
    if not fact.type.endswith(_NOTED):
        entry.outcome = audit_pb2.SIGNED_IN if fact.type.endswith(_SIGNED_IN) else audit_pb2.CHANGED
        entry.type, entry.record_version = fact.type, fact.version
        entry.records.append(fact.record)
    elif (message := _read(fact.type, fact.payload)) is not None:
        note = message.note
        entry.outcome, entry.method, entry.reason = note.outcome, note.method, note.reason
        entry.records.extend(note.records)
        entry.fields.extend(note.fields)
        entry.more_records, entry.more = note.more_records, note.more
        if note.HasField("export"):
            entry.export.CopyFrom(note.export)
    return entry


async def _fill(tx: Tx, kept: Sequence[tuple[Fact, audit_pb2.AuditEntry]]) -> None:
    """Add what stands elsewhere: the places, and what the records were before."""
    of = [fact for fact, _ in kept]
    places, before = await _places(tx, of), await befores(tx, of)
    for at, (fact, entry) in enumerate(kept):
        entry.network, entry.device = places.get(fact.place, ("", ""))
        if not fact.type.endswith(_NOTED):
            after = _resource(_read(fact.type, fact.payload), fact.record)
            entry.changes.extend(changes(before.get(at), after))


def _fits(entry: audit_pb2.AuditEntry, wanted: Wanted) -> bool:
    """What no index answers: the name of a method, and which of the outcomes that change nothing."""
    if wanted.outcome and entry.outcome != wanted.outcome:
        return False
    if not wanted.method:
        return True
    return any(
        name == wanted.method or name.endswith(f".{wanted.method}") for name in (entry.type, entry.method)
    )


async def page(
    tx: Tx, service: str, wanted: Wanted, most: int
) -> tuple[list[audit_pb2.AuditEntry], tuple[datetime, str] | None]:
    """Up to *most* entries, newest first, and after which fact to go on; None at the end.

    A page may be shorter than it could be, even empty: so many facts were looked at, or it is large enough.
    """
    found: list[audit_pb2.AuditEntry] = []
    size = scanned = 0
    at_once = STEP if wanted.method or wanted.outcome else most
    while True:
        rows = await facts(tx, wanted, at_once + 1)
        batch, more = rows[:at_once], len(rows) > at_once
        entries = [(fact, _entry(service, fact)) for fact in batch]
        fitting = [(fact, entry) for fact, entry in entries if _fits(entry, wanted)]
        kept = fitting[: most - len(found)]
        await _fill(tx, kept)
        for fact, entry in kept:
            found.append(entry)
            size += entry.ByteSize()
            if size >= LARGEST or len(found) >= most:
                last = fact is batch[-1] and not more
                return found, None if last else (fact.at, fact.event_id)
        scanned += len(batch)
        if not more:
            return found, None
        wanted = wanted._replace(before=(batch[-1].at, batch[-1].event_id))
        if scanned >= SCANNED:
            return found, wanted.before


async def of_record(
    tx: Tx, record: str, before: Sequence[int] | None, most: int
) -> list[tuple[Fact, list[audit_pb2.FieldChange]]]:
    """Up to *most* facts about one record, the last first, each with what it changed."""
    text = "tenant_id = %s AND record = %s"
    params: list[Any] = [tx.call.tenant, record]
    if before:
        text, params = f"{text} AND (record_version, nth) < (%s, %s)", [*params, *before]
    asked = tx.pipe.ask(
        f"SELECT {_COLUMNS} FROM outbox WHERE {text} ORDER BY record_version DESC, nth DESC LIMIT {most + 1}",
        params,
    )
    rows = [Fact(*row) for row in await asked.rows()]
    stood = [_resource(_read(fact.type, fact.payload), record) for fact in rows] + [None]
    if rules := tx.call.fields:  # who may not see a field may not see what it was
        stood = [rules.shown(one) if one is not None else None for one in stood]
    return [(fact, changes(stood[at + 1], stood[at])) for at, fact in enumerate(rows[:most])]
