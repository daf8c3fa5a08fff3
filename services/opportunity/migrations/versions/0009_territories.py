"""What names a customer lies in the customer's territory; shares that run out are found by their time."""

from alembic import op

from chassis.migrate import install_territories

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    install_territories("opportunities")
    op.create_index("shares_by_expire_time", "shares", ["tenant_id", "expire_time", "id"])
