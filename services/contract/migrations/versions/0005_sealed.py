"""Personal values may be sealed: their keys, what they are found by, and the salt of each row's key."""

import sqlalchemy as sa
from alembic import op

from chassis.migrate import install_sealing

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    install_sealing()
    for table in ("contract_versions", "contracts", "quotes"):
        op.add_column(table, sa.Column("person_key", sa.LargeBinary(), nullable=True))
