"""A record can be shared with a user or a team; who collaborates is found by an index."""

from alembic import op

from chassis.migrate import install_shares

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    install_shares("orders", "shipments")
    for table in ("orders", "shipments"):
        op.create_index(f"{table}_by_team", table, ["tenant_id", "team", "id"])
