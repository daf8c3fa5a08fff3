"""Who calls the opportunity service in these tests, and the deals they begin with."""

from __future__ import annotations

from typing import Any

from google.type import date_pb2, decimal_pb2, money_pb2
from tradewind.opportunity.v1 import events_pb2, opportunity_pb2

from chassis.call import new_id
from tests.platform import Caller, Running

REP = ("opportunities.read", "opportunities.write", "opportunities.close", "pipelines.read")
MANAGER = (*REP, "opportunities.assign", "opportunities.split", "opportunities.archive")
BOSS = (*MANAGER, "opportunities.purge", "pipelines.write", "pipelines.delete", "records.backdate")


def boss(service: Running, tenant: str = "") -> Caller:
    """Somebody who may do everything with every deal of an organization, by default of a new one."""
    return service.as_(permissions=dict.fromkeys(BOSS, "all"), tenant=tenant, team="teams/sales")


def manager(service: Running, tenant: str, team: str = "teams/sales") -> Caller:
    """Somebody who leads a team."""
    return service.as_(permissions=dict.fromkeys(MANAGER, "subtree"), tenant=tenant, team=team)


def rep(service: Running, tenant: str, team: str = "teams/sales") -> Caller:
    """Somebody who works deals of their own."""
    return service.as_(
        permissions=dict.fromkeys(REP, "own") | {"pipelines.read": "all"}, tenant=tenant, team=team
    )


def cny(units: int, nanos: int = 0) -> money_pb2.Money:
    """An amount in yuan."""
    return money_pb2.Money(currency_code="CNY", units=units, nanos=nanos)


def percent(text: str) -> decimal_pb2.Decimal:
    """A percentage."""
    return decimal_pb2.Decimal(value=text)


def day(year: int, month: int, day: int) -> date_pb2.Date:
    """A calendar day."""
    return date_pb2.Date(year=year, month=month, day=day)


def deal(**fields: Any) -> opportunity_pb2.Opportunity:
    """A deal as somebody types it in."""
    typed = {
        "title": "Compressors for the new plant",
        "customer": f"customers/{new_id()}",
        "amount": cny(128_000),
    }
    return opportunity_pb2.Opportunity(**(typed | fields))


async def facts(caller: Caller) -> list[Any]:
    """What the caller's organization has published so far, oldest first, as (event name, message)."""
    store, found = caller.service.store, []
    async with store.database.connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute("SELECT set_config('app.tenant_id', %s, true)", (caller.tenant,))
        cursor = await connection.execute("SELECT type, payload FROM outbox ORDER BY id")
        rows = await cursor.fetchall()
        await connection.execute("COMMIT")
    for kind, payload in rows:
        name = kind.rpartition(".")[2]
        found.append((name, getattr(events_pb2, name).FromString(bytes(payload))))
    return found
