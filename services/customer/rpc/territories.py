"""How customers come to lie in territories: when they are written, and behind when territories change."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from tradewind.access.v1 import territory_pb2
from tradewind.customer.v1 import customer_pb2, events_pb2

from chassis.store import Ahead, Tx
from services.customer.domain.customer import Customer
from services.customer.domain.territory import Criteria, Market, Territory
from services.customer.rpc.shown import show_customer
from services.customer.store import CustomerStore

LOOKED_AT, MOVED = 4000, 500  # in one turn, at most
FENCE = "SELECT pg_advisory_xact_lock{shared}(hashtextextended(%s, 0))"
_LISTS = ("country_codes", "regions", "industries")


def market(tx: Tx) -> Ahead[Market]:
    """The territories of now, which do not change before this transaction is over."""
    tx.rows(FENCE.format(shared="_shared"), [f"territories of {tx.call.tenant}"])
    asked = tx.rows(
        "SELECT name, parent, criteria FROM territories WHERE tenant_id = %s AND NOT deleted",
        [tx.call.tenant],
    )

    async def receive() -> Market:
        return Market(
            Territory(name=row["name"], parent=row["parent"], criteria=_criteria(row["criteria"]))
            for row in await asked
        )

    return Ahead(receive)


def _criteria(kept: dict[str, Any]) -> Criteria:
    said: dict[str, Any] = {name: tuple(v) if name in _LISTS else v for name, v in kept.items()}
    return Criteria(**said)


async def know(tx: Tx, told: territory_pb2.Territory, *, deleted: bool) -> None:
    """A territory is as it is told, once those who write customers by the old ones are done; all customers
    are looked at anew where that may concern any."""
    await tx.rows(FENCE.format(shared=""), [f"territories of {tx.call.tenant}"])
    said = told.criteria
    criteria = {name: list(getattr(said, name)) for name in _LISTS}
    criteria |= {name: getattr(said, name) for name in ("min_employees", "below_employees")}
    values = {"parent": told.parent, "criteria": criteria, "deleted": deleted}
    before = await tx.rows(
        "SELECT parent, criteria, deleted FROM territories WHERE tenant_id = %s AND name = %s",
        [tx.call.tenant, told.name],
    )
    tx.put(CustomerStore.territories, key={"name": told.name}, values=values)
    if before != [values]:
        await begin(tx)


async def begin(tx: Tx) -> None:
    """Every customer is looked at, from the first."""
    rows = await tx.rows("SELECT count(*) AS n FROM customers WHERE tenant_id = %s", [tx.call.tenant])
    tx.put(
        CustomerStore.settlements, key={"what": "territories"},
        values={"after": "", "total": rows[0]["n"], "settled": 0, "moved": 0,
                "begin_time": tx.call.now, "end_time": None},
    )  # fmt: skip


async def go_on(tx: Tx) -> None:
    """Look at the next customers, if any are left, and move those that belong elsewhere. What a stopped
    process left undone is gone on with where it stood."""
    here = tx.call.tenant
    under_way = "SELECT * FROM settlements WHERE tenant_id = %s AND end_time IS NULL"
    if not await tx.rows(under_way, [here]):
        return
    of_now = await market(tx)  # before the row is held, as who begins anew does
    rows = await tx.rows(f"{under_way} FOR UPDATE", [here])
    if not rows:
        return
    row = rows[0]
    found = await tx.rows(
        "SELECT id, display_name, country_code, region, industry, employees, territory, territory_reason"
        " FROM customers WHERE tenant_id = %s AND id > %s ORDER BY id LIMIT %s",
        [here, row["after"], LOOKED_AT],
    )
    last, ids = len(found), list[str]()
    for at, cells in enumerate(found):
        sketch = Customer(**cells)
        if of_now.settle(sketch) != sketch:
            ids.append(sketch.id)
        if len(ids) == MOVED:
            last = at + 1
            break
    moved = await _move(tx, of_now, ids) if ids else 0
    over = last == len(found) < LOOKED_AT
    tx.put(
        CustomerStore.settlements, key={"what": "territories"},
        values={"after": found[last - 1]["id"] if found else row["after"], "total": row["total"],
                "settled": row["settled"] + last, "moved": row["moved"] + moved,
                "begin_time": row["begin_time"], "end_time": tx.call.now if over else None},
    )  # fmt: skip


async def _move(tx: Tx, of_now: Market, ids: list[str]) -> int:
    moved = 0
    wanted = CustomerStore.customers.table.c.id.in_(ids)
    for customer in await tx.all(Customer, wanted, lock=True, deleted=True, scoped=False):
        placed = of_now.settle(customer)
        if placed != customer:
            placed_event(tx, tx.save(placed), customer.territory)
            moved += 1
    return moved


def placed_event(tx: Tx, customer: Customer, before: str) -> None:
    """Tell that the customer lies elsewhere now."""
    tx.emit(events_pb2.CustomerPlaced(customer=show_customer(customer), previous_territory=before))


async def progress(tx: Tx) -> customer_pb2.TerritorySettlement:
    """How far it is."""
    rows = await tx.rows("SELECT * FROM settlements WHERE tenant_id = %s", [tx.call.tenant])
    shown = customer_pb2.TerritorySettlement(state=customer_pb2.TerritorySettlement.DONE)
    for row in rows:
        shown.total, shown.settled, shown.moved = row["total"], row["settled"], row["moved"]
        shown.begin_time.FromDatetime(row["begin_time"].astimezone(UTC))
        if row["end_time"]:
            shown.end_time.FromDatetime(row["end_time"].astimezone(UTC))
        else:
            shown.state = customer_pb2.TerritorySettlement.RUNNING
    return shown
