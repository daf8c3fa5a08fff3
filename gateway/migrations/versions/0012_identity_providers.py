"""People sign in with accounts of identity providers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.migrate import secure

revision = "0012"
down_revision = "0011"

# Whoever comes to sign in names the provider alone: it answers the id of its organization and no content.
ACROSS = """
CREATE FUNCTION provider_organization(wanted text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT p.tenant_id::text FROM public.identity_providers p WHERE p.id = wanted AND p.delete_time IS NULL;
$$;
"""


def upgrade() -> None:
    op.create_table(
        "identity_providers",
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.Column("updater", sa.Text(), nullable=False),
        sa.Column("delete_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("client_secret", sa.Text(), nullable=False),
        sa.Column("client_secret_hint", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.JSONB(), nullable=False),
        sa.Column("email_claim", sa.Text(), nullable=False),
        sa.Column("trusts_email", sa.Boolean(), nullable=False),
        sa.Column("email_domains", postgresql.JSONB(), nullable=False),
        sa.Column("role_claim", sa.Text(), nullable=False),
        sa.Column("role_mappings", postgresql.JSONB(), nullable=False),
        sa.Column("default_roles", postgresql.JSONB(), nullable=False),
        sa.Column("creates_users", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("identity_providers_by_id", "identity_providers", ["id"], unique=False)
    op.create_table(
        "identities",
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "provider", "subject"),
    )
    op.create_index("identities_by_person", "identities", ["tenant_id", "person"], unique=False)
    secure("identity_providers")
    secure("identities")
    op.execute(ACROSS)
