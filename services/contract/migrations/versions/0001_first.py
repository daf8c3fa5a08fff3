"""The first schema: papers, money, credit, and a journal that always balances."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.migrate import install, secure

revision = "0001"
down_revision = None

# Asked at the commit, when a journal is whole; as the owner, since a reaction may cross organizations.
BALANCE = """
CREATE FUNCTION journal_balances() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
  IF EXISTS (
    SELECT 1 FROM public.journal_entries e WHERE e.tenant_id = NEW.tenant_id AND e.journal = NEW.journal
    GROUP BY e.amount_currency HAVING sum(e.amount) <> 0
  ) THEN
    RAISE EXCEPTION 'the entries of journal % do not sum to zero', NEW.journal USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER journal_balances AFTER INSERT OR UPDATE ON journal_entries
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal_balances();
"""


def upgrade() -> None:
    install()
    op.create_table(
        "contract_versions",
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
        sa.Column("lines", postgresql.JSONB(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("tax_mode", sa.Text(), nullable=False),
        sa.Column("rounding_mode", sa.Text(), nullable=False),
        sa.Column("precision", sa.BigInteger(), nullable=False),
        sa.Column("discount_percent", sa.BigInteger(), nullable=False),
        sa.Column("totals", postgresql.JSONB(), nullable=True),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("version_number", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("amount_currency", sa.Text(), nullable=True),
        sa.Column("start_date", sa.Date(), nullable=True),
        sa.Column("end_date", sa.Date(), nullable=True),
        sa.Column("payment_plan", postgresql.JSONB(), nullable=False),
        sa.Column("approvals", postgresql.JSONB(), nullable=False),
        sa.Column("requester", sa.Text(), nullable=False),
        sa.Column("signers", postgresql.JSONB(), nullable=False),
        sa.Column("sign_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("file_hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index(
        "contract_versions_unique_contract_version_number",
        "contract_versions",
        ["tenant_id", "contract", "version_number"],
        unique=True,
        postgresql_where=sa.text("delete_time IS NULL AND contract != '' AND version_number IS NOT NULL"),
    )
    op.create_table(
        "contracts",
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
        sa.Column("lines", postgresql.JSONB(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("tax_mode", sa.Text(), nullable=False),
        sa.Column("rounding_mode", sa.Text(), nullable=False),
        sa.Column("precision", sa.BigInteger(), nullable=False),
        sa.Column("discount_percent", sa.BigInteger(), nullable=False),
        sa.Column("totals", postgresql.JSONB(), nullable=True),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("opportunity", sa.Text(), nullable=False),
        sa.Column("quote", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("amount_currency", sa.Text(), nullable=True),
        sa.Column("start_date", sa.Date(), nullable=True),
        sa.Column("end_date", sa.Date(), nullable=True),
        sa.Column("obligations", postgresql.JSONB(), nullable=False),
        sa.Column("payment_plan", postgresql.JSONB(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version_number", sa.BigInteger(), nullable=False),
        sa.Column("amendment", postgresql.JSONB(), nullable=True),
        sa.Column("approvals", postgresql.JSONB(), nullable=False),
        sa.Column("requester", sa.Text(), nullable=False),
        sa.Column("signers", postgresql.JSONB(), nullable=False),
        sa.Column("sign_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("file_hash", sa.Text(), nullable=False),
        sa.Column("start_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("complete_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("close_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state_reason", sa.Text(), nullable=False),
        sa.Column("shipped_amount", sa.BigInteger(), nullable=True),
        sa.Column("shipped_amount_currency", sa.Text(), nullable=True),
        sa.Column("invoiced_amount", sa.BigInteger(), nullable=True),
        sa.Column("invoiced_amount_currency", sa.Text(), nullable=True),
        sa.Column("paid_amount", sa.BigInteger(), nullable=True),
        sa.Column("paid_amount_currency", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("contracts_by_customer", "contracts", ["tenant_id", "customer", "id"], unique=False)
    op.create_index("contracts_by_opportunity", "contracts", ["tenant_id", "opportunity", "id"], unique=False)
    op.create_index(
        "contracts_by_owner_state", "contracts", ["tenant_id", "owner", "state", "id"], unique=False
    )
    op.create_index("contracts_by_quote", "contracts", ["tenant_id", "quote", "id"], unique=False)
    op.create_index("contracts_by_state", "contracts", ["tenant_id", "state", "id"], unique=False)
    op.create_index("contracts_by_team", "contracts", ["tenant_id", "team", "id"], unique=False)
    op.create_index(
        "contracts_unique_number",
        "contracts",
        ["tenant_id", "number"],
        unique=True,
        postgresql_where=sa.text("delete_time IS NULL AND number != ''"),
    )
    op.create_table(
        "credit_exposures",
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
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("credit_limit", sa.BigInteger(), nullable=True),
        sa.Column("credit_limit_currency", sa.Text(), nullable=True),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("held_currency", sa.Text(), nullable=False),
        sa.Column("receivable", sa.BigInteger(), nullable=False),
        sa.Column("receivable_currency", sa.Text(), nullable=False),
        sa.Column("payment_terms_days", sa.BigInteger(), nullable=False),
        sa.Column("customer_version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("held >= 0", name="credit_exposures_held"),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index(
        "credit_exposures_by_owner", "credit_exposures", ["tenant_id", "owner", "id"], unique=False
    )
    op.create_index("credit_exposures_by_team", "credit_exposures", ["tenant_id", "team", "id"], unique=False)
    op.create_table(
        "credit_holds",
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.Column("updater", sa.Text(), nullable=False),
        sa.Column("delete_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("order", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("amount_currency", sa.Text(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("held_currency", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("held >= 0 AND held <= amount", name="credit_holds_held"),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("credit_holds_by_customer", "credit_holds", ["tenant_id", "customer", "id"], unique=False)
    op.create_table(
        "credit_notes",
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
        sa.Column("lines", postgresql.JSONB(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("tax_mode", sa.Text(), nullable=False),
        sa.Column("rounding_mode", sa.Text(), nullable=False),
        sa.Column("precision", sa.BigInteger(), nullable=False),
        sa.Column("discount_percent", sa.BigInteger(), nullable=False),
        sa.Column("totals", postgresql.JSONB(), nullable=True),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("series", sa.Text(), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.Column("invoice", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("order", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("issue_date", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("credit_notes_by_customer", "credit_notes", ["tenant_id", "customer", "id"], unique=False)
    op.create_index("credit_notes_by_owner", "credit_notes", ["tenant_id", "owner", "id"], unique=False)
    op.create_index(
        "credit_notes_unique_invoice",
        "credit_notes",
        ["tenant_id", "invoice"],
        unique=True,
        postgresql_where=sa.text("delete_time IS NULL AND invoice != ''"),
    )
    op.create_index(
        "credit_notes_unique_number",
        "credit_notes",
        ["tenant_id", "number"],
        unique=True,
        postgresql_where=sa.text("delete_time IS NULL AND number != ''"),
    )
    op.create_index(
        "credit_notes_unique_series_serial",
        "credit_notes",
        ["tenant_id", "series", "serial"],
        unique=True,
        postgresql_where=sa.text("delete_time IS NULL AND series != '' AND serial IS NOT NULL"),
    )
    op.create_table(
        "invoices",
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
        sa.Column("lines", postgresql.JSONB(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("tax_mode", sa.Text(), nullable=False),
        sa.Column("rounding_mode", sa.Text(), nullable=False),
        sa.Column("precision", sa.BigInteger(), nullable=False),
        sa.Column("discount_percent", sa.BigInteger(), nullable=False),
        sa.Column("totals", postgresql.JSONB(), nullable=True),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("series", sa.Text(), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=True),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("order", sa.Text(), nullable=False),
        sa.Column("shipment", sa.Text(), nullable=False),
        sa.Column("exchange_rate", sa.BigInteger(), nullable=False),
        sa.Column("base_currency", sa.Text(), nullable=False),
        sa.Column("issue_date", sa.Date(), nullable=True),
        sa.Column("due_date", sa.Date(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("paid_amount", sa.BigInteger(), nullable=True),
        sa.Column("paid_amount_currency", sa.Text(), nullable=True),
        sa.Column("open_amount", sa.BigInteger(), nullable=True),
        sa.Column("open_amount_currency", sa.Text(), nullable=True),
        sa.Column("post_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pay_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("credit_note", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("invoices_by_contract", "invoices", ["tenant_id", "contract", "id"], unique=False)
    op.create_index(
        "invoices_by_customer_state", "invoices", ["tenant_id", "customer", "state", "id"], unique=False
    )
    op.create_index("invoices_by_order", "invoices", ["tenant_id", "order", "id"], unique=False)
    op.create_index(
        "invoices_by_owner_state", "invoices", ["tenant_id", "owner", "state", "id"], unique=False
    )
    op.create_index("invoices_by_shipment", "invoices", ["tenant_id", "shipment", "id"], unique=False)
    op.create_index("invoices_by_team", "invoices", ["tenant_id", "team", "id"], unique=False)
    op.create_index(
        "invoices_unique_number",
        "invoices",
        ["tenant_id", "number"],
        unique=True,
        postgresql_where=sa.text("delete_time IS NULL AND number != ''"),
    )
    op.create_index(
        "invoices_unique_series_serial",
        "invoices",
        ["tenant_id", "series", "serial"],
        unique=True,
        postgresql_where=sa.text("delete_time IS NULL AND series != '' AND serial IS NOT NULL"),
    )
    op.create_table(
        "journal_entries",
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
        sa.Column("journal", sa.Text(), nullable=False),
        sa.Column("line_number", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("document_number", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("amount_currency", sa.Text(), nullable=False),
        sa.Column("book_date", sa.Date(), nullable=False),
        sa.CheckConstraint("amount <> 0", name="journal_entries_something"),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index(
        "journal_entries_by_book_date", "journal_entries", ["tenant_id", "book_date", "id"], unique=False
    )
    op.create_index(
        "journal_entries_by_customer_account",
        "journal_entries",
        ["tenant_id", "customer", "account", "id"],
        unique=False,
    )
    op.create_index(
        "journal_entries_by_document", "journal_entries", ["tenant_id", "document", "id"], unique=False
    )
    op.create_index(
        "journal_entries_by_journal", "journal_entries", ["tenant_id", "journal", "id"], unique=False
    )
    op.create_table(
        "payments",
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
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("amount_currency", sa.Text(), nullable=False),
        sa.Column("receive_date", sa.Date(), nullable=True),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("allocations", postgresql.JSONB(), nullable=False),
        sa.Column("unallocated", sa.BigInteger(), nullable=True),
        sa.Column("unallocated_currency", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index(
        "payments_by_customer_state", "payments", ["tenant_id", "customer", "state", "id"], unique=False
    )
    op.create_index(
        "payments_by_owner_state", "payments", ["tenant_id", "owner", "state", "id"], unique=False
    )
    op.create_index("payments_by_team", "payments", ["tenant_id", "team", "id"], unique=False)
    op.create_index(
        "payments_unique_number",
        "payments",
        ["tenant_id", "number"],
        unique=True,
        postgresql_where=sa.text("delete_time IS NULL AND number != ''"),
    )
    op.create_table(
        "quotes",
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
        sa.Column("lines", postgresql.JSONB(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("tax_mode", sa.Text(), nullable=False),
        sa.Column("rounding_mode", sa.Text(), nullable=False),
        sa.Column("precision", sa.BigInteger(), nullable=False),
        sa.Column("discount_percent", sa.BigInteger(), nullable=False),
        sa.Column("totals", postgresql.JSONB(), nullable=True),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("superseded_by", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("opportunity", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("valid_until", sa.Date(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("approvals", postgresql.JSONB(), nullable=False),
        sa.Column("requester", sa.Text(), nullable=False),
        sa.Column("send_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answer_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("accepter", sa.Text(), nullable=False),
        sa.Column("decline_reason", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("quotes_by_customer", "quotes", ["tenant_id", "customer", "id"], unique=False)
    op.create_index("quotes_by_opportunity", "quotes", ["tenant_id", "opportunity", "id"], unique=False)
    op.create_index("quotes_by_owner_state", "quotes", ["tenant_id", "owner", "state", "id"], unique=False)
    op.create_index(
        "quotes_by_state_valid_until", "quotes", ["tenant_id", "state", "valid_until", "id"], unique=False
    )
    op.create_index("quotes_by_team", "quotes", ["tenant_id", "team", "id"], unique=False)
    op.create_index(
        "quotes_unique_number_revision",
        "quotes",
        ["tenant_id", "number", "revision"],
        unique=True,
        postgresql_where=sa.text("delete_time IS NULL AND number != '' AND revision IS NOT NULL"),
    )
    secure("contract_versions", append_only=True)
    secure("contracts")
    secure("credit_exposures")
    secure("credit_holds")
    secure("credit_notes", append_only=True)
    secure("invoices")
    secure("journal_entries", append_only=True)
    secure("payments")
    secure("quotes")
    op.execute(BALANCE)
