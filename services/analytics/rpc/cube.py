"""A question about facts as one SQL statement, asked of the smallest table that can answer it.

Dimensions and measures are named in fixed tables below; what a caller sends only chooses among them and
travels as parameters. The caller's data scope is part of every statement: cells that say who shares them
answer everybody, together with the facts that are only shared with who asks; other cells answer whoever
sees everything; for the rest there are the facts of one's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from chassis import scope
from chassis.call import Call
from chassis.store import Tx
from services.analytics.domain.calendar import whole_months
from services.analytics.store import MODELS

# Where the tables of facts say whose they are, and what is shared; cells cannot say of which orders they are.
CELLS = scope.Place("f.owner", "f.team", "f.collaborators")
DEALS, ORDERS, INVOICES = (
    replace(CELLS, named="f.name", shares=f"{noun}_shares", territory="f.territory")
    for noun in ("deal", "order", "invoice")
)
# Manager and region of a team are its own or those of the nearest team above that has one.
TEAM_LINES = """up AS (
  SELECT tenant_id, name, parent, manager, region, 1 AS level FROM teams WHERE tenant_id = %s
  UNION ALL
  SELECT up.tenant_id, up.name, above.parent, COALESCE(NULLIF(up.manager, ''), above.manager),
         COALESCE(NULLIF(up.region, ''), above.region), up.level + 1
  FROM up JOIN teams AS above ON above.tenant_id = up.tenant_id AND above.name = up.parent WHERE up.level < 32
), lines AS (SELECT DISTINCT ON (name) name, manager, region FROM up ORDER BY name, level DESC)"""

# A deal or order that names no team counts for its owner's.
_TEAM = "COALESCE(NULLIF(f.team, ''), owners.team, '')"
# In the order in which they build on each other.
JOINS = {
    "owners": "LEFT JOIN people AS owners ON owners.tenant_id = f.tenant_id AND owners.name = f.owner",
    "lines": f"LEFT JOIN lines ON lines.name = {_TEAM}",
    "managers": "LEFT JOIN people AS managers"
    " ON managers.tenant_id = f.tenant_id AND managers.name = lines.manager",
    "teams": f"LEFT JOIN teams ON teams.tenant_id = f.tenant_id AND teams.name = {_TEAM}",
    "customers": "LEFT JOIN customers ON customers.tenant_id = f.tenant_id AND customers.name = f.customer",
    "pipelines": "LEFT JOIN pipelines ON pipelines.tenant_id = f.tenant_id AND pipelines.name = f.pipeline",
    "products": "LEFT JOIN products ON products.tenant_id = f.tenant_id AND products.name = {product}",
}
_MONTH = "CASE WHEN {month} = '0001-01-01' THEN '' ELSE COALESCE(to_char({month}, '%s'), '') END"


@dataclass(frozen=True)
class Dimension:
    """What rows are grouped or filtered by: a key, how people call it, and what must be joined for it."""

    key: str
    title: str = ""
    joins: tuple[str, ...] = ()
    needs: str = ""  # a column that not every source has


DIMENSIONS = {
    "STATE": Dimension("f.state", needs="state"),
    "PIPELINE": Dimension("f.pipeline", "pipelines.title", ("pipelines",), needs="state"),
    "STAGE": Dimension("f.stage", needs="state"),
    "PRODUCT": Dimension("{product}", "products.title", ("products",), needs="product"),
    "PRODUCT_CATEGORY": Dimension("COALESCE(products.category, '')", "", ("products",), needs="product"),
    "OWNER": Dimension("f.owner", "owners.title", ("owners",)),
    "TEAM": Dimension(_TEAM, "teams.title", ("owners", "teams")),
    "MANAGER": Dimension("COALESCE(lines.manager, '')", "managers.title", ("owners", "lines", "managers")),
    "REGION": Dimension("COALESCE(lines.region, '')", "", ("owners", "lines")),
    "CUSTOMER": Dimension("f.customer", "customers.title", ("customers",), needs="customer"),
    "CUSTOMER_REGION": Dimension("COALESCE(customers.region, '')", "", ("customers",), needs="customer"),
    "INDUSTRY": Dimension("COALESCE(customers.industry, '')", "", ("customers",), needs="customer"),
    "CURRENCY": Dimension("{currency}"),
    "DAY": Dimension("COALESCE({day}::text, '')", needs="day"),
    "MONTH": Dimension(_MONTH % "YYYY-MM"),
    "QUARTER": Dimension(_MONTH % 'YYYY-"Q"Q'),
    "YEAR": Dimension(_MONTH % "YYYY"),
}


def currency_of(column: str) -> str:
    """What has no currency of its own counts in the organization's."""
    return (
        f"COALESCE(NULLIF({column}, ''), (SELECT currency FROM companies WHERE tenant_id = f.tenant_id), '')"
    )


