"""Whom a retention rule is about, found in the order of their ids, a handful at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from chassis.store import Tx
from services.customer.domain.contact import Contact
from services.customer.domain.customer import Customer
from services.customer.domain.lead import Lead
from services.customer.domain.retention import Case, Hold, RetentionRule, Subject
from services.customer.rpc.holds import Held

MOST_COUNTED = 100_000
Person = Contact | Lead | Customer


@dataclass(frozen=True)
class About:
    """Which rows a subject means, and when something last happened with each."""

    kind: type[Person]
    table: str
    which: str
    last: str
    customer: str = "''"  # whose deals, orders and invoices hold them
    follow_up: str = "NULL::date"


@dataclass(frozen=True)
class Candidate:
    """Somebody with whom nothing has happened for long enough."""

    name: str
    last_time: datetime
    warn_time: datetime | None
    customer: str
    follows_up: bool

    @property
    def id(self) -> str:
        """Without the collection before it."""
        return self.name.rpartition("/")[2]


_LEAD = "(p.person <> '' OR p.email <> '' OR p.phone <> '')"


def _leads(states: str) -> About:
    return About(
        Lead, "leads p", f"{_LEAD} AND p.state IN ({states})", "p.update_time",
        follow_up="p.next_follow_up_date",
    )  # fmt: skip


ABOUT = {
    Subject.DISQUALIFIED_LEADS: _leads("'DISQUALIFIED'"),
    Subject.UNTOUCHED_LEADS: _leads("'NEW', 'WORKING', 'QUALIFIED'"),
    Subject.CONVERTED_LEADS: _leads("'CONVERTED'"),
    Subject.INACTIVE_CONTACTS: About(
        Contact,
        "contacts p JOIN customers c ON c.tenant_id = p.tenant_id AND c.id = substr(p.customer, 11)",
        "true", "greatest(p.update_time, c.update_time, c.last_order_date)", "p.customer",
    ),
    Subject.INACTIVE_PRIVATE_CUSTOMERS: About(
        Customer, "customers p", "p.kind = 'PERSON'", "greatest(p.update_time, p.last_order_date)",
        "'customers/' || p.id",
    ),
}  # fmt: skip


def _old(tx: Tx, subject: Subject, horizon: datetime) -> tuple[str, list[object]]:
    """FROM … WHERE of everybody with whom nothing has happened since the horizon."""
    about = ABOUT[subject]
    text = f"FROM {about.table} WHERE p.tenant_id = %s AND p.erase_time IS NULL AND {about.which}"
    return f"{text} AND {about.last} < %s", [tx.call.tenant, horizon]


async def candidates(
    tx: Tx, rule: str, subject: Subject, horizon: datetime, *, after: str = "", limit: int, only: str = ""
) -> list[Candidate]:
    """The next of them after an id, or the one of the id *only*; those put away are people as well."""
    about = ABOUT[subject]
    old, params = _old(tx, subject, horizon)
    where, value = ("p.id = %s", only) if only else ("p.id > %s", after)
    prefix = tx.store.collections[about.kind].prefix
    rows = await tx.rows(
        f"SELECT '{prefix}' || p.id AS name, {about.last} AS last_time, {about.customer} AS customer,"
        f" coalesce({about.follow_up} >= %s, false) AS follows_up,"
        " (SELECT w.warn_time FROM retention_warnings w WHERE w.tenant_id = p.tenant_id AND w.rule = %s"
        f"   AND w.person = '{prefix}' || p.id) AS warn_time"
        f" {old} AND {where} ORDER BY p.id LIMIT {int(limit)}",
        [tx.call.now.date(), rule, *params, value],
    )
    return [Candidate(**row) for row in rows]


async def count(tx: Tx, subject: Subject, horizon: datetime) -> int:
    """How many they are, up to MOST_COUNTED."""
    old, params = _old(tx, subject, horizon)
    rows = await tx.rows(f"SELECT count(*) AS n FROM (SELECT 1 {old} LIMIT {MOST_COUNTED}) t", params)
    return int(rows[0]["n"])


def case_of(rule: RetentionRule, one: Candidate, held: Held, now: datetime) -> Case | None:
    """What becomes of somebody, and what holds them."""
    hold, record = held.get(one.customer, (None, ""))
    if hold is None and one.follows_up:
        hold = Hold.FOLLOW_UP
    outcome = rule.outcome(
        last_time=one.last_time, warn_time=one.warn_time, held=hold is not None, now=now
    )  # fmt: skip
    if outcome is None:
        return None
    return Case(person=one.name, outcome=outcome, hold=hold, record=record, last_time=one.last_time)
