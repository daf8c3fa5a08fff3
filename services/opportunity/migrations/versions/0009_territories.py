"""What names a customer lies in the customer's territory."""

from chassis.migrate import install_territories

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    install_territories("opportunities")
