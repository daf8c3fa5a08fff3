"""What names a customer lies in the customer's territory, and counts for who works it."""

from alembic import op

from chassis.migrate import install_territories

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    for table in ("deals", "orders", "invoices"):
        op.create_index(f"{table}_by_customer", table, ["tenant_id", "customer"])
    install_territories("deals", "orders", "invoices", ends="")
