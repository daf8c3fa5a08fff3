"""What happened, by person, by time and by the records it was about."""

from chassis.migrate import index_audit

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    index_audit()
