"""What happened, by person, by time and by the records it was about."""

from chassis.migrate import index_audit

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    index_audit()
