"""What names a customer lies in the customer's territory; shares that run out are found by their time."""

from alembic import op

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
    op.create_index("shares_by_expire_time", "shares", ["tenant_id", "expire_time", "id"])
