"""Who a customer is, of one who is a private person, may lie sealed.

Processes of releases in which values lie open may run beside. Those of a build between that sealed values and knew
no veil would write past it: end them first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("customers", sa.Column("veil", sa.Text(), nullable=True))
    # Likenesses are of companies; who was forgotten needs none either.
    op.execute(
        "UPDATE customers SET name_key = '', legal_key = ''"
        " WHERE kind = 'PERSON' AND (name_key <> '' OR legal_key <> '')"
    )
    # The next `tradewind up`, or `tradewind keys encrypt`, seals those that were kept in plain.
    op.execute(
        "UPDATE sealing SET phase = 'SEALING' WHERE phase = 'SEALED'"
        " AND EXISTS (SELECT FROM customers WHERE kind = 'PERSON' AND erase_time IS NULL)"
    )
