"""A process that finds nothing to number writes nothing."""

from chassis.migrate import install_turns

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    install_turns()
