"""Sagas: every step once, everything undone in reverse after a no, whoever carries them out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chassis.call import Call, derived_id, new_id
from chassis.kernel.refusals import Refused
from chassis.reasons import Reasons
from chassis.sagas import Saga, Sagas, Step, start
from chassis.store import Tx
from tests.chassis.notes import Note, NoteStore

Below = Callable[..., list[tuple[Any, ...]]]


class Journey:
    """A saga that books a room here, a flight elsewhere, and says so; what happened is written down."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []  # (what, request id)
        self.refuse: dict[str, list[Exception]] = {}  # step → what it raises, one after the other
        self.gate: dict[str, Callable[[], Awaitable[None]]] = {}
        self.saga = Saga("journey", (
            Step("room", do=self.local("room"), undo=self.local("unroom")),
            Step("flight", ask=self.remote("flight"), unask=self.remote("unflight")),
            Step("confirm", do=self.local("confirm")),
        ), undone=self.undone)  # fmt: skip

    async def _happens(self, what: str) -> None:
        if what in self.gate:
            await self.gate[what]()
        if self.refuse.get(what):
            raise self.refuse[what].pop(0)

    def local(self, what: str) -> Any:
        """A step here: leaves a note, and a mark in the data."""

        async def do(tx: Tx, data: dict[str, Any]) -> None:
            data[what] = True
            tx.add(Note(id=new_id(), title=f"{what} {data['key']}"))
            await self._happens(what)

        return do

    def remote(self, what: str) -> Any:
        """A step elsewhere."""

        async def ask(call: Call, data: dict[str, Any]) -> None:
            await self._happens(what)
            self.asked.append((what, call.request_id))
            data[what] = True

        return ask

    async def undone(self, tx: Tx, data: dict[str, Any], refused: Refused) -> None:
        """Once everything is undone."""
        await self._happens("undone")
        tx.add(Note(id=new_id(), title=f"undone {data['key']} {refused.reason}"))

    def runner(self, notes: NoteStore) -> Sagas:
        """A process that carries sagas out."""
        return Sagas("notes", notes, (self.saga,), None, Reasons())

    async def begin(self, notes: NoteStore) -> tuple[str, str, str]:
        """(organization, saga, key) of a journey that begins."""
        call, key = Call(tenant=new_id(), user=f"users/{new_id()}"), new_id()
        async with notes.begin(call) as tx:
            saga = start(tx, self.saga, f"journeys/{key}", {"key": key})
        return call.tenant, saga, key


def titles(below: Below, tenant: str) -> list[str]:
    """What the steps left behind, without the key."""
    found = below("SELECT title FROM notes WHERE tenant_id = %s ORDER BY create_time, id", tenant)
    return [" ".join(word for word in str(title).split() if len(word) < 30) for (title,) in found]


def said(below: Below, saga: str) -> list[str]:
    """What the saga says happened."""
    [(history,)] = below("SELECT history FROM sagas WHERE id = %s", saga)
    return [entry["said"] for entry in history]


async def test_every_step_happens_once_in_its_order(notes: NoteStore, below: Below) -> None:
    journey = Journey()
    tenant, saga, _ = await journey.begin(notes)
    runner = journey.runner(notes)
    assert await runner.advance(tenant, saga) == "DONE"
    assert await runner.advance(tenant, saga) == "DONE"  # asked again, nothing happens
    assert titles(below, tenant) == ["room", "confirm"]
    assert journey.asked == [("flight", derived_id("step", saga, "flight"))]
    assert said(below, saga) == ["did room", "did flight", "did confirm"]


async def test_a_refusal_undoes_what_was_done_the_last_first(notes: NoteStore, below: Below) -> None:
    journey = Journey()
    journey.refuse["confirm"] = [Refused("STATE_FORBIDS", state="CANCELLED")]
    tenant, saga, _ = await journey.begin(notes)
    await journey.runner(notes).advance(tenant, saga)
    [(state, data)] = below("SELECT state, data FROM sagas WHERE id = %s", saga)
    assert state == "COMPENSATED"
    assert titles(below, tenant) == ["room", "unroom", "undone STATE_FORBIDS"]
    assert journey.asked == [
        ("flight", derived_id("step", saga, "flight")), ("unflight", derived_id("step", saga, "unflight")),
    ]  # fmt: skip
    assert said(below, saga) == [
        "did room", "did flight", "refused: STATE_FORBIDS", "undid flight", "undid room",
        "everything is undone",
    ]  # fmt: skip
    assert "confirm" not in data  # what a refused step noted down is gone with it


async def test_advance_says_what_became_of_it(notes: NoteStore) -> None:
    journey = Journey()
    journey.refuse["room"] = [Refused("STATE_FORBIDS")]
    tenant, saga, _ = await journey.begin(notes)
    assert await journey.runner(notes).advance(tenant, saga) == "COMPENSATED"
    assert journey.asked == []
    assert await journey.runner(notes).advance(tenant, new_id()) == "GONE"


