"""What names a customer lies in the customer's territory; shares that run out are found by their time."""

from alembic import op

from chassis.migrate import install_territories

revision = "0011"
down_revision = "0010"

# Shipments are found by their orders.
SHIPPED = (
    "\"order\" IN (SELECT 'orders/' || o.id FROM public.orders o"
    " WHERE o.tenant_id = said.tenant_id AND o.customer = said.customer)"
)


def upgrade() -> None:
    install_territories("orders", "shipments", of={"shipments": SHIPPED})
    op.create_index("shares_by_expire_time", "shares", ["tenant_id", "expire_time", "id"])
