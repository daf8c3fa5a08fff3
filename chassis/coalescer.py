"""Calls that would wait for the same rows share a transaction: while one commits, the next ones gather.

A row that everybody wants is locked once for many calls instead of once for each. The calls of one
organization are decided first come, first served, in memory, after everything they need was read and locked
at once; each gets an answer or a refusal of its own, kept under its own request_id.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import psycopg
from google.protobuf.message import Message

from chassis.call import Call
from chassis.kernel.refusals import Refused
from chassis.reasons import FINAL, Reasons
from chassis.store import Ahead, Replayed, Store, Tx

P = TypeVar("P")
AT_ONCE = 256
# OFFSET 0: each is looked up by its key. Joined, they would be found by a walk through all of the method's
# answers, as long as the table looks small to the planner.
_ANSWERS = """SELECT a.principal, a.request_id, a.request_hash, a.refused, a.response
FROM unnest(%s::text[], %s::text[]) AS asked (principal, id), LATERAL (
  SELECT * FROM answers WHERE tenant_id = %s AND method = %s AND principal = asked.principal
    AND request_id = asked.id OFFSET 0) AS a"""


@dataclass(eq=False)
class _Waiting:
    """A call in the queue, and where its answer is awaited."""

    request: Any
    call: Call
    answer: asyncio.Future[Message]

    @property
    def key(self) -> tuple[str, str]:
        """What its answer is kept under."""
        return self.call.user, self.call.request_id


class Coalescer(Generic[P]):
    """One method's calls, a transaction after the other for each organization.

    *prepare* asks for what any of the requests may need, locked in a fixed order; *decide* answers one of
    them from that, or refuses. It cannot wait, so nobody comes in between; what it wrote before it refused
    is forgotten.
    """

    def __init__(
        self, store: Store, service: str, reasons: Reasons,
        prepare: Callable[[Tx, Sequence[Any]], Awaitable[P]], decide: Callable[[Tx, Any, P], Message],
    ) -> None:  # fmt: skip
        self.store, self.user, self.reasons = store, f"services/{service}", reasons
        self._prepare, self._decide = prepare, decide
        self._queues: dict[str, deque[_Waiting]] = {}  # of the organizations that are being worked for
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, request: Any, call: Call) -> Message:
        """The answer to the call, once it is committed. Whoever gives up in the queue has asked nothing."""
        waiting = _Waiting(request, call, asyncio.get_running_loop().create_future())
        queue = self._queues.get(call.tenant)
        if queue is not None:
            queue.append(waiting)
        else:
            self._queues[call.tenant] = queue = deque([waiting])
            task = asyncio.create_task(self._work(call.tenant, queue))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await waiting.answer

    async def _work(self, tenant: str, queue: deque[_Waiting]) -> None:
        try:
            while batch := _next(queue):
                await self._together(batch)
        finally:
            del self._queues[tenant]
            for one in queue:  # only where the work itself was cancelled
                one.answer.cancel()

    async def _together(self, batch: Sequence[_Waiting]) -> None:
        outcomes: Sequence[Message | Exception]
        try:
            outcomes = await self._transaction(batch)
        except psycopg.Error as problem:
            if len(batch) > 1 and _undone(problem):  # let each fail, or not, for itself
                for one in batch:
                    await self._together([one])
                return
            outcomes = [problem] * len(batch)
        except Exception as problem:
            outcomes = [problem] * len(batch)
        for one, outcome in zip(batch, outcomes, strict=True):
            if one.answer.done():
                continue  # it was late; asked again, it hears what was kept
            if isinstance(outcome, Exception):
                one.answer.set_exception(outcome)
            else:
                one.answer.set_result(outcome)

    async def _transaction(self, batch: Sequence[_Waiting]) -> list[Message | Exception]:
        deadline = max(one.call.deadline for one in batch)
        call = Call(tenant=batch[0].call.tenant, user=self.user, deadline=deadline)
        async with self.store.begin(call) as tx:
            preparing = self._prepare(tx, [one.request for one in batch])
            # Asked for behind the locks, so that an answer is seen whose transaction they waited for.
            answered = self._answered(tx, batch)
            found, known = await preparing, await answered
            told = {one: self._outcome(tx, one, found) for one in batch if one.key not in known}
            tx.call = call
        return [told[one] if one in told else known[one.key] for one in batch]

    def _answered(self, tx: Tx, batch: Sequence[_Waiting]) -> Ahead[dict[tuple[str, str], Exception]]:
        """What those hear that were answered before."""
        asked = {one.key: one for one in batch if one.call.request_id}
        users, ids = [user for user, _ in asked], [once for _, once in asked]
        reading = tx.rows(_ANSWERS, [users, ids, tx.call.tenant, batch[0].call.method]) if asked else None

        async def receive() -> dict[tuple[str, str], Exception]:
            heard: dict[tuple[str, str], Exception] = {}
            for row in await reading if reading else ():
                key = (row["principal"], row["request_id"])
                if bytes(row["request_hash"]) != asked[key].call.request_hash:
                    heard[key] = Refused("REQUEST_ID_REUSED", field="request_id")
                else:
                    heard[key] = Replayed(row["refused"], bytes(row["response"]))
            return heard

        return Ahead(receive)

    def _outcome(self, tx: Tx, one: _Waiting, found: P) -> Message | Exception:
        """The answer of one, or its refusal; a final one is kept like an answer."""
        tx.call = one.call
        try:
            with tx.attempt():
                return self._decide(tx, one.request, found)
        except Refused as refused:
            status = self.reasons.status(refused, one.call.locale)
            if not one.call.request_id or status.code not in FINAL:
                return refused
            said = status.SerializeToString()
            tx.keep(refused=True, answer=said)
            return Replayed(True, said)


def _next(queue: deque[_Waiting]) -> list[_Waiting]:
    """The next in line that still wait, the same request at most once: asked twice, it is answered twice."""
    batch: dict[Any, _Waiting] = {}
    again: list[_Waiting] = []
    while queue and len(batch) < AT_ONCE:
        one = queue.popleft()
        if one.answer.done():
            continue
        key = one.key if one.call.request_id else one
        if key in batch:
            again.append(one)
        else:
            batch[key] = one
    queue.extendleft(reversed(again))
    return list(batch.values())


def _undone(problem: psycopg.Error) -> bool:
    """Whether it is certain that nothing was committed, and worth another try."""
    return bool(problem.sqlstate) and problem.sqlstate[:2] not in ("08", "57")  # type: ignore[index]
