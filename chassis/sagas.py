"""Work that spans services: steps that each happen once, and are undone in reverse when one is refused.

A saga is a row in the database of the service that owns it. Each step derives its request id from the
saga, so that a step repeated after a crash is the same request. A transient failure is tried again
(0.2 → 30 s); a refusal compensates; after 24 hours it is STUCK and says so.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
from google.rpc import code_pb2

from chassis.call import Call, derived_id
from chassis.kernel.refusals import Refused
from chassis.reasons import Reasons
from chassis.store import Store, Tx

if TYPE_CHECKING:
    from chassis.clients import Clients

log = logging.getLogger(__name__)
PATIENCE = timedelta(hours=24)
# No answer to the question: neither a yes nor a no. A defect elsewhere is none either, and who is turned
# away at the door before it is heard may have been heard the time before.
_TRANSIENT = {
    code_pb2.UNAVAILABLE, code_pb2.DEADLINE_EXCEEDED, code_pb2.ABORTED, code_pb2.RESOURCE_EXHAUSTED,
    code_pb2.INTERNAL, code_pb2.UNKNOWN, code_pb2.CANCELLED, code_pb2.DATA_LOSS,
    code_pb2.UNAUTHENTICATED,
}  # fmt: skip
_MOVED = "CONFLICT saga"
Local = Callable[[Tx, dict[str, Any]], Awaitable[None]]
Remote = Callable[[Call, dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Step:
    """One step: `do`/`undo` in a transaction here, or `ask`/`unask` at another service.

    Each gets the saga's data and may add to it. Remote steps find their derived request id in
    `call.request_id`. A step without an undo needs none. A refused step has done nothing: it is not undone
    itself, which is why it is one or the other.
    """

    name: str
    do: Local | None = None
    undo: Local | None = None
    ask: Remote | None = None
    unask: Remote | None = None

    def __post_init__(self) -> None:
        if (self.do or self.undo) and (self.ask or self.unask):
            raise TypeError(f"the step {self.name!r} happens here or elsewhere, not both")


@dataclass(frozen=True)
class Saga:
    """A kind of saga: its steps in order, and what to do once everything is undone (with the refusal)."""

    type: str
    steps: tuple[Step, ...]
    undone: Callable[[Tx, dict[str, Any], Refused], Awaitable[None]] | None = None


@dataclass
class Progress:
    """How far one saga got."""

    id: str
    type: str
    record: str
    version: int
    step: int
    state: str
    attempts: int
    data: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)


def start(tx: Tx, saga: Saga, record: str, data: dict[str, Any]) -> str:
    """Begin a saga with this transaction; its id derives from the record and its data's `key`, if any."""
    return start_many(tx, saga, [(record, data)])[0]


def start_many(tx: Tx, saga: Saga, wanted: Iterable[tuple[str, dict[str, Any]]]) -> list[str]:
    """Begin a saga of this kind for each (record, data), in one statement; their ids."""
    call = tx.call
    known = {
        "actor": call.actor or call.user, "locale": call.locale, "zone": call.zone,
        "traceparent": call.traceparent,
    }  # fmt: skip
    rows = [
        (derived_id("saga", saga.type, record, str(data.get("key", ""))), record,
         json.dumps(data | {"_call": known}))
        for record, data in wanted
    ]  # fmt: skip
    if rows:
        ids, records, datas = (list(column) for column in zip(*rows, strict=True))
        tx.writes.raw(
            "INSERT INTO sagas (tenant_id, id, type, record, version, step, state, attempts, next_at,"
            " deadline_at, data, history)"
            " SELECT %s, id, %s, record, 1, 0, 'RUNNING', 0, clock_timestamp(),"
            " %s, data::jsonb, '[]' FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS w (id, record, data)"
            " RETURNING 1",
            [call.tenant, saga.type, call.now + PATIENCE, ids, records, datas],
        )
    return [row[0] for row in rows]


