"""Lists of customers by name and by last change, begun at any page."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_index("customers_by_display_name", "customers", ["tenant_id", "display_name", "id"])
    op.create_index("customers_by_update_time", "customers", ["tenant_id", "update_time", "id"])
