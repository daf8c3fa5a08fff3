"""A restored service says which facts of before still count; old facts may be let go."""

from chassis.migrate import install_epochs

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    install_epochs()
