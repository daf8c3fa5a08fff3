"""Roles keep fields back."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("roles", sa.Column("field_rules", postgresql.JSONB(), nullable=False, server_default="[]"))
