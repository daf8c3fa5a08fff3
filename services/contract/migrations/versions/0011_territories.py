"""What names a customer lies in the customer's territory."""

from chassis.migrate import install_territories

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    install_territories(
        "quotes",
        "contracts",
        "invoices",
        "payments",
        "credit_exposures",
        "credit_notes",
        of={"credit_exposures": "id = substr(said.customer, 11)"},
    )
