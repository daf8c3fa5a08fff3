"""Lists against the real PostgreSQL: filters that cannot break out, pages that meet, tokens that hold."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from chassis import listing
from chassis.call import Call, new_id
from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money
from tests.chassis.notes import Note, NoteStore

TOKENS = listing.Tokens(b"a key for tests")


@dataclass
class Ask:
    """A List request."""

    filter: str = ""
    order_by: str = ""
    page_size: int = 0
    page_token: str = ""
    show_deleted: bool = False


async def listed(notes: NoteStore, call: Call, **asked: Any) -> tuple[list[Note], str]:
    """One page."""
    async with notes.begin(call) as tx:
        return await listing.page(tx, NoteStore.notes, Ask(**asked), TOKENS)


async def shelf(notes: NoteStore, *kept: dict[str, Any]) -> Call:
    """An organization with these notes."""
    call = Call(tenant=new_id(), user=f"users/{new_id()}")
    async with notes.begin(call) as tx:
        for one in kept:
            tx.add(Note(id=new_id(), **one))
    return call


def yuan(units: int) -> Money:
    """An amount of whole yuan."""
    return Money(units * 10_000, "CNY")


@pytest.mark.parametrize("order", [
    "rank", "rank desc", "price desc", "price, rank desc", "rank desc, title", "create_time desc",
    "name desc", "",
])  # fmt: skip
@pytest.mark.parametrize("size", [1, 2, 5])
async def test_pages_meet_where_values_are_missing_or_equal(notes: NoteStore, order: str, size: int) -> None:
    call = await shelf(notes, *(
        {"title": f"t{n}", "rank": [None, 1, 1, 2, None][n % 5], "price": [None, yuan(5), yuan(-5)][n % 3]}
        for n in range(11)
    ))  # fmt: skip
    whole, _ = await listed(notes, call, order_by=order, page_size=50)
    seen, token = list[str](), ""
    for _ in range(20):
        page, token = await listed(notes, call, order_by=order, page_size=size, page_token=token)
        assert len(page) <= size
        seen += [found.title for found in page]
        if not token:
            break
    assert seen == [found.title for found in whole]
    assert len(set(seen)) == 11


async def test_a_page_is_fifty_unless_asked_and_never_more_than_two_hundred(notes: NoteStore) -> None:
    call = await shelf(notes, *({"title": f"t{n}"} for n in range(203)))
    for asked, got in ((0, 50), (1, 1), (200, 200), (201, 200), (2**31 - 1, 200)):
        page, token = await listed(notes, call, page_size=asked)
        assert (len(page), bool(token)) == (got, True)
    rest, token = await listed(
        notes, call, page_size=200, page_token=(await listed(notes, call, page_size=200))[1]
    )
    assert (len(rest), token) == (3, "")
    with pytest.raises(Refused, match="FIELD_INVALID"):
        await listed(notes, call, page_size=-1)


async def test_a_full_last_page_has_no_next(notes: NoteStore) -> None:
    call = await shelf(notes, {"title": "a"}, {"title": "b"})
    assert (await listed(notes, call, page_size=2))[1] == ""


async def test_a_token_is_for_one_list_of_one_reader(notes: NoteStore) -> None:
    call = await shelf(notes, *({"title": f"t{n}", "rank": n} for n in range(4)))
    asked = {"page_size": 1, "order_by": "rank", "filter": "rank >= 0"}
    _, token = await listed(notes, call, **asked)
    assert (await listed(notes, call, **asked | {"page_size": 3}, page_token=token))[0][0].rank == 1
    elsewhere = await shelf(notes, {"title": "x", "rank": 1})
    colleague = Call(tenant=call.tenant, user="users/b")
    place = json.dumps([3, "x"]).encode()
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    forged = [
        base64.urlsafe_b64encode(raw[:12] + place).decode(), base64.urlsafe_b64encode(place).decode(),
        base64.urlsafe_b64encode(raw[:12]).decode(), listing.Tokens(b"another").make([1, "x"], ""),
        TOKENS.make([1, "x"], "another query"), token + "AAAA", token[:-4], "", " ", "a", "é", "AAAA" * 4000,
    ]  # fmt: skip
    for wrong in [one for one in forged if one]:
        with pytest.raises(Refused, match="PAGE_TOKEN_INVALID"):
            await listed(notes, call, **asked, page_token=wrong)
    for who, other in ((elsewhere, {}), (colleague, {}), (call, {"filter": "rank >= 1"}),
                       (call, {"order_by": "rank desc"}), (call, {"show_deleted": True})):  # fmt: skip
        with pytest.raises(Refused, match="PAGE_TOKEN_INVALID"):
            await listed(notes, who, **asked | other, page_token=token)


@pytest.mark.parametrize("text", [
    "title", "-rank", "rank asc desc", "rank; DROP TABLE notes", "tenant_id", "labels", "(SELECT 1)", 'rank"',
    "rank, price, title, creator, updater", "price_currency", "rank nulls first", "1",
])  # fmt: skip
async def test_an_order_is_by_known_fields_or_refused(notes: NoteStore, text: str) -> None:
    call = await shelf(notes, {"title": "a"})
    if text == "title":
        assert await listed(notes, call, order_by=text)
        return
    with pytest.raises(Refused, match="ORDER_INVALID"):
        await listed(notes, call, order_by=text)


async def test_a_filter_says_what_it_says(notes: NoteStore) -> None:
    call = await shelf(
        notes, {"title": "it's 100%", "rank": 1, "labels": ("a'b", "c")},
        {"title": "under_score", "rank": -5, "price": yuan(7)}, {"title": 'say "so" \\', "price": yuan(9)},
    )  # fmt: skip

    async def found(text: str) -> str:
        return ",".join(sorted(one.title[0] for one in (await listed(notes, call, filter=text))[0]))

    for text, expected in {
        "title = \"it's 100%\"": "i", 'title : "%"': "i", 'title : "_"': "u", r'title : "\\"': "s",
        r'title : "\"so\""': "s", "title : ' OR 1=1'": "", 'labels : "a\'b"': "i", "rank = -5": "u",
        "rank < 0": "u", "rank = null": "s", "rank != null": "i,u", "price > 7": "s", "price >= 7": "s,u",
        'price.currency = "CNY"': "s,u", "NOT rank = 1": "u", "-rank = 1": "u",
        "rank = 1 OR price = 9": "i,s",
        "rank = 1 price = 9": "", "(rank = 1 OR rank = -5) AND NOT price = 7": "",
    }.items():  # fmt: skip
        assert await found(text) == expected, text


async def test_nothing_anyone_writes_into_a_filter_is_more_than_a_filter(
    notes: NoteStore, below: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """Random texts of telling pieces: each is a list of the organization's own, or FILTER_INVALID."""
    call = await shelf(notes, {"title": "mine", "rank": 1, "price": yuan(1), "labels": ("x",)})
    await shelf(notes, {"title": "theirs", "rank": 1, "price": yuan(1), "labels": ("x",)})
    pieces = [
        "title", "rank", "price", "price.currency", "labels", "labels.x", "name", "id", "version",
        "tenant_id",
        "create_time", "delete_time", "owner", "=", "!=", "<", ">=", ":", "(", ")", "AND", "OR", "NOT", "-",
        "1", "-1", "9223372036854775807", "9223372036854775808", "99999999999999999999999", "1e400", "nan",
        "inf", "0.00001", "null", "true", "x", "'", '"', "''", '"a"', "';--", "%s", "%(a)s", "%", "$1", "{",
        "\\",
        "'\\'", "2026-01-31", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "华东", "\u202e",
        "\x01",
        "١", "*", ",", "--", "/*", ";", "OR 1=1", ") OR (1=1",
    ]  # fmt: skip
    chance, read = random.Random(7), 0
    for _ in range(700):
        name = chance.choice(pieces[:13])
        shaped = [name, chance.choice(pieces[13:18]), chance.choice(pieces)]
        text = " ".join(shaped + chance.choices(pieces, k=chance.choice([0, 0, 0, 1, 4])))
        try:
            page, _ = await listed(notes, call, filter=text)
        except Refused as refused:
            assert refused.reason == "FILTER_INVALID", text
        else:
            read += 1
            assert {one.title for one in page} <= {"mine"}, text
    assert read > 50
    assert below("SELECT count(*) FROM notes WHERE title IN ('mine', 'theirs')") == [(2,)]
