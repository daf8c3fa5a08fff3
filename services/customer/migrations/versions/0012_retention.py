"""How long what is kept of people, what the rules have done, and whom they have warned of."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.migrate import secure

revision = "0012"
down_revision = "0011"


def _record(*columns: sa.Column) -> list[sa.Column]:
    return [
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.Column("updater", sa.Text(), nullable=False),
        sa.Column("delete_time", sa.DateTime(timezone=True), nullable=True),
        *columns,
    ]


def upgrade() -> None:
    op.create_table(
        "retention_rules",
        *_record(
            sa.Column("display_name", sa.Text(), nullable=False),
            sa.Column("subject", sa.Text(), nullable=False),
            sa.Column("months", sa.BigInteger(), nullable=False),
            sa.Column("warn_days", sa.BigInteger(), nullable=False),
            sa.Column("books_months", sa.BigInteger(), nullable=False),
            sa.Column("state", sa.Text(), nullable=False),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_table(
        "retention_runs",
        *_record(
            sa.Column("rule", sa.Text(), nullable=False),
            sa.Column("state", sa.Text(), nullable=False),
            sa.Column("cutoff_time", sa.DateTime(timezone=True), nullable=True),
            sa.Column("finish_time", sa.DateTime(timezone=True), nullable=True),
            sa.Column("examined", sa.BigInteger(), nullable=False),
            sa.Column("erased", sa.BigInteger(), nullable=False),
            sa.Column("warned", sa.BigInteger(), nullable=False),
            sa.Column("waiting", sa.BigInteger(), nullable=False),
            sa.Column("held", sa.BigInteger(), nullable=False),
            sa.Column("held_cases", postgresql.JSONB(), nullable=False),
            sa.Column("reached", sa.Text(), nullable=False),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("retention_runs_by_rule", "retention_runs", ["tenant_id", "rule", "id"], unique=False)
    op.create_index("retention_runs_by_state", "retention_runs", ["tenant_id", "state", "id"], unique=False)
    op.create_table(
        "retention_warnings",
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("warn_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "rule", "person"),
    )
    for table in ("retention_rules", "retention_runs", "retention_warnings"):
        secure(table)
