"""What the chassis has had since."""

from chassis.migrate import install_epochs, install_measures

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    install_measures()
    install_epochs()
