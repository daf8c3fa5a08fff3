"""Every method, asked by every role, about everybody's records: judged by the tables of the folder beside."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from unittest import mock

import psycopg
import pytest
from google.protobuf.message import Message
from google.type.money_pb2 import Money

from chassis import scope, standard
from chassis.call import Call
from gateway.contract import Contract, Method
from gateway.domain.built_in import BUILT_IN
from tests.access.matrix import asked
from tests.access.matrix.cells import Answer, Asking, Cell, answer_of, cells, long, short, table
from tests.access.matrix.company import NONE, Fellows
from tests.access.matrix.table import CALLERS, REACH, Row
from tests.world import SERVICES

METHODS = Contract.load().methods
LISTS = [m for m in METHODS if m.name.startswith("List") and not asked.about(m)[1]]
WEIGHT = {"me": 1, "low": 2, "far": 4, "chief": 8, "shop": 16, "gone": 32, "shown": 64, "lent": 128}
# Whose deals and orders a caller of each letter has counted, those shared with them too; that some are
# gone, no figure has heard.
COUNTED = {"o": ("me", "chief", "gone", "shown", "lent")}
COUNTED["s"] = (*COUNTED["o"], "shop", "low")
COUNTED["a"] = (*COUNTED["s"], "far")


def test_the_table_judges_every_method_and_every_built_in_role() -> None:
    assert set(table()) == {method.full_name for method in METHODS}
    collections = {asked.about(method)[1] for method in METHODS} - {""}
    assert set(NONE) < collections, "a collection without records is named where there is none any more"
    assert {role for role in CALLERS.values() if role} == {*BUILT_IN, "key"}


@pytest.mark.req("SEC-01", "SEC-03", "X-25")
@pytest.mark.parametrize("home", SERVICES)
async def test_every_call_comes_to_the_door_that_the_table_says(fellows: Fellows, home: str) -> None:
    before = records(fellows, home)
    answered = await Asking(fellows).all(questions(fellows, (m for m in METHODS if m.home == home)))
    assert not wrong(answered), "\n".join(wrong(answered)[:100])
    assert not told_apart(answered)
    assert records(fellows, home) == before, "a dry call has changed something"


@pytest.mark.req("SEC-02")
@pytest.mark.parametrize("method", LISTS, ids=short)
async def test_a_list_holds_what_its_reader_may_see_and_nothing_else(
    fellows: Fellows, method: Method
) -> None:
    collection = method.routes[0].template.removeprefix("/v1/")
    asking = Asking(fellows)
    for column, letter in table()[method.full_name].letters.items():
        if letter == "-":
            continue  # the cells above have asked
        standing = fellows.callers[column]
        call = fellows.services[method.home].method(method.name, asking.token(column))
        seen = names_in(await call(page_size=200))
        there = {hands for hands, names in standing.sets.items() if names.get(collection) in seen}
        has = {hands for hands, names in standing.sets.items() if collection in names}
        shared = {"shown", "lent"} & has if letter in "os" and not collection.startswith("shares") else set()
        assert there == (REACH[letter] & has) | shared, f"{column} lists what is in the hands of {there}"


FIGURES: dict[str, Callable[[Any], int]] = {
    "QueryDeals": lambda said: money(row.amount for row in said.rows) // 100,
    "GetPipelineValue": lambda said: money(total.raw for total in said.totals) // 100,
    "GetFunnel": lambda said: money(stage.value for stage in said.stages) // 100,
    "GetLadderForecast": lambda said: money(step.value for step in said.steps) // 100,
    "GetDashboard": lambda said: money([said.open_pipeline]) // 100,
    "QueryRevenue": lambda said: money(row.net for row in said.rows) // 10,
    "GetOrderFigures": lambda said: money(year.net for year in said.years) // 10,
}


@pytest.mark.req("SEC-02")
@pytest.mark.parametrize("name", FIGURES)
async def test_figures_count_what_their_reader_may_see_and_nothing_else(fellows: Fellows, name: str) -> None:
    """Every deal is worth another power of two: a sum says whose are in it."""
    method = next(method for method in METHODS if method.name == name)
    asking = Asking(fellows)
    for column, letter in table()[method.full_name].letters.items():
        if letter in COUNTED:
            request, _ = asking.request(Cell(method, column, "", letter))
            said = await fellows.services["analytics"].method(name, asking.token(column))(request)
            assert FIGURES[name](said) == sum(WEIGHT[word] for word in COUNTED[letter]), (column, said)


@pytest.mark.req("X-25")
async def test_what_a_request_names_of_another_organization_is_not_there(fellows: Fellows) -> None:
    """Not only the record that a method is about: everything that a request may refer to."""
    boss = Asking(fellows)
    told = []
    for method in METHODS:
        for path, collection in references(method):
            answers = []
            for hands in ("foreign", "absent"):
                name = fellows.sets[hands][collection]
                request, own = boss.request(Cell(method, "adm", "own" if asked.about(method)[1] else "", "a"))
                asked.put(request, path, name)
                call = fellows.services[method.home].method(method.name, boss.token("adm"))(request)
                answers.append(await answer_of(call, name, own))
            if answers[0] != answers[1]:
                told.append(f"{long(method)} {path}: {answers}")
    assert not told, "\n".join(told)


async def test_a_scope_that_one_verb_forgets_is_found(fellows: Fellows) -> None:
    """Planted: the matrix must be able to fail."""
    close = [m for m in METHODS if short(m) in ("OpportunityService.WinOpportunity", "QuoteService.GetQuote")]
    whole = scope.condition

    def forgetful(call: Call, *more: Any, **said: Any) -> Any:
        return ("", []) if call.method.endswith("/WinOpportunity") else whole(call, *more, **said)

    with mock.patch.object(scope, "condition", forgetful):
        found = wrong(await Asking(fellows).all(questions(fellows, close)))
    assert {line.split()[0] for line in found} == {"opportunity.OpportunityService.WinOpportunity"}
    assert {tuple(line.partition(":")[0].split()[1:]) for line in found} == {
        ("mgr", "other"), ("mgr", "shown"), ("rep", "other"), ("rep", "team"), ("rep", "subtree"),
        ("rep", "shown")}  # fmt: skip


async def test_hands_that_a_create_does_not_look_at_are_found(fellows: Fellows) -> None:
    """Planted: whoever says that they help with it makes it in anybody's name."""
    create = [m for m in METHODS if short(m) == "OrderService.CreateOrder"]
    with mock.patch.object(standard.scope, "check_hands", lambda record, *_: record):
        found = wrong(await Asking(fellows).all(questions(fellows, create)))
    assert {line.split()[1] for line in found} == {"mgr", "rep", "key"}


