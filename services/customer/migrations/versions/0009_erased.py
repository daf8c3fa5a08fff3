"""Records say since when the person behind them is forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("customers", sa.Column("erase_time", sa.DateTime(timezone=True), nullable=True))
    op.add_column("contacts", sa.Column("erase_time", sa.DateTime(timezone=True), nullable=True))
    op.add_column("leads", sa.Column("erase_time", sa.DateTime(timezone=True), nullable=True))
