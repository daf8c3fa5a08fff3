"""Customers lie in territories, their contacts with them; shares that run out are found by their time."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.migrate import for_triggers, install_territories, secure

revision = "0014"
down_revision = "0013"

KEPT = """
CREATE FUNCTION note_territory() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  INSERT INTO public.customer_territories (tenant_id, customer, territory)
    VALUES (NEW.tenant_id, 'customers/' || NEW.id, NEW.territory)
    ON CONFLICT (tenant_id, customer) DO UPDATE SET territory = EXCLUDED.territory;
  RETURN NULL;
END $$;
CREATE TRIGGER note_first_territory AFTER INSERT ON customers
  FOR EACH ROW EXECUTE FUNCTION note_territory();
CREATE TRIGGER note_other_territory AFTER UPDATE ON customers FOR EACH ROW
  WHEN (OLD.territory IS DISTINCT FROM NEW.territory) EXECUTE FUNCTION note_territory();
"""


def upgrade() -> None:
    for column in ("territory", "territory_reason"):
        op.add_column("customers", sa.Column(column, sa.Text(), nullable=False, server_default=""))
    op.create_index("customers_by_territory", "customers", ["tenant_id", "territory", "id"])
    install_territories("contacts")
    op.get_bind().exec_driver_sql(KEPT)
    for_triggers("note_territory()")
    op.create_table(
        "territories",
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=False),
        sa.Column("criteria", postgresql.JSONB(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "name"),
    )
    op.create_table(
        "settlements",
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("settled", sa.BigInteger(), nullable=False),
        sa.Column("moved", sa.BigInteger(), nullable=False),
        sa.Column("begin_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_time", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "what"),
    )
    for table in ("territories", "settlements"):
        secure(table)
    op.create_index("shares_by_expire_time", "shares", ["tenant_id", "expire_time", "id"])