async def test_a_letter_too_wide_or_too_narrow_is_found(fellows: Fellows) -> None:
    """Planted: a table that says something else than the platform does."""
    method = next(m for m in METHODS if short(m) == "LeadService.QualifyLead")
    for column, letter in (("sup", "s"), ("mgr", "o"), ("aud", "o"), ("adm", "-")):
        row = Row("", dict(table()[method.full_name].letters) | {column: letter})
        answered = await Asking(fellows).all(cells(method, row, fellows))
        assert {line.split()[1] for line in wrong(answered)} == {column}


def questions(fellows: Fellows, methods: Iterable[Method]) -> list[Cell]:
    """The cells of these methods."""
    return [cell for method in methods for cell in cells(method, table()[method.full_name], fellows)]


def wrong(answered: list[tuple[Cell, Answer]]) -> list[str]:
    """The cells that came to another door than the table says."""
    return sorted(
        f"{cell}: {answer.door} instead of {'/'.join(sorted(cell.expected))} ({answer.status.message})"
        for cell, answer in answered if answer.door not in cell.expected
    )  # fmt: skip


def told_apart(answered: list[tuple[Cell, Answer]]) -> list[str]:
    """Where a refusal lets a caller tell another organization's record from none at all."""
    said: dict[tuple[str, str], dict[str, Any]] = {}
    for cell, answer in answered:
        if cell.hands in ("foreign", "absent"):
            said.setdefault((long(cell.method), cell.column), {})[cell.hands] = answer
    return [
        f"{key}: {both}"
        for key, both in said.items()
        if both.get("foreign", both["absent"]) != both["absent"]
    ]


def records(fellows: Fellows, home: str) -> dict[str, Any]:
    """table → its records of the organization with their versions."""
    one = fellows.services[home]
    with psycopg.connect(one.owner_url) as db:
        db.execute("SELECT set_config('app.tenant_id', %s, false)", (fellows.tenant,))
        return {
            each.name: db.execute(f'SELECT id, version FROM "{each.name}" ORDER BY id').fetchall()
            for each in one.store.collections.values()
        }


def names_in(page: Message) -> set[str]:
    """The names of the records that a page holds."""
    return {
        record.name for field, value in page.ListFields() if field.message_type and field.is_repeated
        for record in value
    }  # fmt: skip


def money(amounts: Iterable[Money]) -> int:
    """Their sum in whole units."""
    return sum(amount.units for amount in amounts)


def references(method: Method) -> list[tuple[str, str]]:
    """(path, collection) of the fields of a request, and of the record in it, that name a record."""
    about, _ = asked.about(method)
    found, inside = [], asked.resource(method)
    for prefix, message in (("", method.input), (f"{inside}.", method.output if inside else None)):
        for field in message.fields if message else ():
            path, collection = f"{prefix}{field.name}", asked.COLLECTIONS.get(field.name)
            text = field.type == field.TYPE_STRING and not field.is_repeated
            if collection and text and path != about:
                found.append((path, collection))
    return found
