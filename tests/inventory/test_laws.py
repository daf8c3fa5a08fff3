"""Every law of the service notices what it forbids: damage is done under its eyes, and undone."""

from __future__ import annotations

import psycopg
import pytest

from services.inventory.laws import LAWS
from tests.inventory.conftest import Shop
from tests.platform import Running

# law → what breaks it, done by the owner of the database, whom no policy holds back
DAMAGE = {
    "stock ledger": "UPDATE movements SET quantity = quantity * 2",
    "reservations": "UPDATE reservations SET quantity = quantity * 2",
    "balances": "UPDATE stock SET reserved = on_hand + 1",
    "order totals": "UPDATE orders SET totals = jsonb_set(totals, '{net,0}', '1')",
    "order lines": "UPDATE orders SET lines = jsonb_set(lines, '{0,reserved}', '1')",
    "shipments": "UPDATE orders SET lines = jsonb_set(lines, '{0,shipped}', '1')",
}


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
async def test_a_law_names_what_breaks_it(law, shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=10)
    shipment = await shop.shipment(await shop.confirmed((pump, 8)), (1, 3))
    await shop.DispatchShipment(name=shipment.name)
    tenant = shop.caller.tenant
    broken = law.broken.replace("%(tenant)s", f"'{tenant}'").replace("%%", "%")
    async with await psycopg.AsyncConnection.connect(inventory.owner_url) as connection:
        # The table's own rule would not let the balance be damaged at all.
        await connection.execute("ALTER TABLE stock DROP CONSTRAINT stock_guarded")
        assert not await (await connection.execute(broken)).fetchall()
        await connection.execute(f"{DAMAGE[law.name]} WHERE tenant_id = '{tenant}'")
        assert await (await connection.execute(broken)).fetchall()
        await connection.rollback()
