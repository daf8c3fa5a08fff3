"""What the service's role does not need is taken from it: functions are nobody else's, numbers the owner's."""

from chassis.migrate import close

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    close()
