"""The first schema: deals, pipelines and settings."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.migrate import install, secure

revision = "0001"
down_revision = None


def upgrade() -> None:
    install()
    op.create_table(
        "opportunities",
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.Column("updater", sa.Text(), nullable=False),
        sa.Column("delete_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("collaborators", postgresql.JSONB(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("contact", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("amount_currency", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("lines", postgresql.JSONB(), nullable=False),
        sa.Column("expected_close_date", sa.Date(), nullable=True),
        sa.Column("open_date", sa.Date(), nullable=True),
        sa.Column("close_date", sa.Date(), nullable=True),
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("pipeline_version", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("stage_history", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_history", postgresql.JSONB(), nullable=False),
        sa.Column("done_items", postgresql.JSONB(), nullable=False),
        sa.Column("probability", sa.BigInteger(), nullable=False),
        sa.Column("probability_override", sa.BigInteger(), nullable=True),
        sa.Column("probability_reason", sa.Text(), nullable=False),
        sa.Column("forecast_category", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("source_lead", sa.Text(), nullable=False),
        sa.Column("competitors", postgresql.JSONB(), nullable=False),
        sa.Column("next_step", sa.Text(), nullable=False),
        sa.Column("needs", sa.Text(), nullable=False),
        sa.Column("solution", sa.Text(), nullable=False),
        sa.Column("accepted_quote", sa.Text(), nullable=False),
        sa.Column("splits", postgresql.JSONB(), nullable=False),
        sa.Column("assignments", postgresql.JSONB(), nullable=False),
        sa.Column("closing", postgresql.JSONB(), nullable=True),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "NOT archived OR state IN ('WON', 'LOST', 'TERMINATED')", name="opportunities_archived"
        ),
        sa.CheckConstraint("amount >= 0", name="opportunities_worth"),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index(
        "opportunities_by_close_date", "opportunities", ["tenant_id", "close_date", "id"], unique=False
    )
    op.create_index(
        "opportunities_by_customer", "opportunities", ["tenant_id", "customer", "id"], unique=False
    )
    op.create_index(
        "opportunities_by_owner_state", "opportunities", ["tenant_id", "owner", "state", "id"], unique=False
    )
    op.create_index(
        "opportunities_by_pipeline_stage",
        "opportunities",
        ["tenant_id", "pipeline", "stage", "id"],
        unique=False,
    )
    op.create_index(
        "opportunities_by_team_state", "opportunities", ["tenant_id", "team", "state", "id"], unique=False
    )
    op.create_index(
        "opportunities_unique_external_id",
        "opportunities",
        ["tenant_id", "external_id"],
        unique=True,
        postgresql_where=sa.text("delete_time IS NULL AND external_id != ''"),
    )
    op.create_index(
        "opportunities_unique_number",
        "opportunities",
        ["tenant_id", "number"],
        unique=True,
        postgresql_where=sa.text("delete_time IS NULL AND number != ''"),
    )
    op.create_table(
        "pipelines",
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.Column("updater", sa.Text(), nullable=False),
        sa.Column("delete_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("stages", postgresql.JSONB(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("teams", postgresql.JSONB(), nullable=False),
        sa.Column("stages_version", sa.BigInteger(), nullable=False),
        sa.Column("earlier", postgresql.JSONB(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index(
        "pipelines_unique_external_id",
        "pipelines",
        ["tenant_id", "external_id"],
        unique=True,
        postgresql_where=sa.text("delete_time IS NULL AND external_id != ''"),
    )
    op.create_table(
        "settings",
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "name"),
    )
    secure("opportunities")
    secure("pipelines")
    secure("settings")
