"""A process may count its backlog, its sagas and what the laws said."""

from chassis.migrate import install_measures

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    install_measures()
