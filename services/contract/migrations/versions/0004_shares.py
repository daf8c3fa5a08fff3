"""A record can be shared with a user or a team; who collaborates is found by an index."""

from chassis.migrate import install_shares

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    install_shares(
        "quotes",
        "contracts",
        "contract_versions",
        "invoices",
        "credit_notes",
        "payments",
        "journal_entries",
        "credit_exposures",
    )