@dataclass(frozen=True)
class Source:
    """A table that can answer: which columns it has, and its values by name."""

    table: str
    columns: frozenset[str]
    values: Mapping[str, str]
    places: Mapping[str, str]  # what {product}, {currency}, {day} and {month} stand for
    cells: tuple[
        str, ...
    ] = ()  # its sums, where rows are cells; those without collaborators are for who sees everything
    where: str = "true"
    place: scope.Place = CELLS
    beside: str = ""  # SELECT … FROM facts: what of them would stand in cells like these
    fact: str = ""  # where rows are parts of facts: the fact's name, so that it counts once in each group
    whole: frozenset[str] = frozenset()  # values that belong to whole facts, not to their parts


@dataclass
class Question:
    """Which rows, grouped how, summed how."""

    measures: Mapping[str, str]  # name → SQL over the source's values
    values: Sequence[str]  # the values that those measures are made of
    group_by: Sequence[str] = ()
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)  # dimension → values
    start: date | None = None
    end: date | None = None  # the first day that no longer counts
    opened: tuple[date | None, date | None] = (None, None)
    by_currency: bool = True
    order_by: str = ""
    limit: int = 200

    @property
    def dimensions(self) -> list[str]:
        """All that the statement has to know about a row."""
        return [*self.group_by, *(name for name, values in self.where.items() if values)]

    @property
    def needs(self) -> set[str]:
        """Columns that not every source has."""
        return {DIMENSIONS[name].needs for name in self.dimensions} - {""}


def choose(question: Question, sources: Sequence[Source], call: Call) -> Source:
    """The first source that can answer; the last one can answer everything."""
    return next((s for s in sources[:-1] if _answers(s, question, call)), sources[-1])


def _answers(source: Source, question: Question, call: Call) -> bool:
    if question.needs - source.columns or set(question.values) - source.values.keys():
        return False
    if "product" in source.columns:
        if "product" not in question.needs:
            return False  # its rows are parts of facts: whole ones are counted elsewhere
        one = "PRODUCT" in question.group_by or len(question.where.get("PRODUCT", ())) == 1
        if not one and source.whole & set(question.values):
            return False
    if not source.cells:
        return True
    months = whole_months(question.start, question.end) and question.opened == (None, None)
    return months and ("collaborators" in source.columns or not scope.condition(call)[0])


def statement(question: Question, source: Source, call: Call) -> tuple[str, list[Any]]:
    """The SQL and its parameters; it answers k0…, t0… for the keys and titles, currency, and the measures."""
    keys = [f"k{at}" for at in range(len(question.group_by))]
    titles = [f"t{at}" for at in range(len(question.group_by))]
    shared = ["currency"] * question.by_currency
    rows, params = _rows(question, source, call)
    if source.fact:
        rows = _whole(rows, [*keys, *titles, *shared], source)
    shown = [*keys, *(f"max({title}) AS {title}" for title in titles), *shared]
    shown += [f"{expression} AS {name}" for name, expression in question.measures.items()]
    order = [f"{question.order_by} DESC NULLS LAST"] * bool(question.order_by) + keys + shared
    text = f"WITH RECURSIVE {TEAM_LINES}, rows AS ({rows}) SELECT {', '.join(shown)} FROM rows"
    if keys or shared:
        text += f" GROUP BY {', '.join([*keys, *shared])}"
    if order:
        text += f" ORDER BY {', '.join(order)}"
    return f"{text} LIMIT {question.limit + 1}", [call.tenant, *params]


