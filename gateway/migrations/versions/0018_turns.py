"""A process that finds nothing to number writes nothing."""

from chassis.migrate import install_turns

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    install_turns()
