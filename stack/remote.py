"""One process' own part of an installation whose servers are elsewhere: its schema, and whether it serves."""

from __future__ import annotations

import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg

from chassis import migrate as migrations
from chassis.settings import Settings
from stack import databases, layout
from stack.running import NotPossible
from stack.terminal import complaints, console

LOOKS_EVERY = 2.0
ANSWERS_WITHIN = 3.0


def migrate(processes: Sequence[str], wait: float | None) -> int:
    """Bring the databases of *processes* to this version; with *wait*, only wait so many seconds for it."""
    for process in processes:
        settings = layout.settings_of(process).require("database_url")
        if wait is not None:
            _wait(process, settings.database_url, wait)
            continue
        if settings.database_admin_url:
            _ensure(process, settings)
        owner = settings.database_owner_url or settings.database_url
        try:
            applied = migrations.upgrade(layout.module_of(process), owner, settings.database_url)
        except psycopg.OperationalError as problem:
            raise NotPossible(f"{process}: the database cannot be asked: {problem}") from problem
        done = f"{', '.join(applied)} applied" if applied else "nothing to do"
        console.print(f"{layout.database_of(process)}: {done}.")
    return 0


def _ensure(process: str, settings: Settings) -> None:
    """The database and its two roles, as the URLs name them."""
    name = layout.database_of(process)
    passwords = {}
    for role, url in (("owner", settings.require("database_owner_url").database_owner_url),
                      ("app", settings.database_url)):  # fmt: skip
        parts = urlsplit(url)
        if (parts.username, parts.path) != (f"{name}_{role}", f"/{name}"):
            raise NotPossible(
                f"With DATABASE_ADMIN_URL, the {role}'s URL must be for {name}_{role} at /{name}; "
                f"it is for {parts.username} at {parts.path}."
            )
        passwords[role] = unquote(parts.password or "")
    databases.ensure(
        settings.database_admin_url, name, owner_password=passwords["owner"], app_password=passwords["app"]
    )


def _wait(process: str, url: str, seconds: float) -> None:
    """Until its database has had at least this version's last migration; a later one is as good."""
    newest, deadline, found = layout.newest_revision(process), time.monotonic() + seconds, "nothing"
    while True:
        try:
            with psycopg.connect(url, connect_timeout=5) as db:
                row = db.execute("SELECT max(version_num) FROM alembic_version").fetchone()
            found = str(row[0]) if row and row[0] else "nothing"
            if row and row[0] and row[0] >= newest:
                console.print(f"{process}: the schema is at {found}, {newest} is needed.")
                return
        except psycopg.Error as problem:
            found = str(problem).strip().splitlines()[-1]
        if time.monotonic() > deadline:
            raise NotPossible(
                f"{process}: the schema is not at {newest} within {seconds:g} s; found: {found}"
            )
        time.sleep(LOOKS_EVERY)


def health(address: str) -> int:
    """0 when the process at *address* says that it serves; otherwise 1, and why."""
    said = _page(address) if "://" in address else _grpc(address)
    if said:
        complaints.print(f"{address}: {said}", style="red", markup=False)
    return 1 if said else 0


def _page(address: str) -> str:
    try:
        with urllib.request.urlopen(address, timeout=ANSWERS_WITHIN, context=_trusting(address)) as answer:
            return "" if answer.status == 200 else f"answers {answer.status}"
    except urllib.error.HTTPError as problem:
        return f"answers {problem.code}"
    except OSError as problem:
        return str(problem)


def _trusting(address: str) -> ssl.SSLContext | None:
    """Whom to believe who answers at an https address: the authority that we are told of, or have."""
    settings = Settings.from_env("")
    known = Path(settings.tls) / "ca.crt" if settings.tls else settings.home / "tls/ca.crt"
    if not address.startswith("https:"):
        return None
    return ssl.create_default_context(cafile=known if known.exists() else None)


def _grpc(address: str) -> str:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    own = Settings.from_env("").tls
    with _asking_ourselves(own, address) if own else grpc.insecure_channel(address) as channel:
        try:
            asked = health_pb2_grpc.HealthStub(channel)
            answer = asked.Check(health_pb2.HealthCheckRequest(), timeout=ANSWERS_WITHIN)
        except grpc.RpcError as problem:
            return str(problem.code().name)
    state = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return "" if state == "SERVING" else state


def _asking_ourselves(own: str, address: str) -> Any:
    """A channel as the process whose certificate we hold, to itself."""
    from chassis.tls import Folder
    from stack.pulse import channel_to

    name = Folder(own, "TRADEWIND_TLS", authorities=True).pems.uris[0]
    return channel_to(address, name.rpartition("/")[2], Path(own))
