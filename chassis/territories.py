"""Which territory each customer lies in, as the services know it whose records name customers."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from chassis.store import Tx
from chassis.tables import Rows


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
