"""A record can be shared with a user or a team; who collaborates is found by an index."""

from chassis.migrate import install_shares

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    install_shares("contacts", "customers", "leads")
