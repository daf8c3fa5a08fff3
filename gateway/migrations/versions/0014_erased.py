"""Records say since when the person behind them is forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("users", sa.Column("erase_time", sa.DateTime(timezone=True), nullable=True))
