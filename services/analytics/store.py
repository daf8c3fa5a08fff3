"""What analytics keeps: facts as they stand, names to call them by, and the sums reports are made of.

Every table is folded from events alone, so that the same events leave the same rows, whenever and however
often they were delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from chassis.columns import field_of, hints_of
from chassis.store import ReadModel, Rows, Store, Tx
from chassis.tables import placed_column
from chassis.territories import customer_territories
from services.analytics.domain.cells import Cell, changes
from services.analytics.domain.deal import Deal
from services.analytics.domain.dimension import (
    Balance,
    Customer,
    Organization,
    Person,
    Pipeline,
    Product,
    Team,
)
from services.analytics.domain.invoice import Invoice
from services.analytics.domain.order import Order
from services.analytics.domain.sharing import Sharing

F = TypeVar("F", bound=Hashable)
_KEPT: WeakKeyDictionary[Tx, dict[tuple[str, str, str], Any]] = WeakKeyDictionary()  # facts by transaction


class Facts(Rows, Generic[F]):
    """Records of other services as they last stood: one row each, by name, at the version it was told at."""

    def __init__(
        self, name: str, fact: type[F], *, index: Sequence[Sequence[str]] = (), placed: bool = False
    ) -> None:
        self.fact = fact
        self.fields = [field_of(field, hint) for field, hint in hints_of(fact).items()]
        columns = [column for field in self.fields for column in field.columns]
        kept = [placed_column()] if placed else []  # by the database
        index = [*index, ("territory",)] if placed else index
        super().__init__(name, *columns, *kept, key=("name",), index=index)
        self.names = [column.name for column in columns]
        self.some = f"SELECT * FROM {name} WHERE tenant_id = %s AND name = ANY(%s)"

    def row(self, fact: F) -> dict[str, Any]:
        """The fact's cells by column."""
        cells: list[Any] = []
        for field in self.fields:
            cells += field.to_row(getattr(fact, field.name))
        return dict(zip(self.names, cells, strict=True))

    def load(self, row: Mapping[str, Any]) -> F:
        """A fact from its cells."""
        return self.fact(
            **{
                field.name: field.from_row(tuple(row[column.name] for column in field.columns))
                for field in self.fields
            }
        )

    async def last(self, tx: Tx, name: str) -> F | None:
        """The fact of that name, when there is one.

        What this transaction has kept itself is remembered, and the facts of a batch of events are read at
        once: they are told one by one, but cost one read and one write.
        """
        known, here = _KEPT.setdefault(tx, {}), tx.call.tenant
        if (here, self.name, name) not in known:
            names = {event.record for event in tx.batch if event.organization == here} | {name}
            names = {one for one in names if (here, self.name, one) not in known}
            asked = tx.pipe.ask(self.some, (here, list(names)))
            known.update(dict.fromkeys((here, self.name, one) for one in names))
            for row in await asked.mappings():
                known[here, self.name, row["name"]] = self.load(row)
        found: F | None = known[here, self.name, name]
        return found

    def keep(self, tx: Tx, fact: F) -> None:
        """Make the row of that name say this."""
        row = self.row(fact)
        _KEPT.setdefault(tx, {})[tx.call.tenant, self.name, row["name"]] = fact
        tx.put(self, key={"name": row.pop("name")}, values=row)

    async def every(self, tx: Tx) -> list[F]:
        """All facts, by name; at most 10,000."""
        rows = await tx.rows(
            f"SELECT * FROM {self.name} WHERE tenant_id = %s ORDER BY name LIMIT 10000", [tx.call.tenant]
        )
        return [self.load(row) for row in rows]