class Sagas:
    """Carries out the sagas of one service."""

    def __init__(
        self, service: str, store: Store, kinds: tuple[Saga, ...], clients: Clients | None, reasons: Reasons
    ) -> None:
        self.service, self.store, self.clients, self.reasons = service, store, clients, reasons
        self.kinds = {kind.type: kind for kind in kinds}
        self._running: set[str] = set()

    async def run(self) -> None:
        """Look for due sagas until cancelled."""
        while True:
            try:
                async with self.store.database.connection() as connection:
                    cursor = await connection.execute("SELECT tenant_id, id FROM sagas_due(50)", prepare=True)
                    due = await cursor.fetchall()
                await asyncio.gather(*(self.advance(tenant, saga_id) for tenant, saga_id in due))
            except Exception as problem:
                log.warning("sagas wait: %s", problem)
                due = []
            await asyncio.sleep(0.02 if due else 0.2)

    async def advance(self, tenant: str, saga_id: str) -> str:
        """Take one saga as far as it goes now; its state then. Safe to call from several processes."""
        if saga_id in self._running:
            return "RUNNING"
        self._running.add(saga_id)
        try:
            while True:
                progress = await self._load(tenant, saga_id)
                if progress is None or progress.state not in ("RUNNING", "COMPENSATING"):
                    return progress.state if progress else "GONE"
                try:
                    goes_on = await self._one(tenant, progress)
                except psycopg.Error as problem:
                    if not _moved(problem):
                        raise
                    goes_on = False  # another process has taken this step: it goes on there
                if not goes_on:
                    progress = await self._load(tenant, saga_id)
                    return progress.state if progress else "GONE"
        finally:
            self._running.discard(saga_id)

    def _call(self, tenant: str, progress: Progress, step: str) -> Call:
        known = progress.data.get("_call", {})
        actor = known.get("actor", "")
        return Call(
            tenant=tenant, user=f"services/{self.service}", actor=actor if actor.startswith("users/") else "",
            locale=known.get("locale", "en"), zone=known.get("zone", "UTC"), cause=f"saga:{progress.id}",
            clients=self.clients, traceparent=known.get("traceparent", ""), deadline=time.monotonic() + 10,
            request_id=derived_id("step", progress.id, step),
        )  # fmt: skip

    async def _load(self, tenant: str, saga_id: str) -> Progress | None:
        call = Call(tenant=tenant, user=f"services/{self.service}")
        async with self.store.begin(call) as tx:
            rows = await tx.rows(
                "SELECT id, type, record, version, step, state, attempts, data, history FROM sagas"
                " WHERE tenant_id = %s AND id = %s", [tenant, saga_id],
            )  # fmt: skip
        return Progress(**rows[0]) if rows else None

    async def _one(self, tenant: str, at: Progress) -> bool:
        """One step forward or back; False when it has to wait."""
        back = at.state == "COMPENSATING"
        try:
            kind = self.kinds[at.type]
            if back and at.step < 0:
                return await self._end(tenant, at, kind)
            return await self._carry_out(tenant, at, kind, back)
        except Refused as refused:
            if back or self.reasons.status(refused).code in _TRANSIENT:
                return await self._wait(tenant, at, str(refused))
            return await self._turn(tenant, at, refused)
        except Exception as problem:
            if _moved(problem):
                raise
            log.warning("saga %s step %d: %s", at.id, at.step, problem, exc_info=problem)
            return await self._wait(tenant, at, f"{type(problem).__name__}: {problem}")

    async def _carry_out(self, tenant: str, at: Progress, kind: Saga, back: bool) -> bool:
        step = kind.steps[at.step]
        call = self._call(tenant, at, f"{'un' if back else ''}{step.name}")
        data = copy.deepcopy(at.data)  # what a step notes down counts once it is done
        remote, local = (step.unask, step.undo) if back else (step.ask, step.do)
        if remote is not None:
            await remote(call, data)
        call.request_id = ""
        last = not back and at.step + 1 == len(kind.steps)
        async with self.store.begin(call) as tx:
            if local is not None:
                await local(tx, data)
            self._save(tx, at, data, step=at.step + (-1 if back else 1), state="DONE" if last else at.state,
                       said=f"{'undid' if back else 'did'} {step.name}")  # fmt: skip
        return not last

    async def _turn(self, tenant: str, at: Progress, refused: Refused) -> bool:
        """From here on backwards: undo what was done, the last step first."""
        data = at.data | {"_refused": {"reason": refused.reason, "facts": refused.facts}}
        async with self.store.begin(self._plain(tenant, at)) as tx:
            self._save(
                tx, at, data, step=at.step - 1, state="COMPENSATING", said=f"refused: {refused.reason}"
            )
        return True

    async def _end(self, tenant: str, at: Progress, kind: Saga) -> bool:
        data = copy.deepcopy(at.data)
        said = data.get("_refused", {})
        refused = Refused(said.get("reason", "CONFLICT"), **said.get("facts", {}))
        async with self.store.begin(self._plain(tenant, at)) as tx:
            if kind.undone is not None:
                await kind.undone(tx, data, refused)
            self._save(tx, at, data, step=-1, state="COMPENSATED", said="everything is undone")
        return False

    async def _wait(self, tenant: str, at: Progress, problem: str) -> bool:
        seconds = min(30.0, 0.2 * 2 ** min(at.attempts, 8))
        async with self.store.begin(self._plain(tenant, at)) as tx:
            rows = await tx.rows("SELECT deadline_at < clock_timestamp() AS late FROM sagas"
                                 " WHERE tenant_id = %s AND id = %s", [tenant, at.id])  # fmt: skip
            state = "STUCK" if rows and rows[0]["late"] else at.state
            if state == "STUCK":
                log.error("saga %s of %s is stuck: %s", at.id, at.record, problem)
            self._save(tx, at, at.data, step=at.step, state=state, said=problem, wait=seconds)
        return False

    def _plain(self, tenant: str, at: Progress) -> Call:
        call = self._call(tenant, at, "")
        call.request_id = ""
        return call

    @staticmethod
    def _save(
        tx: Tx, at: Progress, data: dict[str, Any], *, step: int, state: str, said: str, wait: float = 0.0
    ) -> None:
        """Compare-and-set on the saga's version: of two processes at the same step, one rolls back."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        history = [*at.history, {"time": now, "said": said[:500]}]
        attempts = at.attempts + 1 if wait else 0
        tx.writes.raw(
            "UPDATE sagas SET version = version + 1, step = %s, state = %s, attempts = %s, data = %s,"
            " history = %s, next_at = clock_timestamp() + make_interval(secs => %s)"
            " WHERE tenant_id = %s AND id = %s AND version = %s RETURNING 1",
            [step, state, attempts, json.dumps(data), json.dumps(history[-100:]), float(wait),
             tx.call.tenant, at.id, at.version], _MOVED,
        )  # fmt: skip


def _moved(problem: BaseException) -> bool:
    """Whether the compare-and-set of `_save` found the saga further on than it was read."""
    return isinstance(problem, psycopg.Error) and problem.diag.message_primary == _MOVED
