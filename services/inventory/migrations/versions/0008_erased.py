"""Records say since when the person behind them is forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("orders", sa.Column("erase_time", sa.DateTime(timezone=True), nullable=True))
    op.add_column("shipments", sa.Column("erase_time", sa.DateTime(timezone=True), nullable=True))
