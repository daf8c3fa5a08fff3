"""Which processes there are, where each is found, and what each is told in its environment."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from chassis.identity import make_keys
from chassis.settings import Settings, SettingsInvalid
from stack import databases, files
from stack.nats import Nats
from stack.postgres import Postgres

SERVICES = ("customer", "opportunity", "contract", "inventory", "analytics")
GATEWAY = "gateway"
PROCESSES = (*SERVICES, GATEWAY)
REBUILDABLE = ("analytics",)  # all it keeps follows from other services' facts


def database_of(process: str) -> str:
    """What a process calls its database: the gateway keeps `access`."""
    return "access" if process == GATEWAY else process


DATABASES = tuple(database_of(process) for process in PROCESSES)


def module_of(process: str) -> str:
    """The Python module that is this process."""
    return GATEWAY if process == GATEWAY else f"services.{process}"


def revisions(process: str) -> list[str]:
    """The migrations of its database, the first one first; read without loading any of them."""
    folder = Path(str(importlib.util.find_spec(module_of(process)).origin)).parent  # type: ignore[union-attr]
    return sorted(path.name[:4] for path in (folder / "migrations/versions").glob("[0-9]*.py"))


def newest_revision(process: str) -> str:
    """The last of its migrations."""
    return next(reversed(revisions(process)), "")


def settings_of(process: str, env: Mapping[str, str] | None = None) -> Settings:
    """The settings of one process."""
    return Settings.from_env(process, database=database_of(process), env=env)


@dataclass
class Servers:
    """The PostgreSQL and the NATS of this installation: embedded unless the environment names others."""

    settings: Settings
    postgres: Postgres | None
    nats: Nats | None
    encrypted: bool = False  # certificates everywhere, as `up --tls` starts it

    @classmethod
    def from_env(cls) -> Servers:
        """Decide which servers are embedded; half a set of DATABASE_URLs is refused."""
        settings = Settings.from_env("")
        home = settings.home.absolute()
        urls = {process: settings_of(process).database_url for process in PROCESSES}
        missing = [database_of(process).upper() for process, url in urls.items() if not url]
        if missing and len(missing) < len(PROCESSES):
            raise SettingsInvalid(
                f"DATABASE_URL_{missing[0]} is not set, though others are: set them all, or none."
            )
        if not missing:
            _check_apart(urls)
        found = cls(
            settings=settings,
            postgres=Postgres(home, settings.postgres_bin) if missing else None,
            nats=None if settings.nats_url else Nats(home),
        )
        return found.encrypt() if found.address_of_api().startswith("https") else found

    def encrypt(self) -> Servers:
        """Speak over TLS from now on, with the certificates in the installation's folder `tls`."""
        self.encrypted = True
        if self.nats:
            self.nats.encrypted = True
        return self

    @property
    def certificates(self) -> Path:
        """Where the certificates of an encrypted installation are."""
        return self.home / "tls"

    @property
    def authority(self) -> Path | None:
        """Who signed the API's certificate; None where it has none."""
        return self.certificates / "ca.crt" if self.encrypted else None

    def address_of_api(self) -> str:
        """Where the running platform's API is, or ""."""
        return str(files.read_json(self.home / "state.json").get("http", ""))

    @property
    def home(self) -> Path:
        """The installation's folder."""
        return self.settings.home.absolute()

    def prepare(self) -> None:
        """Make databases, roles and keys that are not there yet. PostgreSQL is up."""
        self.home.mkdir(parents=True, exist_ok=True)
        if self.settings.keys == self.settings.home / "keys":
            make_keys(self.home / "keys", list(PROCESSES))
        for name in DATABASES if self.postgres else ():
            assert self.postgres
            databases.ensure(
                self.postgres.url(),
                name,
                owner_password=files.secret(self.home, f"postgres/{name}_owner"),
                app_password=files.secret(self.home, f"postgres/{name}_app"),
            )

    def environment(self, process: str) -> dict[str, str]:
        """What *process* is told: its own database and broker, and where it and its peers are reached.

        `environment/<process>.env` in the installation's folder has the last word, for this process alone:
        another log level, or a peer that is reached by way of a proxy.
        """
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(
                ("DATABASE_", "TRADEWIND_LISTEN", "TRADEWIND_ADDRESS", "TRADEWIND_METRICS")
            )
        }
        env |= {"TRADEWIND_HOME": str(self.home), "PYTHONUNBUFFERED": "1"}
        env.setdefault("TRADEWIND_KEYS", str(self.home / "keys"))
        env.setdefault("TRADEWIND_DRAIN", "0")  # one of each: nobody can go elsewhere meanwhile
        upper = process.upper()
        env[f"DATABASE_URL_{database_of(process).upper()}"] = self.urls(process)[1]
        env["NATS_URL"] = self.nats.url(process) if self.nats else self.settings.nats_url
        if self.encrypted:
            env["TRADEWIND_TLS"] = str(self.certificates / process)
            env["TRADEWIND_DOOR_TLS"] = str(self.certificates / "door")
        env[f"TRADEWIND_LISTEN_{upper}"] = self.address(process)
        env[f"TRADEWIND_METRICS_LISTEN_{upper}"] = self.address(process, "metrics")
        for peer in PROCESSES:
            env[f"TRADEWIND_ADDRESS_{database_of(peer).upper()}"] = self.address(peer)
        return env | files.variables(self.home / "environment" / f"{process}.env")

    def address(self, process: str, purpose: str = "grpc") -> str:
        """Where a process listens; the same as long as the port is free."""
        return f"{files.HERE}:{files.held(self.home, f'{process}/{purpose}')}"

    def choose_ports(self) -> None:
        """Hold a free port for every process, before the first one starts."""
        for process in PROCESSES:
            for purpose in ("grpc", "metrics"):
                files.port(self.home, f"{process}/{purpose}")

    @contextmanager
    def reachable(self, running: bool) -> Iterator[None]:
        """The servers of the *running* platform; else PostgreSQL, for as long as one command takes."""
        if running:
            for server in (self.postgres, self.nats):
                if server:
                    server.port = files.held(self.home, server.name)
            yield
        elif self.postgres:
            try:
                self.postgres.start()
                self.prepare()
                yield
            finally:
                self.postgres.stop()
        else:
            yield

    def is_current(self, process: str) -> bool:
        """Whether its database has had the last of its migrations."""
        try:
            with psycopg.connect(self.urls(process)[0], connect_timeout=5) as db:
                found = db.execute("SELECT version_num FROM alembic_version").fetchall()
        except psycopg.Error:
            return False
        return found == [(newest_revision(process),)]

    def is_sealed(self, process: str) -> bool:
        """Whether its database keeps no personal data in plain, as releases before did."""
        try:
            with psycopg.connect(self.urls(process)[0], connect_timeout=5) as db:
                return not db.execute("SELECT 1 FROM sealing WHERE phase <> 'SEALED'").fetchall()
        except psycopg.errors.UndefinedTable:
            return True  # it keeps none

    def urls(self, process: str) -> tuple[str, str]:
        """How the owner of a process' tables and the process itself reach its database."""
        name, own = database_of(process), settings_of(process)
        if not self.postgres:
            return own.database_owner_url or own.database_url, own.database_url
        return self.postgres.url(name, f"{name}_owner"), self.postgres.url(name, f"{name}_app")


def _check_apart(urls: Mapping[str, str]) -> None:
    seen: dict[tuple[str | None, int | None, str], str] = {}
    for process, url in urls.items():
        parts = urlsplit(url)
        where = (parts.hostname, parts.port, parts.path)
        if where in seen:
            raise SettingsInvalid(
                f"{seen[where]} and {process} would share a database; each service needs one of its own: "
                f"set DATABASE_URL_{database_of(process).upper()}."
            )
        seen[where] = process


def command(process: str, *arguments: str) -> list[str]:
    """How a process of ours is started."""
    return [sys.executable, "-m", module_of(process), *arguments]
