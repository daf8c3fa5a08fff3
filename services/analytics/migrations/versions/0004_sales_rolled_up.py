"""Sales by month, whoever they belong to and whoever shares them: rolled up from orders as they are written.

By triggers, so that they follow also where a process of the release before writes the orders.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.migrate import secure

revision = "0004"
down_revision = "0003"

KEY = ("month", "owner", "team", "collaborators", "currency")
# table → (further keys, sums: column → what an order, or a part of one, adds)
ROLLED = {
    "sales_by_month": (
        (),
        {
            "net": "o.net", "gross": "o.gross", "quantity": "o.quantity", "orders": "1",
            "freight": "o.freight", "late": "COALESCE(o.shipped_date > o.required_date, false)::int",
        },
        "",
    ),
    "product_sales_by_month": (
        ("product",),
        {"net": "part.net", "gross": "part.gross", "quantity": "part.quantity", "orders": "1"},
        " CROSS JOIN LATERAL jsonb_to_recordset(o.sold)"
        " AS part (product text, net bigint, gross bigint, quantity bigint)",
    ),
}  # fmt: skip
CHANGED = {
    "INSERT": "SELECT 1 AS sign, * FROM new_rows",
    "UPDATE": "SELECT -1 AS sign, * FROM old_rows UNION ALL SELECT 1, * FROM new_rows",
    "DELETE": "SELECT -1 AS sign, * FROM old_rows",
}
TABLES = {
    "INSERT": "NEW TABLE AS new_rows",
    "UPDATE": "OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "DELETE": "OLD TABLE AS old_rows",
}


def upgrade() -> None:
    for table, (further, sums, _) in ROLLED.items():
        op.create_table(
            table,
            sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
            sa.Column("month", sa.Date(), nullable=False),
            sa.Column("owner", sa.Text(), nullable=False),
            sa.Column("team", sa.Text(), nullable=False),
            sa.Column("collaborators", postgresql.JSONB(), nullable=False),
            sa.Column("currency", sa.Text(), nullable=False),
            *(sa.Column(column, sa.Text(), nullable=False) for column in further),
            *(sa.Column(column, sa.BigInteger(), server_default="0", nullable=False) for column in sums),
            sa.PrimaryKeyConstraint("tenant_id", *KEY, *further),
        )
        secure(table)
        op.execute(roll_up(table, "SELECT 1 AS sign, * FROM public.orders"))
    for verb, changed in CHANGED.items():
        body = " ".join(roll_up(table, changed) + ";" for table in ROLLED)
        op.execute(
            f"CREATE FUNCTION roll_up_{verb.lower()}() RETURNS trigger LANGUAGE plpgsql"
            f" SET search_path = pg_catalog, public AS $$ BEGIN {body} RETURN NULL; END $$"
        )
        op.execute(
            f"CREATE TRIGGER roll_up_{verb.lower()} AFTER {verb} ON orders REFERENCING {TABLES[verb]}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION roll_up_{verb.lower()}()"
        )


def roll_up(table: str, changed: str) -> str:
    """Add what orders fill while they count as revenue; cells are touched in the order of their keys."""
    further, sums, parts = ROLLED[table]
    keys = ", ".join(("tenant_id", *KEY, *further))
    said = "".join(f", part.{column}" for column in further)
    added = ", ".join(f"sum(o.sign * ({value}))::bigint" for value in sums.values())
    order = ", ".join(str(at + 1) for at in range(len(KEY) + len(further) + 1))
    changes = ", ".join(f"{column} = cell.{column} + EXCLUDED.{column}" for column in sums)
    moved = " OR ".join(f"sum(o.sign * ({value})) <> 0" for value in sums.values())
    return (
        f"INSERT INTO public.{table} AS cell ({keys}, {', '.join(sums)})"
        " SELECT o.tenant_id, COALESCE(date_trunc('month', o.order_date)::date, DATE '0001-01-01'), o.owner,"
        f" o.team, o.collaborators, o.currency{said}, {added} FROM ({changed}) AS o{parts} WHERE o.counted"
        f" GROUP BY {order} HAVING {moved} ORDER BY {order}"
        f" ON CONFLICT ({keys}) DO UPDATE SET {changes}"
    )
