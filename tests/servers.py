"""The real PostgreSQL and the real NATS that a test session stands on, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack import databases
from stack.files import secret
from stack.nats import Nats
from stack.postgres import Postgres

# Sessions run side by side on small machines.
MODEST = {"shared_buffers": "32MB", "max_connections": "150", "max_wal_size": "256MB"}


@dataclass(frozen=True)
class Servers:
    """Both servers, running."""

    home: Path
    postgres: Postgres
    nats: Nats

    @property
    def admin_url(self) -> str:
        """The superuser's way into the cluster."""
        return self.postgres.url()

    @property
    def nats_url(self) -> str:
        """The broker."""
        return self.nats.url()

    def database(self, name: str) -> tuple[str, str]:
        """Makes the database *name* with its two roles; answers the owner's URL and the app role's."""
        passwords = {role: secret(self.home, f"postgres/{name}_{role}") for role in ("owner", "app")}
        databases.ensure(
            self.admin_url, name, owner_password=passwords["owner"], app_password=passwords["app"]
        )
        return self.postgres.url(name, f"{name}_owner"), self.postgres.url(name, f"{name}_app")


@contextmanager
def running() -> Iterator[Servers]:
    """Starts one PostgreSQL and one NATS on free ports, and ends exactly these two."""
    home = Path(tempfile.mkdtemp(prefix="tradewind-tests-"))
    home.chmod(0o711)  # PostgreSQL may have to pass as somebody else
    postgres, nats = Postgres(home, os.environ.get("TRADEWIND_POSTGRES_BIN", ""), MODEST), Nats(home)
    try:
        postgres.start()
        nats.start()
        yield Servers(home, postgres, nats)
    finally:
        nats.stop()
        postgres.stop()
        shutil.rmtree(home, ignore_errors=True)
