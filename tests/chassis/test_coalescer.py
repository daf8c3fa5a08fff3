"""Calls that share a transaction: each is answered for itself, and nobody pays for another."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psycopg
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from chassis import coalescer
from chassis.call import Call, new_id
from chassis.coalescer import Coalescer
from chassis.kernel.refusals import Refused
from chassis.reasons import Reasons
from chassis.store import Replayed, Tx
from tests.chassis.notes import Note, NoteStore

Below = Callable[..., list[tuple[Any, ...]]]


class Desk:
    """Makes a note of each title it is asked for; what begins with "no" is refused after it was written."""

    def __init__(self, notes: NoteStore) -> None:
        self.batches: list[list[str]] = []
        self.came, self.open = asyncio.Event(), asyncio.Event()
        self.open.set()
        self.coalescer = Coalescer(notes, "customer", Reasons(), self.prepare, self.decide)

    async def prepare(self, tx: Tx, requests: Sequence[StringValue]) -> None:
        """Wait until the desk is open."""
        self.batches.append([request.value for request in requests])
        self.came.set()
        await self.open.wait()

    def decide(self, tx: Tx, request: StringValue, found: None) -> StringValue:
        """The id of the note."""
        made = tx.add(Note(id=new_id(), title=request.value))
        if request.value.startswith("no"):
            raise Refused("FIELD_INVALID", field="title", problem=f"{request.value} will not do")
        return tx.reply(StringValue(value=made.id))

    def ask(self, title: str, tenant: str, **more: Any) -> Awaitable[Any]:
        """One call."""
        call = Call(tenant=tenant, user=more.pop("user", "users/a"), method="/x/Note", **more)
        if call.request_id:
            call.request_hash = title.encode()
        return asyncio.ensure_future(self.coalescer.ask(StringValue(value=title), call))


@pytest.fixture
def desk(notes: NoteStore) -> Desk:
    return Desk(notes)


def titles(below: Below, tenant: str) -> list[Any]:
    return [row[0] for row in below("SELECT title FROM notes WHERE tenant_id = %s ORDER BY title", tenant)]


async def test_those_who_come_while_one_commits_go_together(desk: Desk, below: Below) -> None:
    here, there = new_id(), new_id()
    asked = [desk.ask(f"{n:02d}", here) for n in range(40)] + [desk.ask("x", there)]
    answers = await asyncio.gather(*asked)
    assert len({answer.value for answer in answers}) == 41
    assert titles(below, here) == [f"{n:02d}" for n in range(40)]
    assert titles(below, there) == ["x"]  # an organization of its own, a transaction of its own
    assert len(desk.batches) == 2 and sorted(map(len, desk.batches)) == [1, 40]


async def test_a_refusal_is_for_one_and_leaves_no_trace(desk: Desk, below: Below) -> None:
    here, once = new_id(), new_id()
    told = await asyncio.gather(
        desk.ask("a", here), desk.ask("no 1", here), desk.ask("no 2", here, request_id=once),
        desk.ask("b", here), return_exceptions=True,
    )  # fmt: skip
    assert isinstance(told[1], Refused) and "no 1" in told[1].facts["problem"]
    assert isinstance(told[2], Replayed) and told[2].refused  # a final one, kept under its id
    assert titles(below, here) == ["a", "b"]
    with pytest.raises(Replayed) as again:
        await desk.ask("no 2", here, request_id=once)
    assert again.value.response == told[2].response


async def test_the_same_request_twice_at_once_is_carried_out_once(desk: Desk, below: Below) -> None:
    here, once = new_id(), new_id()
    first, second, other, stranger = await asyncio.gather(
        desk.ask("a", here, request_id=once), desk.ask("a", here, request_id=once),
        desk.ask("b", here, request_id=once), desk.ask("c", here, request_id=once, user="users/b"),
        return_exceptions=True,
    )  # fmt: skip
    assert isinstance(second, Replayed) and second.response == first.SerializeToString()
    assert isinstance(other, Refused) and other.reason == "REQUEST_ID_REUSED"
    assert isinstance(stranger, StringValue)  # another's ids are another's
    assert titles(below, here) == ["a", "c"]


async def test_answers_given_before_are_looked_up_by_their_keys_however_many_there_are(
    notes: NoteStore,
) -> None:
    here = new_id()
    rehearsal = Call(tenant=here, user="services/customer", validate_only=True)
    async with notes.begin(rehearsal) as tx:
        await tx.run(  # rows that the planner knows nothing of
            "INSERT INTO answers SELECT %s::uuid, 'users/a', '/x/Note', n::text, '', false, ''"
            " FROM generate_series(1, 5000) AS n", [here],
        )  # fmt: skip
        asked = [["users/a"] * 16, [str(n) for n in range(16)], here, "/x/Note"]
        assert len(await tx.rows(coalescer._ANSWERS, asked)) == 15
        plan = await tx.rows("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + coalescer._ANSWERS, asked)
    looked = json.dumps(plan[0]["QUERY PLAN"])
    assert "request_id = asked.id" in looked
    assert not re.search(r'"Rows Removed by \w+": [1-9]', looked)


async def test_what_breaks_the_statement_breaks_its_own_call_alone(desk: Desk, below: Below) -> None:
    here = new_id()
    told = await asyncio.gather(
        *(desk.ask(title, here) for title in ("a", "b", "a", "c")), return_exceptions=True
    )
    assert [type(one).__name__ for one in told] == [
        "StringValue",
        "StringValue",
        "UniqueViolation",
        "StringValue",
    ]
    assert isinstance(told[2], psycopg.Error)
    assert titles(below, here) == ["a", "b", "c"]


async def test_who_gives_up_in_the_queue_has_asked_nothing_and_who_is_late_may_ask_again(
    desk: Desk, below: Below
) -> None:
    here, once = new_id(), new_id()
    desk.open.clear()
    late = desk.ask("late", here, request_id=once)
    await desk.came.wait()
    queued, next_one = desk.ask("queued", here), desk.ask("next", here)
    for one in (late, queued):
        one.cancel()  # as the deadline does
    desk.open.set()
    await next_one
    assert titles(below, here) == ["late", "next"]
    with pytest.raises(Replayed) as kept:
        await desk.ask("late", here, request_id=once)
    assert not kept.value.refused
