"""Roles say what their people see first."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("roles", sa.Column("views", postgresql.JSONB(), nullable=False, server_default="[]"))
