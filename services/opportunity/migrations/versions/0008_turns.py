"""A process that finds nothing to number writes nothing."""

from chassis.migrate import install_turns

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    install_turns()
