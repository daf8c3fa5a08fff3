"""What changed nothing and is on record all the same: refused calls, sensitive fields shown, failed sign-ins.

A note is taken in memory, in microseconds, and written by itself a moment later as a fact of this service,
so that it stands in the same chain of hashes. It never holds up or fails the call it is about: while the
database is away notes wait, as many as fit. Whoever makes many of a kind gets some of them noted one by one
and the rest counted. What a killed process had not written yet, a quarter of a second's notes, is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import re
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from google.protobuf.message import Message
from tradewind.type.v1 import audit_pb2

from chassis import outbox, telemetry
from chassis.call import Call, new_id
from chassis.kernel.record import replace
from chassis.writes import FACT_COLUMNS

if TYPE_CHECKING:
    from chassis.store import Store

log = logging.getLogger(__name__)
FLUSH_SECONDS = 0.25
PATIENCE_SECONDS = 5.0  # between two tries while the database is away, at the most
MOST_DUE = 10_000  # notes that wait to be written
MOST_CALLERS = 10_000  # who is counted
TOGETHER = 200  # notes of one transaction
EACH, WINDOW_SECONDS = 60, 60.0  # noted one by one, of one caller and outcome
MOST_RECORDS = 200
NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*/[!-~]{1,190}")
_COLUMNS = f"{FACT_COLUMNS}, concerns"

telemetry.METRICS.describe("tradewind_audit_notes_total", "counter", "Notes of the audit trail, by outcome.")
telemetry.METRICS.describe(
    "tradewind_audit_notes_counted_total", "counter", "Notes that were only counted, by outcome."
)


@dataclass(frozen=True)
class _Noted:
    """A note that waits to be written."""

    event_id: str
    call: Call
    trace: str
    note: audit_pb2.AuditNote


@dataclass
class _Window:
    """What one caller was noted for since a moment."""

    began: float
    count: int = 0
    more: int = 0
    last: _Noted | None = None


class Trail:
    """The notes of one process."""

    def __init__(self, service: str, store: Store) -> None:
        self.service, self.store = service, store
        self._due: deque[_Noted] = deque()
        self._windows: OrderedDict[tuple[str, str, int], _Window] = OrderedDict()
        self._event: Any = None

    # -- taking notes -------------------------------------------------------------------------------

    def note(
        self, call: Call, outcome: audit_pb2.AuditOutcome.ValueType, *, reason: str = "",
        records: Iterable[str] = (), fields: Iterable[str] = (),
        export: audit_pb2.AuditedExport | None = None,
    ) -> None:  # fmt: skip
        """Keep on record what became of a call; what nobody's organization is known of is counted only."""
        name = audit_pb2.AuditOutcome.Name(outcome)
        if not call.tenant:
            telemetry.METRICS.count("tradewind_audit_notes_counted_total", 1, outcome=name)
            return
        noted = _noted(call, outcome, reason, records, fields, export)
        window = self._window(call, outcome)
        window.last = noted
        if window.count >= EACH or len(self._due) >= MOST_DUE:
            window.more += 1
            telemetry.METRICS.count("tradewind_audit_notes_counted_total", 1, outcome=name)
            return
        window.count += 1
        self._due.append(noted)
        telemetry.METRICS.count("tradewind_audit_notes_total", 1, outcome=name)

    async def keep(
        self, call: Call, outcome: audit_pb2.AuditOutcome.ValueType, *, fields: Iterable[str] = (),
        export: audit_pb2.AuditedExport | None = None,
    ) -> None:  # fmt: skip
        """Write a note now, ahead of those that wait: what it is about does not begin without it.

        Raises where the database is away.
        """
        await self._together([_noted(call, outcome, "", (), fields, export)])
        name = audit_pb2.AuditOutcome.Name(outcome)
        telemetry.METRICS.count("tradewind_audit_notes_total", 1, outcome=name)

    def _window(self, call: Call, outcome: int) -> _Window:
        key, now = (call.tenant, call.user, outcome), time.monotonic()
        window = self._windows.get(key)
        if window is None or now - window.began >= WINDOW_SECONDS:
            if window is not None:
                self._sum_up(window)
            window = self._windows[key] = _Window(now)
            self._windows.move_to_end(key)
            while len(self._windows) > MOST_CALLERS:
                self._sum_up(self._windows.popitem(last=False)[1])
        return window

    def _sum_up(self, window: _Window) -> None:
        """One note for those that were only counted."""
        if not window.more or window.last is None:
            return
        last = window.last
        note = audit_pb2.AuditNote()
        note.CopyFrom(last.note)
        note.more = window.more
        self._due.append(replace(last, note=note, event_id=new_id()))
        window.more = 0

    # -- writing them -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write what was noted, until cancelled."""
        pause = FLUSH_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                await self.flush()
                pause = FLUSH_SECONDS
            except Exception as problem:
                if pause == FLUSH_SECONDS:
                    log.warning("%d notes of the audit trail wait: %s", len(self._due), problem)
                pause = min(PATIENCE_SECONDS, pause * 2)

    async def stop(self) -> None:
        """Write what is left, sums included; what the database does not take now is lost."""
        for window in self._windows.values():
            self._sum_up(window)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2):
                await self.flush()
        if self._due:
            log.error("%d notes of the audit trail could not be written", len(self._due))

    async def flush(self) -> int:
        """Write all that is due; how many notes. Raises where the database is away: they stay due."""
        now, total = time.monotonic(), 0
        while self._windows:
            key, window = next(iter(self._windows.items()))  # the one that began first
            if now - window.began < WINDOW_SECONDS:
                break
            self._sum_up(window)
            del self._windows[key]
        while self._due:
            tenant = self._due[0].call.tenant
            batch: list[_Noted] = []
            while self._due and len(batch) < TOGETHER and self._due[0].call.tenant == tenant:
                batch.append(self._due.popleft())
            try:
                await self._write(batch)
            except BaseException:
                self._due.extendleft(reversed(batch))
                raise
            total += len(batch)
        return total

    async def _write(self, batch: list[_Noted]) -> None:
        """Write notes of one organization; one that the database will never take is lost, visibly."""
        try:
            await self._together(batch)
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError) as problem:
            if len(batch) > 1:
                for noted in batch:
                    await self._write([noted])
            elif not isinstance(problem, psycopg.errors.UniqueViolation):
                log.exception("a note of the audit trail is lost")
            # Else it was written before: only the answer to the COMMIT was lost.

    async def _together(self, batch: list[_Noted]) -> None:
        call = Call(tenant=batch[0].call.tenant, user=f"services/{self.service}")
        async with self.store.begin(call) as tx:
            for noted in batch:
                tx.call = noted.call
                row = self._row(noted, tx.place())
                slots = ", ".join(["%s"] * len(row))
                tx.writes.raw(f"INSERT INTO outbox ({_COLUMNS}) VALUES ({slots}) RETURNING 1", row)
            tx.call = call
            tx.emitted += len(batch)

    def _row(self, noted: _Noted, place: str) -> list[Any]:
        """The row of the outbox that a note becomes: a record of its own, so that nothing waits behind it."""
        call, event_id = noted.call, noted.event_id
        payload = self._payload(noted.note)
        return [
            outbox.part_of(call.tenant), event_id, call.tenant, f"auditEntries/{event_id}", 1, 0,
            payload.DESCRIPTOR.full_name, payload.SerializeToString(deterministic=True), call.user,
            call.actor, call.cause, noted.trace, call.now, place, " ".join(noted.note.records),
        ]  # fmt: skip

    def _payload(self, note: audit_pb2.AuditNote) -> Message:
        if self._event is None:
            module = importlib.import_module(f"tradewind.{self.service}.v1.events_pb2")
            self._event = module.CallNoted
        made: Message = self._event(note=note)
        return made


def _noted(
    call: Call, outcome: audit_pb2.AuditOutcome.ValueType, reason: str, records: Iterable[str],
    fields: Iterable[str], export: audit_pb2.AuditedExport | None,
) -> _Noted:  # fmt: skip
    names = [each for each in dict.fromkeys(records) if NAME.fullmatch(each)]
    kept = names[:MOST_RECORDS]
    note = audit_pb2.AuditNote(
        outcome=outcome, method=call.method.lstrip("/").replace("/", "."), reason=reason, records=kept,
        more_records=len(names) - len(kept), fields=sorted(set(fields)), export=export,
    )  # fmt: skip
    bare = replace(call, request=None, event=None)  # however long it waits, it is small
    return _Noted(new_id(), bare, telemetry.traceparent() or call.traceparent, note)