def _rows(question: Question, source: Source, call: Call) -> tuple[str, list[Any]]:
    """What is summed: keys, titles and values of every row that counts."""

    def fill(text: str) -> str:
        for name, place in source.places.items():
            text = text.replace("{" + name + "}", place)
        return text

    asked = list(enumerate(question.group_by))
    columns = [f"{fill(DIMENSIONS[name].key)} AS k{at}" for at, name in asked]
    columns += [f"{fill(DIMENSIONS[name].title) or chr(39) * 2} AS t{at}" for at, name in asked]
    columns += [f"{fill('{currency}')} AS currency"] * question.by_currency
    columns += [f"{expression} AS {name}" for name, expression in source.values.items()]
    columns += [f"{source.fact} AS fact"] * bool(source.fact)
    wanted = {join for name in question.dimensions for join in DIMENSIONS[name].joins}
    joins = " ".join(fill(text) for name, text in JOINS.items() if name in wanted)
    chosen = [(fill(DIMENSIONS[name].key), list(values)) for name, values in question.where.items() if values]
    filters = "".join(f" AND {key} = ANY(%s)" for key, _ in chosen)
    bounds, params = _bounds(question, source, call, fill("{day}"))
    params += [values for _, values in chosen]
    shown = ", ".join(columns)
    limits, mine = scope.condition(call, source.place)
    if not source.cells:
        text = f"SELECT {shown} FROM {source.table} {joins} WHERE {bounds}{filters}{limits}"
        return text, params + mine
    table = source.table
    if limits and source.beside:
        table, before = _with_shared(source, call)
        params, limits, mine = before + params, "", []
    used = sorted(set(re.findall(r"\bf\.(\w+)", " ".join([shown, joins, filters]))) - set(source.cells))
    if {"customer", "product"} <= set(used):  # hardly two cells alike: nothing to gain by summing them first
        return f"SELECT {shown} FROM {table} {joins} WHERE {bounds}{filters}{limits}", params + mine
    # Cells are summed by the columns in use before anything is joined or put into words.
    sums = [f"sum(f.{name})::bigint AS {name}" for name in source.cells]
    kept = ", ".join(f"f.{name}" for name in used)
    kept = f"{kept}, " * bool(used)
    inner = f"SELECT {kept}{', '.join(sums)} FROM {table} WHERE {bounds}{limits}"
    inner += f" GROUP BY {kept.removesuffix(', ')}" * bool(used)
    # The bounds come first in the text, then what limits the caller, then what was chosen.
    at_choice = len(params) - len(chosen)
    params[at_choice:at_choice] = mine
    return f"SELECT {shown} FROM ({inner}) AS f {joins} WHERE true{filters}", params


def _with_shared(source: Source, call: Call) -> tuple[str, list[Any]]:
    """The cells within the caller's scope, and the facts beyond it that are shared with them, as cells."""
    name = source.table.partition(" ")[0]
    limits, mine = scope.condition(call, source.place)
    shared, theirs = scope.beyond(call, ORDERS)
    columns = ", ".join(column.name for column in MODELS[name].table.columns)
    text = f"SELECT {columns} FROM {source.table} WHERE f.tenant_id = %s{limits}"
    beside = f"{source.beside} WHERE f.tenant_id = %s AND f.counted{shared}"
    return f"({text} UNION ALL {beside}) AS f", [call.tenant, *mine, call.tenant, *theirs]


def _bounds(question: Question, source: Source, call: Call, day: str) -> tuple[str, list[Any]]:
    """Whose rows, and of which days."""
    parts: list[str] = ["f.tenant_id = %s", source.where]
    params: list[Any] = [call.tenant]
    for column, (start, end) in ((day, (question.start, question.end)), ("f.open_date", question.opened)):
        for sign, bound in ((">=", start), ("<", end)):
            if bound is not None:
                parts.append(f"{column} {sign} %s")
                params.append(bound)
    return " AND ".join(parts), params


def _whole(rows: str, keys: Sequence[str], source: Source) -> str:
    """Parts of one fact in one group make one row: it is one deal, whatever it holds."""
    values = [f"{'max' if name in source.whole else 'sum'}({name}) AS {name}" for name in source.values]
    by = ", ".join([*keys, "fact"])
    return f"SELECT {', '.join([*keys, *values])} FROM ({rows}) AS parts GROUP BY {by}"


async def ask(tx: Tx, question: Question, sources: Sequence[Source]) -> tuple[list[dict[str, Any]], bool]:
    """The rows of the answer, and whether there were more than the limit."""
    text, params = statement(question, choose(question, sources, tx.call), tx.call)
    rows = await tx.rows(text, params)
    return rows[: question.limit], len(rows) > question.limit
