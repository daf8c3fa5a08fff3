"""A handover's list knows the team that each record was in."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("handover_items", sa.Column("previous_team", sa.Text(), nullable=True))
