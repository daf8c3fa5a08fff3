"""What the audit trail is read by."""

from chassis.migrate import index_audit

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    index_audit()
