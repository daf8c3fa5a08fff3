"""What happened, by person, by time and by the records it was about."""

from chassis.migrate import index_audit

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    index_audit()
