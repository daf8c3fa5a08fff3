"""What of deals, orders and invoices is shared with whom: figures count it for who reaches it so."""

import sqlalchemy as sa
from alembic import op

from chassis.migrate import secure

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    for table in ("deal_shares", "order_shares", "invoice_shares"):
        op.create_table(
            table,
            sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
            sa.Column("name", sa.Text(), nullable=False),
            sa.Column("version", sa.BigInteger(), nullable=False),
            sa.Column("record", sa.Text(), nullable=False),
            sa.Column("grantee", sa.Text(), nullable=False),
            sa.Column("access", sa.Text(), nullable=False),
            sa.Column("expire_time", sa.DateTime(timezone=True), nullable=True),
            sa.Column("delete_time", sa.DateTime(timezone=True), nullable=True),
            sa.PrimaryKeyConstraint("tenant_id", "name"),
        )
        op.create_index(f"{table}_by_grantee", table, ["tenant_id", "grantee"])
        secure(table)