@pytest.mark.parametrize("problem", [
    Refused("UNAVAILABLE", what="the airline"), Refused("DEADLINE_EXCEEDED"), Refused("INTERNAL", trace="t"),
    Refused("UNAUTHENTICATED", problem="the token is over"), ConnectionError("away"),
])  # fmt: skip
async def test_what_is_no_answer_is_tried_again_as_the_same_request(
    notes: NoteStore, below: Below, problem: Exception
) -> None:
    journey = Journey()
    journey.refuse["flight"] = [problem]
    tenant, saga, _ = await journey.begin(notes)
    runner = journey.runner(notes)
    assert await runner.advance(tenant, saga) == "RUNNING"
    [(step, attempts, waits)] = below(
        "SELECT step, attempts, next_at > deadline_at - interval '24 hours' FROM sagas WHERE id = %s", saga
    )
    assert (step, attempts, waits) == (1, 1, True)
    assert await runner.advance(tenant, saga) == "DONE"
    assert journey.asked == [("flight", derived_id("step", saga, "flight"))]
    assert titles(below, tenant) == ["room", "confirm"]


async def test_a_step_that_broke_off_is_not_told_as_done(notes: NoteStore, below: Below) -> None:
    journey = Journey()
    journey.refuse["confirm"] = [ValueError("a defect")]
    tenant, saga, _ = await journey.begin(notes)
    runner = journey.runner(notes)
    assert await runner.advance(tenant, saga) == "RUNNING"
    [(data,)] = below("SELECT data FROM sagas WHERE id = %s", saga)
    assert "confirm" not in data
    assert said(below, saga) == ["did room", "did flight", "ValueError: a defect"]
    assert await runner.advance(tenant, saga) == "DONE"


@pytest.mark.parametrize("where", ["room", "flight", "confirm"])
async def test_two_processes_at_one_step_carry_it_out_once(
    notes: NoteStore, below: Below, where: str
) -> None:
    journey = Journey()
    tenant, saga, _ = await journey.begin(notes)
    journey.refuse[where] = [ConnectionError("not yet")]
    assert await journey.runner(notes).advance(tenant, saga) == "RUNNING"
    journey.gate[where] = asyncio.Barrier(2).wait  # type: ignore[assignment]
    states = await asyncio.gather(*(journey.runner(notes).advance(tenant, saga) for _ in range(2)))
    assert "DONE" in states
    assert set(states) <= {"DONE", "RUNNING"}
    assert titles(below, tenant) == ["room", "confirm"]
    assert len(set(journey.asked)) == 1  # the other service saw one request, perhaps twice
    happened = [line for line in said(below, saga) if line.startswith("did")]
    assert happened == ["did room", "did flight", "did confirm"]


async def test_a_process_that_dies_between_two_steps_loses_nothing(notes: NoteStore, below: Below) -> None:
    journey = Journey()
    reached, hangs = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        reached.set()
        await hangs.wait()

    journey.gate["flight"] = hang
    tenant, saga, _ = await journey.begin(notes)
    dying = asyncio.create_task(journey.runner(notes).advance(tenant, saga))
    await reached.wait()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    hangs.set()
    assert await journey.runner(notes).advance(tenant, saga) == "DONE"
    assert titles(below, tenant) == ["room", "confirm"]


@pytest.mark.parametrize("what", ["unflight", "unroom", "undone"])
async def test_an_undo_that_is_refused_is_tried_again_later(
    notes: NoteStore, below: Below, what: str
) -> None:
    journey = Journey()
    journey.refuse = {"confirm": [Refused("STATE_FORBIDS")], what: [Refused("STATE_FORBIDS"), KeyError("x")]}
    tenant, saga, _ = await journey.begin(notes)
    runner = journey.runner(notes)
    for attempts in (1, 2):
        assert await runner.advance(tenant, saga) == "COMPENSATING"
        [(counted, waits)] = below(
            "SELECT attempts, next_at > clock_timestamp() FROM sagas WHERE id = %s", saga
        )
        assert (counted, waits) == (attempts, True)
    assert await runner.advance(tenant, saga) == "COMPENSATED"
    assert titles(below, tenant) == ["room", "unroom", "undone STATE_FORBIDS"]


async def test_patience_ends_and_says_so(notes: NoteStore, below: Below) -> None:
    journey = Journey()
    journey.refuse["flight"] = [Refused("UNAVAILABLE", what="the airline")]
    tenant, saga, _ = await journey.begin(notes)
    async with notes.begin(Call(tenant=tenant, user="services/notes")) as tx:
        await tx.run("UPDATE sagas SET deadline_at = now() WHERE tenant_id = %s AND id = %s", [tenant, saga])
    assert await journey.runner(notes).advance(tenant, saga) == "STUCK"
    assert ("UNAVAILABLE" in said(below, saga)[-1]) is True


async def test_a_dry_run_or_a_refused_beginning_starts_no_saga(notes: NoteStore, below: Below) -> None:
    journey = Journey()
    call = Call(tenant=new_id(), user=f"users/{new_id()}", validate_only=True)
    async with notes.begin(call) as tx:
        start(tx, journey.saga, "journeys/a", {"key": "a"})
    assert below("SELECT 1 FROM sagas WHERE tenant_id = %s", call.tenant) == []


async def test_a_step_is_here_or_elsewhere_never_both() -> None:
    journey = Journey()
    with pytest.raises(TypeError, match="here or elsewhere"):
        Step("both", ask=journey.remote("a"), do=journey.local("b"))
