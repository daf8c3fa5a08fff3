"""What people have agreed to is a log of its own, and what it comes to stands with them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.migrate import secure

revision = "0010"
down_revision = "0009"

# An entry is what somebody said: nothing of that is ever changed. What shows it is personal, and can go.
HISTORY = """
CREATE FUNCTION consents_are_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (OLD.id, OLD.tenant_id, OLD.person, OLD.purpose, OLD.channel, OLD.decision, OLD.basis, OLD.decide_time,
      OLD.expire_time, OLD.source, OLD.wording, OLD.origin, OLD.create_time, OLD.creator)
    IS DISTINCT FROM
     (NEW.id, NEW.tenant_id, NEW.person, NEW.purpose, NEW.channel, NEW.decision, NEW.basis, NEW.decide_time,
      NEW.expire_time, NEW.source, NEW.wording, NEW.origin, NEW.create_time, NEW.creator) THEN
    RAISE EXCEPTION 'an entry of the consent log is never changed';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER consents_are_history BEFORE UPDATE OR DELETE ON consents
  FOR EACH ROW EXECUTE FUNCTION consents_are_history();
"""


def upgrade() -> None:
    for table in ("contacts", "leads", "customers"):
        op.add_column(table, sa.Column("consents", postgresql.JSONB(), nullable=False, server_default="[]"))
    for table in ("leads", "customers"):
        op.add_column(
            table, sa.Column("do_not_contact", sa.Boolean(), nullable=False, server_default="false")
        )
    op.create_table(
        "consents",
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.Column("updater", sa.Text(), nullable=False),
        sa.Column("delete_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("erase_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("decide_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("wording", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("person_key", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("consents_by_person", "consents", ["tenant_id", "person", "id"], unique=False)
    secure("consents")
    op.execute(HISTORY)
