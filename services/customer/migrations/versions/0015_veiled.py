"""Who a customer is, of one who is a private person, may lie sealed."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("customers", sa.Column("veil", sa.Text(), nullable=True))
    # The next start, or `tradewind keys encrypt`, seals those that were kept in plain.
    op.execute(
        "UPDATE sealing SET phase = 'SEALING' WHERE phase = 'SEALED'"
        " AND EXISTS (SELECT FROM customers WHERE kind = 'PERSON' AND erase_time IS NULL)"
    )
