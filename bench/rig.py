"""What a benchmark runs on: a PostgreSQL, a broker, and just the processes it asks for."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from bench.cpu import spent, spent_by_all
from chassis import migrate
from chassis.identity import Principal, Signer
from stack import files, layout
from stack.supervisor import Child, Supervisor, wait_ready


class Rig:
    """The servers, and the processes by name."""

    def __init__(self, servers: layout.Servers) -> None:
        self.servers = servers
        self.children: dict[str, Child] = {}
        self.signer = Signer.load(servers.home / "keys", "gateway")

    def url(self, process: str, owner: bool = False) -> str:
        """A process' database, as its role or as the owner of its tables."""
        return self.servers.urls(process)[0 if owner else 1]

    def all_of(self, process: str) -> str:
        """A process' database as the superuser, who sees every organization."""
        assert self.servers.postgres
        return self.servers.postgres.url(layout.database_of(process))

    def analyze(self, process: str) -> None:
        """Let PostgreSQL know what is in the tables, as it finds out by itself within some minutes."""
        with psycopg.connect(self.all_of(process), autocommit=True) as db:
            db.execute("ANALYZE")

    @property
    def postgres(self) -> int:
        """The process id of the postmaster."""
        assert self.servers.postgres and self.servers.postgres.process
        return self.servers.postgres.process.pid

    @property
    def tools(self) -> Path:
        """The folder of PostgreSQL's programs."""
        assert self.servers.postgres
        return self.servers.postgres.bin

    def pid(self, process: str) -> int:
        """The process id of a process."""
        found = self.children[process].process
        assert found
        return found.pid

    def address(self, process: str) -> str:
        """Where a process answers gRPC."""
        return self.servers.address(process)

    @property
    def http(self) -> tuple[str, int]:
        """Where the gateway answers HTTP."""
        return self.servers.settings.host, self.servers.settings.http_port

    def token(self, who: Principal) -> str:
        """What the gateway would tell a service of this caller."""
        return self.signer.mint(who, 120)

    def start(self, process: str, **env: str) -> None:
        """Migrate its database and start a process."""
        migrate.upgrade(layout.module_of(process), self.url(process, owner=True), self.url(process))
        told = self.servers.environment(process) | env
        host, port = self.http
        ready = f"http://{host}:{port}/healthz" if process == layout.GATEWAY else self.address(process)
        child = Child(process, told, self.servers.home / "logs" / f"{process}.log", ready)
        child.spawn()
        wait_ready([child])
        self.children[process] = child

    def cpu(self, *processes: str) -> dict[str, float]:
        """CPU seconds so far of these processes, and of PostgreSQL with all its children."""
        found = {name: spent(self.pid(name)) for name in processes}
        return found | {"postgres": spent_by_all(self.postgres)}


@contextmanager
def rig(*processes: str, broker: bool = True, **env: str) -> Iterator[Rig]:
    """A rig with these processes at work, told *env* besides; ended and removed afterwards."""
    home = Path(tempfile.mkdtemp(prefix="tradewind-bench-"))
    home.chmod(0o711)  # PostgreSQL may have to pass as somebody else
    said = {
        "TRADEWIND_HOME": str(home),
        "TRADEWIND_HTTP_PORT": str(files.free_port()),
        "TRADEWIND_GRPC_PORT": str(files.free_port()),
    }
    os.environ.update(said)
    running = Supervisor(layout.Servers.from_env())
    made: Rig | None = None
    try:
        if not broker:
            running.servers.nats = None
        running.start_servers()
        made = Rig(running.servers)
        for process in processes:
            made.start(process, **env)
        yield made
    finally:
        for child in made.children.values() if made else ():
            child.stop()
        running.stop()
        shutil.rmtree(home, ignore_errors=True)
