"""A process that finds nothing to number writes nothing."""

from chassis.migrate import install_turns

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    install_turns()
