"""A process that finds nothing to number writes nothing."""

from chassis.migrate import install_turns

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    install_turns()
