"""The unit of work: what was read, what is kept back, and what of it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from chassis.call import Call, new_id
from chassis.kernel.refusals import Refused
from tests.chassis.notes import Note, NoteStore, Setting

Below = Callable[..., list[tuple[Any, ...]]]


def somebody(tenant: str = "", **more: Any) -> Call:
    """A call of anyone in a new organization."""
    return Call(tenant=tenant or new_id(), user=more.pop("user", f"users/{new_id()}"), **more)


async def keep(notes: NoteStore, call: Call, **more: Any) -> Note:
    """A note that stands."""
    async with notes.begin(call) as tx:
        return tx.add(Note(id=new_id(), title=more.pop("title", new_id()), **more))


async def test_the_same_id_in_two_organizations_of_one_transaction_is_two_records(notes: NoteStore) -> None:
    here, there = somebody(user="services/notes"), somebody(user="services/notes")
    for call, text in ((here, "ours"), (there, "theirs")):
        async with notes.begin(call) as tx:
            tx.add(Setting(id="default", text=text))
    async with notes.begin(here) as tx:
        assert (await tx.get(Setting, "settings/default")).text == "ours"
        tx.flush()
        await tx.enter(there)
        assert (await tx.get(Setting, "settings/default")).text == "theirs"
        assert [found.text for found in await tx.all(Setting)] == ["theirs"]


async def test_what_a_wider_permission_showed_stays_beyond_the_methods_own_scope(notes: NoteStore) -> None:
    owner = somebody()
    made = await keep(notes, owner)
    other = somebody(owner.tenant, scope="own", permissions={"notes.audit": "all"})
    async with notes.begin(other) as tx:
        assert (await tx.get(Note, f"notes/{made.id}", permission="notes.audit")).id == made.id
        with pytest.raises(Refused, match="NOT_FOUND"):
            await tx.get(Note, f"notes/{made.id}")


async def test_what_was_read_without_a_scope_is_not_reached_by_name(notes: NoteStore) -> None:
    owner = somebody()
    made = await keep(notes, owner)
    async with notes.begin(somebody(owner.tenant, scope="own")) as tx:
        assert [found.id for found in await tx.all(Note, scoped=False)] == [made.id]
        with pytest.raises(Refused, match="NOT_FOUND"):
            await tx.get(Note, f"notes/{made.id}")
        assert await tx.all(Note) == []


async def test_a_record_saved_twice_arrives_once_with_the_last_word(notes: NoteStore) -> None:
    call = somebody()
    made = await keep(notes, call)
    async with notes.begin(call) as tx:
        found = await tx.get(Note, f"notes/{made.id}")
        first = tx.save(replace(found, rank=1))
        second = tx.save(replace(first, rank=2))
        assert (first.version, second.version) == (2, 3)
    async with notes.begin(call) as tx:
        assert await tx.get(Note, f"notes/{made.id}") == second


async def test_a_record_made_and_saved_in_one_transaction_arrives_as_saved(notes: NoteStore) -> None:
    call = somebody()
    async with notes.begin(call) as tx:
        made = tx.add(Note(id=new_id(), title=new_id()))
        saved = tx.save(replace(made, rank=7))
    async with notes.begin(call) as tx:
        assert await tx.get(Note, f"notes/{made.id}") == saved


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("before", ["add", "save"])
async def test_what_is_changed_and_then_purged_is_gone(
    notes: NoteStore, below: Below, before: str, sent: bool
) -> None:
    call = somebody()
    made = await keep(notes, call) if before == "save" else None
    async with notes.begin(call) as tx:
        if made is None:
            found = tx.add(Note(id=new_id(), title=new_id()))
        else:
            found = tx.save(replace(await tx.get(Note, f"notes/{made.id}"), rank=3))
        if sent:
            tx.flush()
        tx.purge(found)
    assert below("SELECT id FROM notes WHERE id = %s", found.id) == []


async def test_what_was_purged_can_be_made_again_and_is_not_read_before(notes: NoteStore) -> None:
    call = somebody()
    made = await keep(notes, call)
    async with notes.begin(call) as tx:
        found = await tx.get(Note, f"notes/{made.id}")
        tx.purge(found)
        with pytest.raises(Refused, match="NOT_FOUND"):
            await tx.get(Note, f"notes/{made.id}")
        again = tx.add(Note(id=made.id, title=made.title, rank=9))
    async with notes.begin(call) as tx:
        assert await tx.get(Note, f"notes/{made.id}") == again


async def test_a_lost_race_commits_nothing_at_all(notes: NoteStore, below: Below) -> None:
    call = somebody()
    made = await keep(notes, call)
    with pytest.raises(psycopg.Error) as lost:
        async with notes.begin(call) as tx:
            found = await tx.get(Note, f"notes/{made.id}")
            async with notes.begin(call) as faster:
                faster.save(replace(await faster.get(Note, f"notes/{made.id}"), rank=1))
            tx.save(replace(found, rank=2))
            tx.put(NoteStore.places, key={"shelf": "a"}, values={"holds": "x"})
            tx.fold(NoteStore.counts, key={"word": "lost"}, add={"seen": 1})
    assert (lost.value.sqlstate, lost.value.diag.message_primary) == (
        "TW001",
        f"ETAG_MISMATCH notes/{made.id}",
    )
    assert below("SELECT rank, version FROM notes WHERE id = %s", made.id) == [(1, 2)]
    for table in ("places", "counts"):
        assert below(f"SELECT 1 FROM {table} WHERE tenant_id = %s", call.tenant) == []


async def test_sums_of_one_key_are_added_up_and_sent_once(notes: NoteStore, below: Below) -> None:
    call = somebody()
    for _ in range(2):
        async with notes.begin(call) as tx:
            for n in range(5):
                tx.fold(NoteStore.counts, key={"word": "a"}, add={"seen": 1})
                tx.fold(NoteStore.counts, key={"word": "a"}, add={"weight": n})
            tx.fold(NoteStore.counts, key={"word": "b"}, add={"seen": -1})
            assert len(tx.writes._folds) == 2
    found = below("SELECT word, seen, weight FROM counts WHERE tenant_id = %s ORDER BY 1", call.tenant)
    assert found == [("a", 10, 20), ("b", -2, 0)]


async def test_sums_of_many_at_once_lose_nothing(notes: NoteStore, below: Below) -> None:
    call = somebody()

    async def add(words: list[str]) -> None:
        async with notes.begin(call) as tx:
            for word in words:
                tx.fold(NoteStore.counts, key={"word": word}, add={"seen": 1})

    words = [f"w{n}" for n in range(20)]
    await asyncio.gather(*(add(words if n % 2 else words[::-1]) for n in range(8)))
    assert below("SELECT sum(seen), count(*) FROM counts WHERE tenant_id = %s", call.tenant) == [(160, 20)]


async def test_a_row_put_twice_says_what_both_said(notes: NoteStore, below: Below) -> None:
    call = somebody()
    async with notes.begin(call) as tx:
        tx.put(NoteStore.places, key={"shelf": "a"}, values={"holds": "bolts", "full": False})
        tx.put(NoteStore.places, key={"shelf": "a"}, values={"full": True})
        tx.put(NoteStore.places, key={"shelf": "b"}, values={"full": True})
        tx.put(NoteStore.places, key={"shelf": "b"}, values={"holds": "nuts"})
        tx.put(NoteStore.places, key={"shelf": "c"}, values={"holds": "old"})
        tx.put(NoteStore.places, key={"shelf": "c"}, values={"holds": "new"})
    found = below('SELECT shelf, holds, "full" FROM places WHERE tenant_id = %s ORDER BY 1', call.tenant)
    assert found == [("a", "bolts", True), ("b", "nuts", True), ("c", "new", None)]


async def test_numbers_have_no_gaps_whoever_fails_and_however_many_ask(notes: NoteStore) -> None:
    call = somebody()
    taken: list[int] = []

    async def take(n: int) -> None:
        if n % 3 == 0:
            with pytest.raises(ValueError, match="no after all"):
                async with notes.begin(call) as tx:
                    await tx.number("INV-2026")
                    raise ValueError("no after all")
        elif n % 3 == 1:
            async with notes.begin(replace(call, validate_only=True)) as tx:
                await tx.number("INV-2026")
        else:
            async with notes.begin(call) as tx:
                number = await tx.number("INV-2026")
            taken.append(number)

    await asyncio.gather(*(take(n) for n in range(24)))
    assert sorted(taken) == list(range(1, 9))
    async with notes.begin(somebody()) as tx:
        assert await tx.number("INV-2026") == 1  # another organization counts for itself


async def test_a_dry_run_keeps_nothing_of_any_kind(notes: NoteStore, below: Below) -> None:
    call = somebody(validate_only=True, request_id=new_id(), request_hash=b"x", method="/n/M")
    async with notes.begin(call) as tx:
        tx.add(Note(id=new_id(), title="dry"))
        tx.fold(NoteStore.counts, key={"word": "dry"}, add={"seen": 1})
        await tx.number("DRY")
    for table in ("notes", "counts", "number_series", "answers"):
        assert below(f"SELECT 1 FROM {table} WHERE tenant_id = %s", call.tenant) == [], table


async def test_a_dry_run_finds_out_what_would_fail(notes: NoteStore) -> None:
    call = somebody()
    made = await keep(notes, call)
    with pytest.raises(psycopg.errors.UniqueViolation):
        async with notes.begin(replace(call, validate_only=True)) as tx:
            tx.add(Note(id=new_id(), title=made.title))


async def test_a_call_given_up_leaves_a_pool_that_works(notes: NoteStore, below: Below) -> None:
    call = somebody()

    async def slow(n: int) -> None:
        async with notes.begin(call) as tx:
            tx.add(Note(id=new_id(), title=f"slow {n}"))
            await tx.rows("SELECT pg_sleep(20)")

    tasks = [asyncio.create_task(slow(n)) for n in range(12)]
    await asyncio.sleep(0.3)
    for task in tasks:
        task.cancel()
    given_up = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(problem, asyncio.CancelledError) for problem in given_up)
    await asyncio.gather(*(keep(notes, call) for _ in range(12)))
    assert below("SELECT count(*) FROM notes WHERE tenant_id = %s", call.tenant) == [(12,)]
    assert below("SELECT count(*) FROM notes WHERE title LIKE %s", "slow %") == [(0,)]


async def test_rows_hold_any_text_to_the_letter(notes: NoteStore) -> None:
    call = somebody()
    odd = [
        "",
        "NULL",
        "null",
        "{}",
        "a,b",
        '"',
        "\\",
        '\\"',
        '{a\\,"b"}',
        " x ",
        "\n\t",
        "价格 💶",
        "'",
        "%s",
        None,
    ]
    async with notes.begin(call) as tx:
        for shelf, text in enumerate(odd):
            tx.put(NoteStore.places, key={"shelf": f"{shelf:02d}"}, values={"holds": text, "full": not shelf})
    async with notes.begin(call) as tx:
        found = await tx.rows(
            'SELECT holds, "full" FROM places WHERE tenant_id = %s ORDER BY shelf', [call.tenant]
        )
    assert [(row["holds"], row["full"]) for row in found] == [(text, not at) for at, text in enumerate(odd)]
