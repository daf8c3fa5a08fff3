"""What names a customer lies in the customer's territory."""

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
