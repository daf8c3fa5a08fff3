"""Movements: written once, from somewhere to somewhere, and never changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import psycopg
import pytest

from chassis.kernel.refusals import Refused
from services.inventory.domain.movement import SUPPLIER, Movement
from tests.inventory.conftest import Shop, quantity
from tests.messages import decimal
from tests.platform import Running

MOVE = Movement(id="1", product="products/p", sku="TW-1", source=SUPPLIER, destination="warehouses/w",
                quantity=quantity(1), effective_date=date(2026, 5, 4))  # fmt: skip


@pytest.mark.parametrize(
    ("change", "field"), [({"quantity": quantity(0)}, "quantity"), ({"destination": SUPPLIER}, "destination")]
)
def test_something_moves_and_it_moves_somewhere(change: dict, field: str) -> None:
    MOVE.check()
    with pytest.raises(Refused) as no:
        replace(MOVE, **change).check()
    assert no.value.facts["field"] == field


async def test_every_change_of_stock_is_in_the_ledger(shop: Shop) -> None:
    pump = await shop.product(stock=5)
    await shop.AdjustStock(product=pump.name, difference=decimal(-2), reason="broken")
    found = (await shop.ListMovements(filter=f'product = "{pump.name}"', order_by="create_time")).movements
    warehouse = (await shop.ListWarehouses()).warehouses[0].name
    assert [(m.source, m.destination, m.quantity.value, m.reason) for m in found] == [
        ("SUPPLIER", warehouse, "5", "opening stock"),
        (warehouse, "ADJUSTMENT", "2", "broken"),
    ]
    assert await shop.GetMovement(name=found[0].name) == found[0]


@pytest.mark.parametrize("attack", ["UPDATE movements SET quantity = 1", "DELETE FROM movements"])
async def test_the_service_itself_cannot_rewrite_the_ledger(
    shop: Shop, inventory: Running, attack: str
) -> None:
    await shop.product(stock=5)
    async with inventory.store.database.connection() as connection:
        await connection.execute("SELECT set_config('app.tenant_id', %s, false)", (shop.caller.tenant,))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(attack)
