"""Everything at once."""

from alembic import op

from chassis.migrate import install, secure
from tests.chassis.notes import NoteStore

revision = "0001"
down_revision = None


def upgrade() -> None:
    install()
    NoteStore.metadata.create_all(op.get_bind())
    for table in NoteStore.metadata.tables:
        secure(table)
