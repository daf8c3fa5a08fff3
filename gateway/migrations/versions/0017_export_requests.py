"""The export of a list can be asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.add_column("access_requests", sa.Column("export", sa.Text(), nullable=False, server_default=""))
