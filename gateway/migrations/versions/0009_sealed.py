"""Personal values may be sealed; an e-mail is found, and one of a kind, by its blind index."""

import sqlalchemy as sa
from alembic import op

from chassis.migrate import install_sealing

revision = "0009"
down_revision = "0008"

# Signing in begins before the organization is known: looked up across organizations, ids for an answer.
ACROSS = """
CREATE FUNCTION accounts_by(wanted text) RETURNS TABLE (tenant_id text, user_id text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT u.tenant_id::text, u.id FROM public.blind_index b
  JOIN public.users u ON u.tenant_id = b.tenant_id AND u.id = b.record
  WHERE b.field = 'users.email' AND b.digest = wanted AND u.delete_time IS NULL ORDER BY u.tenant_id;
$$;
CREATE INDEX blind_index_of_emails ON blind_index (digest) WHERE field = 'users.email';
CREATE UNIQUE INDEX blind_index_unique_email ON blind_index (tenant_id, field, digest)
  WHERE field = 'users.email';
"""


def upgrade() -> None:
    install_sealing()
    for table in ("sessions", "users"):
        op.add_column(table, sa.Column("person_key", sa.LargeBinary(), nullable=True))
    op.execute(ACROSS)
