"""The audit trail."""

from chassis.migrate import install_audit

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    install_audit()
