"""Keys say when they were last used."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("last_used_time", sa.DateTime(timezone=True), nullable=True))
