"""A second factor, sessions of browsers, networks that are allowed, and tries that every gateway counts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.migrate import secure

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "tries",
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("under_way", sa.BigInteger(), nullable=False),
        sa.Column("last_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("begin_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("good_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("keep_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "digest"),
    )
    op.create_index("tries_by_keep_time", "tries", ["tenant_id", "keep_time"], unique=False)
    op.create_table(
        "authenticators",
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("pending", sa.Text(), nullable=False),
        sa.Column("pending_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "person"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("use_time", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "person", "digest"),
    )
    op.create_table(
        "challenges",
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("answered", sa.Boolean(), nullable=False),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    for table in ("tries", "authenticators", "recovery_codes", "challenges"):
        secure(table)
    op.add_column("users", sa.Column("second_factor_time", sa.DateTime(timezone=True), nullable=True))
    op.add_column("sessions", sa.Column("kind", sa.Text(), nullable=False, server_default="TOKENS"))
    op.add_column("sessions", sa.Column("last_used_time", sa.DateTime(timezone=True), nullable=True))
    for column in ("allowed_networks", "second_factor_roles"):
        op.add_column(
            "organizations", sa.Column(column, postgresql.JSONB(), nullable=False, server_default="[]")
        )
