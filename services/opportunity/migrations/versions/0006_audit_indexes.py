"""What happened, by person, by time and by the records it was about."""

from chassis.migrate import index_audit

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    index_audit()