class AnalyticsStore(Store):
    """The read models of one organization after another."""

    companies = Facts("companies", Organization)
    people = Facts("people", Person)
    teams = Facts("teams", Team)
    customers = Facts("customers", Customer)
    products = Facts("products", Product)
    pipelines = Facts("pipelines", Pipeline)
    balances = Facts("balances", Balance, index=(("product",),))
    deals = Facts(
        "deals",
        Deal,
        placed=True,
        index=(("state", "pipeline"), ("owner",), ("team",), ("close_date",), ("customer",)),
    )
    orders = Facts(
        "orders",
        Order,
        placed=True,
        index=(("owner",), ("team",), ("order_date",), ("state",), ("customer",)),
    )
    invoices = Facts(
        "invoices", Invoice, placed=True, index=(("state",), ("owner",), ("team",), ("customer",))
    )
    customer_territories = customer_territories()

    # What of those is shared with whom, in the columns by which every service looks for its shares.
    deal_shares = Facts("deal_shares", Sharing, index=(("grantee",),))
    order_shares = Facts("order_shares", Sharing, index=(("grantee",),))
    invoice_shares = Facts("invoice_shares", Sharing, index=(("grantee",),))

    deals_by_month = ReadModel(
        "deals_by_month",
        key={
            "month": sa.Date(), "state": sa.Text(), "pipeline": sa.Text(), "stage": sa.Text(),
            "owner": sa.Text(), "team": sa.Text(), "currency": sa.Text(),
        },
        sums=("deals", "amount", "days", "timed"),
    )  # fmt: skip
    deals_by_product = ReadModel(
        "deals_by_product",
        key={
            "month": sa.Date(), "state": sa.Text(), "pipeline": sa.Text(), "stage": sa.Text(),
            "owner": sa.Text(), "team": sa.Text(), "currency": sa.Text(), "product": sa.Text(),
        },
        sums=("deals", "amount", "days", "timed"),
    )  # fmt: skip
    stage_passages = ReadModel(
        "stage_passages",
        key={
            "pipeline": sa.Text(), "month": sa.Date(), "stage": sa.Text(), "after": sa.Text(),
            "owner": sa.Text(), "team": sa.Text(),
        },
        sums=("visits", "seconds"),
    )  # fmt: skip
    sales_by_customer = ReadModel(
        "sales_by_customer",
        key={
            "month": sa.Date(), "owner": sa.Text(), "team": sa.Text(),
            "customer": sa.Text(), "currency": sa.Text(),
        },
        sums=("net", "gross", "quantity", "orders", "freight", "late"),
    )  # fmt: skip
    sales_by_product = ReadModel(
        "sales_by_product",
        key={
            "month": sa.Date(), "owner": sa.Text(), "team": sa.Text(),
            "customer": sa.Text(), "currency": sa.Text(), "product": sa.Text(),
        },
        sums=("net", "gross", "quantity", "orders"),
    )  # fmt: skip
    # Rolled up from `orders` by triggers of that table, whoever writes it (see the migration), and small
    # enough for everybody: whose records a caller reaches can be told from a cell, as it can from an order.
    # They stand after `orders`, so that a rebuild empties them last.
    sales_by_month = ReadModel(
        "sales_by_month",
        key={
            "month": sa.Date(), "owner": sa.Text(), "team": sa.Text(), "collaborators": JSONB(),
            "currency": sa.Text(),
        },
        sums=("net", "gross", "quantity", "orders", "freight", "late"),
    )  # fmt: skip
    product_sales_by_month = ReadModel(
        "product_sales_by_month",
        key={
            "month": sa.Date(), "owner": sa.Text(), "team": sa.Text(), "collaborators": JSONB(),
            "currency": sa.Text(), "product": sa.Text(),
        },
        sums=("net", "gross", "quantity", "orders"),
    )  # fmt: skip

    # Told again as a whole when the service that told it was restored.
    sources: Mapping[str, Sequence[Rows]] = {
        "access": (companies, people, teams),
        "customer": (customers, customer_territories),
        "inventory": (
            products,
            balances,
            orders,
            order_shares,
            sales_by_customer,
            sales_by_product,
            sales_by_month,
            product_sales_by_month,
        ),
        "opportunity": (pipelines, deals, deal_shares, deals_by_month, deals_by_product, stage_passages),
        "contract": (invoices, invoice_shares),
    }


MODELS = {model.name: model for model in AnalyticsStore.rows}


async def keep(
    tx: Tx, facts: Facts[Any], fact: Any, cells: Callable[[Any], Iterable[Cell]] = lambda fact: ()
) -> None:
    """Keep a fact unless it is older than what is known, and move what it fills in the sums along."""
    before = await facts.last(tx, fact.name)
    if before is not None and before.version >= fact.version:
        return
    facts.keep(tx, fact)
    for cell in changes(cells(before) if before else (), cells(fact)):
        tx.fold(MODELS[cell.model], key=cell.key, add=cell.sums)
