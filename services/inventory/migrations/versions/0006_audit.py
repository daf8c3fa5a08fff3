"""Facts say from where they came, and their hash covers all of it; checkpoints of others are kept."""

from chassis.migrate import install_audit

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    install_audit()
