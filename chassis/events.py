"""Reactions to other services' events: each exactly once, in order per record.

One cursor row per (source, partition) is dedupe, order, gap detection and fence at once: a batch moves it
by compare-and-set in the same transaction as its effects. A hole is fetched from the producer; an event
that keeps failing is parked together with the later ones of its record, and the others go on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime
from types import ModuleType
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from tradewind.type.v1 import feed_pb2

from chassis import telemetry
from chassis.bus import Bus
from chassis.call import Call
from chassis.database import is_nobodys_fault
from chassis.jobs import organizations
from chassis.kernel.record import replace
from chassis.outbox import PARTS
from chassis.resync import NOBODY, Resync
from chassis.store import Replayed, Store, Tx

if TYPE_CHECKING:
    from chassis.clients import Clients

log = logging.getLogger(__name__)
BATCH = 500  # events per transaction, at most
ATTEMPTS = 5
AWAY_SECONDS = 0.2
Reaction = Callable[[Any, Tx], Awaitable[None]]
ZERO = "00000000-0000-0000-0000-000000000000"


def on(*events: type[Message]) -> Callable[[Reaction], Reaction]:
    """Marks a function of `reactions.py` as what follows when one of these events happened."""

    def mark(function: Reaction) -> Reaction:
        function.reacts_to = events  # type: ignore[attr-defined]
        return function

    return mark


def reactions_of(module: ModuleType | None) -> dict[str, tuple[type[Message], list[Reaction]]]:
    """full event name → (its message, the reactions in the order of their writing)."""
    found: dict[str, tuple[type[Message], list[Reaction]]] = {}
    for function in vars(module).values() if module else ():
        for event in getattr(function, "reacts_to", ()):
            found.setdefault(event.DESCRIPTOR.full_name, (event, []))[1].append(function)
    return found


class Moved(Replayed):
    """Another process moved the cursor: what was about to be done has been done."""

    def __init__(self) -> None:
        super().__init__(False, b"")


class Consumer:
    """Applies the events of all sources a service reacts to."""

    def __init__(
        self, service: str, store: Store, reactions: ModuleType | None, clients: Clients | None,
        repairs: ModuleType | None = None,
    ) -> None:  # fmt: skip
        self.service, self.store, self.clients = service, store, clients
        self.resync = Resync(service, store, repairs, clients)
        self.reactions = reactions_of(reactions)
        self.sources = sorted({name.split(".")[1] for name in self.reactions})
        self._failures: dict[tuple[str, int, int], int] = {}
        self.stopping = False

    # -- one batch --------------------------------------------------------------------------------

    async def cursor(self, source: str, part: int) -> tuple[str, int]:
        """(epoch, position) up to which everything was applied; an unknown epoch is "0…0"."""
        async with self.store.database.connection() as connection:
            found = await connection.execute(
                "SELECT epoch::text, pos FROM event_cursor WHERE source = %s AND part = %s", (source, part),
                prepare=True,
            )  # fmt: skip
            row = await found.fetchone()
        return (row[0], row[1]) if row else (ZERO, 0)

    async def apply(self, source: str, part: int, events: Sequence[feed_pb2.FeedEvent]) -> int:
        """Apply a run of events; duplicates are dropped. The position reached; stops before a hole.

        Of another epoch than the cursor's nothing moves, and 0 is answered: the broker may still hold facts
        from before a restoration, and so may a process that stood still. `catch_up` asks where it branched.
        """
        epoch, at = await self.cursor(source, part)
        if events and epoch not in (events[0].epoch, ZERO):
            return 0
        fresh = [event for event in events if event.position > at and event.epoch == events[0].epoch]
        while fresh:
            run: list[feed_pb2.FeedEvent] = []
            # One that failed is tried alone: what comes after it need not be done in vain each time.
            for event in fresh[: 1 if (source, part, at + 1) in self._failures else BATCH]:
                if event.position != at + 1 + len(run):
                    break
                if run and (source, part, event.position) in self._failures:
                    break
                run.append(event)
            if not run:
                return at
            at = await self._apply_run(source, part, at, run)
            fresh = [event for event in fresh if event.position > at]
        return at

    async def _apply_run(
        self, source: str, part: int, at: int, run: list[feed_pb2.FeedEvent], tried: int = 0
    ) -> int:
        """Apply a run or what can be of it; *tried* so often before, with others."""
        try:
            await self._transaction(source, part, at, run)
        except Moved:
            return (await self.cursor(source, part))[1]
        except asyncio.CancelledError:
            raise
        except Exception as problem:
            if is_nobodys_fault(problem):  # nor of the events: they wait, however often it goes
                return await self._back(source, part)
            if len(run) > 1:  # find the one that fails; those before it count
                for event in run:
                    if event.position <= at:  # the COMMIT was carried out, only its answer was lost
                        continue
                    at = await self._apply_run(source, part, at, [event], tried=1)
                    if at < event.position:
                        return at
                return at
            return await self._failed(source, part, at, run[0], problem, tried)
        if self._failures:
            self._failures.pop((source, part, run[0].position), None)
        telemetry.METRICS.count("tradewind_events_applied_total", len(run), source=source)
        age = time.time() - run[-1].occur_time.seconds - run[-1].occur_time.nanos / 1e9
        telemetry.METRICS.observe("tradewind_event_delay_seconds", max(0.0, age), source=source)
        return run[-1].position

    async def _transaction(self, source: str, part: int, at: int, run: list[feed_pb2.FeedEvent]) -> None:
        # One organization after the other: records belong to one, so each keeps its order, and what is
        # done in an organization is written at once.
        ordered = sorted(run, key=lambda event: event.organization)
        # Facts applied together share one span: it belongs to the first of their traces that is recorded.
        recorded = (event.traceparent for event in run if not telemetry.is_unrecorded(event.traceparent))
        trace = next(recorded, run[0].traceparent)
        with telemetry.entry("events", trace, source=source, events=len(run)):
            async with self.store.begin(self.call_for(ordered[0])) as tx:
                parked = await _move(tx, source, part, run[0].epoch, at, run[-1].position)
                tx.batch = run
                for event in ordered:
                    call = self.call_for(event)
                    if tx.call.tenant != call.tenant:
                        await tx.enter(call)
                    tx.call = call
                    try:
                        await self.react(event, tx, parked)
                    except Exception as problem:
                        # It counts as an attempt, and the next ones are made alone.
                        if len(run) > 1 and not is_nobodys_fault(problem):
                            self._failures.setdefault((source, part, event.position), 1)
                        raise

    async def react(
        self, event: feed_pb2.FeedEvent, tx: Tx, parked: Collection[tuple[str, str]] = ()
    ) -> None:
        """What follows from an event, in this transaction; of a *parked* (organization, record) it waits."""
        if (event.organization, event.record) in parked:
            await self._park(tx, event, "an earlier event of this record is parked")
            return
        kind, functions = self.reactions.get(event.type, (None, []))
        if kind is None:
            return
        message = kind.FromString(event.payload.value)
        for function in functions:
            await function(message, tx)

    def call_for(self, event: feed_pb2.FeedEvent) -> Call:
        """The call in whose name an event is applied: this service's, for the person behind the event."""
        actor = event.on_behalf_of or (event.actor if event.actor.startswith("users/") else "")
        return Call(
            tenant=event.organization, user=f"services/{self.service}", method=event.type, actor=actor,
            now=_time(event.occur_time), clients=self.clients, event=event,
            traceparent=event.traceparent, deadline=time.monotonic() + 30,
        )  # fmt: skip

    # -- what fails ---------------------------------------------------------------------------------

    async def _back(self, source: str, part: int) -> int:
        """Our position, once the database answers again."""
        while True:
            await asyncio.sleep(AWAY_SECONDS)
            try:
                return (await self.cursor(source, part))[1]
            except Exception as problem:
                if not is_nobodys_fault(problem):
                    raise

    async def _failed(
        self, source: str, part: int, at: int, event: feed_pb2.FeedEvent, problem: Exception, tried: int
    ) -> int:
        key = (source, part, event.position)
        self._failures[key] = self._failures.get(key, tried) + 1
        times = self._failures[key]
        log.warning("%s %s of %s failed %d times", event.type, event.position, event.record, times,
                    exc_info=problem)  # fmt: skip
        if self._failures[key] < ATTEMPTS:
            await asyncio.sleep(0.05 * 2 ** self._failures[key])
            return at
        del self._failures[key]
        call = self.call_for(event)
        try:
            async with self.store.begin(call) as tx:
                await _move(tx, source, part, event.epoch, at, event.position)
                await self._park(tx, event, f"{type(problem).__name__}: {problem}")
        except Moved:
            return (await self.cursor(source, part))[1]
        return event.position

    async def _park(self, tx: Tx, event: feed_pb2.FeedEvent, problem: str) -> None:
        source = event.type.split(".")[1]
        tx.writes.raw(
            "INSERT INTO parked_events (tenant_id, source, part, pos, record, event, problem)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING 1",
            [event.organization, source, event.partition, event.position, event.record,
             event.SerializeToString(), problem[:2000]],
        )  # fmt: skip
        telemetry.METRICS.count("tradewind_events_parked_total", 1, source=source)

    # -- the loop -----------------------------------------------------------------------------------

    async def run(self, bus: Bus | None) -> None:
        """Consume every source until cancelled."""
        async with asyncio.TaskGroup() as group:
            for source in self.sources:
                for part in range(PARTS):
                    group.create_task(self._follow(bus, source, part))

    async def _follow(self, bus: Bus | None, source: str, part: int) -> None:
        while not self.stopping:
            try:
                await self._round(bus, source, part)
            except asyncio.CancelledError:
                raise
            except Exception as problem:
                log.warning("%s/%d waits: %s", source, part, problem)
                await asyncio.sleep(0.5)

    async def _round(self, bus: Bus | None, source: str, part: int) -> None:
        fetched = await bus.fetch(self.service, source, part) if bus is not None else None
        if fetched is None or not fetched[0]:
            # A quiet while, or no broker: ask the producer whether there is more.
            if await self.catch_up(source, part) == 0 and fetched is None:
                await asyncio.sleep(0.5)
            return
        events, ack = fetched
        reached = await self.apply(source, part, events)
        if reached < events[-1].position:
            telemetry.METRICS.count("tradewind_event_gaps_total", 1, source=source)
            await self.catch_up(source, part)
        await ack()

    async def catch_up(self, source: str, part: int) -> int:
        """Replay from the producer what is missing up to its head; how many events there were."""
        if self.clients is None:
            return 0
        total = 0
        while not self.stopping:
            epoch, at = await self.cursor(source, part)
            request = feed_pb2.ReplayEventsRequest(partition=part, from_position=at + 1, limit=500)
            request.epoch = "" if epoch == ZERO else epoch
            call = Call(tenant=NOBODY, user=f"services/{self.service}")
            answer = await self.clients.ask(
                f"tradewind.{source}.v1.EventsService.ReplayEvents", request, call
            )
            if epoch not in (ZERO, answer.epoch):
                await self.resync.run(source, part, (epoch, at), answer.epoch, answer.branch)
                continue
            if not answer.events:
                return total
            total += len(answer.events)
            await self.apply(source, part, answer.events)
        return total

    async def rebuild(self) -> None:
        """Empty every read model and plain row of this service and go back to the first fact.

        One transaction that holds the cursors, so that no batch lands in between; the consumers then
        replay from the producers.
        """
        known = await organizations(self.store)
        call = Call(tenant=known[0] if known else ZERO, user=f"services/{self.service}")
        async with self.store.begin(call) as tx:
            await tx.rows("SELECT 1 AS held FROM event_cursor ORDER BY source, part FOR UPDATE")
            for organization in known:
                await tx.enter(replace(call, tenant=organization))
                for rows in self.store.rows:
                    await tx.run(f"DELETE FROM {rows.name} WHERE tenant_id = %s", [organization])
                await tx.run("DELETE FROM parked_events WHERE tenant_id = %s", [organization])
            await tx.run("UPDATE event_cursor SET pos = 0")


def _time(stamp: Timestamp) -> datetime:
    """What `ToDatetime` says, in a quarter of the time."""
    return datetime.fromtimestamp(stamp.seconds, UTC).replace(microsecond=stamp.nanos // 1000)


async def _move(tx: Tx, source: str, part: int, epoch: str, at: int, to: int) -> set[tuple[str, str]]:
    """Move the cursor first: its row lock is the fence against a second process with the same batch.

    Answers the (organization, record) that are parked, as of behind the fence: another process may have
    parked or applied them since the last batch.
    """
    moved = tx.pipe.ask(
        "INSERT INTO event_cursor AS c (source, part, epoch, pos) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (source, part) DO UPDATE SET pos = EXCLUDED.pos, epoch = EXCLUDED.epoch"
        " WHERE c.pos = %s AND c.pos < EXCLUDED.pos AND c.epoch = EXCLUDED.epoch RETURNING 1",
        (source, part, epoch, to, at),
    )
    parked = tx.pipe.ask("SELECT organization, record FROM parked()")
    if not await moved.rows():
        raise Moved
    return {(row[0], row[1]) for row in await parked.rows()}
