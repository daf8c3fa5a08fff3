"""Which territory each customer lies in, as the services know it whose records name customers."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from chassis.resync import Loss
from chassis.store import Tx
from chassis.tables import Rows

AT_ONCE = 40  # customers asked for by name


def customer_territories() -> Rows:
    """The table: the database hands its territories down to the records that are `placed`."""
    return Rows(
        "customer_territories",
        sa.Column("customer", sa.Text()),
        sa.Column("territory", sa.Text(), nullable=False),
        key=("customer",),
    )


def know_territory(tx: Tx, table: Rows, customer: Any) -> None:
    """A customer was told of, as the message says it; those in no territory too: their row is what holds
    them while they move."""
    tx.put(table, key={"customer": customer.name}, values={"territory": customer.territory})


async def follow_restored(loss: Loss, table: Rows, request: type[Any]) -> None:
    """Customers lie where the restored customer service says they do, and who is gone lies nowhere; *request*
    is a message of ListCustomers."""
    known = await _known(loss, table, "")
    while known:
        asked = request(
            filter=" OR ".join(f'name = "{name}"' for name in known), page_size=AT_ONCE, show_deleted=True
        )
        asked.read_mask.paths.extend(["name", "territory"])
        page = await loss.ask("CustomerService.ListCustomers", asked)
        said = {customer.name: customer.territory for customer in page.customers}
        async with loss.begin() as tx:
            for name, territory in known.items():
                if said.get(name, "") != territory:  # nor has anybody heard of another place meanwhile
                    await tx.run(
                        f"UPDATE {table.name} SET territory = %s"
                        " WHERE tenant_id = %s AND customer = %s AND territory = %s",
                        [said.get(name, ""), loss.call.tenant, name, territory],
                    )
        known = await _known(loss, table, list(known)[-1])


async def _known(loss: Loss, table: Rows, after: str) -> dict[str, str]:
    """The next customers, in the order of their names, and where they lie here."""
    async with loss.begin() as tx:
        rows = await tx.rows(
            f"SELECT customer, territory FROM {table.name}"
            " WHERE tenant_id = %s AND customer > %s ORDER BY customer LIMIT %s",
            [loss.call.tenant, after, AT_ONCE],
        )
    return {row["customer"]: row["territory"] for row in rows}
