"""A process that finds nothing to number writes nothing."""

from chassis.migrate import install_turns

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    install_turns()
