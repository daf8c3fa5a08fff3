"""A process that finds nothing to number writes nothing."""

from chassis.migrate import install_turns

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    install_turns()
