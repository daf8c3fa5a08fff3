"""Servers of one's own: databases made and migrated by their URLs, secrets made once, health asked."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from chassis.identity import Signer, Validator
from stack import layout, remote, secret_files
from stack.__main__ import parser as commands
from stack.nats import binary
from stack.running import NotPossible
from tests.platform import Platform
from tests.servers import Servers, running


@pytest.fixture(scope="module")
def cluster() -> Iterator[Servers]:
    """A cluster without any of our databases, apart from the session's own."""
    with running() as found:
        yield found


@pytest.fixture
def told(cluster: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the URLs of a database that is not there yet, and an environment that names its files."""
    at = urlsplit(cluster.admin_url)
    host = f"{at.hostname}:{at.port}"
    texts = {
        "DATABASE_ADMIN_URL_FILE": cluster.admin_url,
        "DATABASE_OWNER_URL_ACCESS_FILE": f"postgresql://access_owner:one%2Fsecret@{host}/access",
        "DATABASE_URL_ACCESS_FILE": f"postgresql://access_app:another@{host}/access",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text + "\n")
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


def test_a_database_is_made_and_migrated_as_its_urls_say(told: Path):
    app = (told / "DATABASE_URL_ACCESS_FILE").read_text().strip()
    with pytest.raises(NotPossible, match="the schema is not at 0"):
        remote.migrate(["gateway"], wait=0)
    assert remote.migrate(["gateway"], wait=None) == 0
    assert remote.migrate(["gateway"], wait=0) == 0
    with psycopg.connect(app) as db:
        newest = layout.newest_revision("gateway")
        assert db.execute("SELECT version_num FROM alembic_version").fetchall() == [(newest,)]
        assert db.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'users'").fetchall() == [
            ("access_owner",)
        ]
    with psycopg.connect((told / "DATABASE_OWNER_URL_ACCESS_FILE").read_text().strip()) as owner:
        owner.execute("UPDATE alembic_version SET version_num = '9999'")
    # An older version starts on a newer schema: they run side by side while one replaces the other.
    assert remote.migrate(["gateway"], wait=0) == 0


def test_urls_that_name_other_roles_are_refused_before_anything_is_made(told: Path):
    (told / "DATABASE_URL_ACCESS_FILE").write_text("postgresql://me:secret@127.0.0.1:1/access")
    with pytest.raises(NotPossible, match="must be for access_app at /access; it is for me"):
        remote.migrate(["gateway"], wait=None)


async def test_health_is_what_the_process_says(platform: Platform):
    customer = await platform.service("customer")
    asked = [sys.executable, "-m", "stack", "health"]
    good = await asyncio.create_subprocess_exec(*asked, customer.address)
    assert await good.wait() == 0
    bad = await asyncio.create_subprocess_exec(*asked, "127.0.0.1:1", stderr=subprocess.PIPE)
    said = (await bad.communicate())[1].decode()
    assert bad.returncode == 1 and "UNAVAILABLE" in said


def test_secrets_are_made_once_and_each_process_gets_one_key(tmp_path: Path, capsys):
    folder = tmp_path / "secrets"
    assert secret_files.make(folder, None) == 0
    assert folder.stat().st_mode & 0o777 == 0o700
    before = {path.name: path.read_text() for path in folder.iterdir()}
    assert secret_files.make(folder, "tradewind") == 0
    assert {path.name: path.read_text() for path in folder.iterdir()} == before
    items = json.loads(capsys.readouterr().out)["items"]
    secrets = {item["metadata"]["name"]: item for item in items if item["kind"] == "Secret"}
    for process in layout.PROCESSES:
        assert set(secrets[f"{process}-key"]["data"]) == {f"{process}.pem", f"{process}.master"}
    login = {k: base64.b64decode(v).decode() for k, v in secrets["customer-database-app"]["data"].items()}
    parts = urlsplit(login["uri"])
    assert (login["username"], login["password"]) == (parts.username, parts.password)
    client = base64.b64decode(secrets["nats-customer"]["data"]["uri"]).decode()
    assert client.startswith("nats://customer:") and client.endswith("@nats:4222")
    public = next(item for item in items if item["kind"] == "ConfigMap")
    (tmp_path / "jwks.json").write_text(public["data"]["jwks.json"])
    known = Validator.load(tmp_path)
    token = Signer.load(folder, "customer")
    assert token.name == "customer" and known


def test_over_tls_users_at_the_broker_keep_their_passwords_and_their_rights_are_new(tmp_path: Path):
    secret_files.make(tmp_path, None)
    former = urlsplit((tmp_path / "customer_nats_url").read_text())
    rights = (tmp_path / "nats-auth.conf").read_text()
    (tmp_path / "nats-auth.conf").write_text("what another release said")
    secret_files.make(tmp_path, None, encrypted=True)
    now = urlsplit((tmp_path / "customer_nats_url").read_text())
    assert (now.scheme, now.password) == ("tls", former.password)
    assert (tmp_path / "nats-auth.conf").read_text() == rights


def test_the_brokers_files_are_what_a_broker_reads(tmp_path: Path):
    secret_files.make(tmp_path, None)
    (tmp_path / "nats.conf").write_text(
        'include "nats-auth.conf"\ncluster {\n  name: "x"\n  include "nats-cluster.conf"\n}\n'
    )
    said = subprocess.run([binary(), "-t", "-c", tmp_path / "nats.conf"], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr


def test_migrate_takes_no_process_or_several() -> None:
    assert commands().parse_args(["migrate"]).process == []
    assert commands().parse_args(["migrate", "customer", "gateway"]).process == ["customer", "gateway"]
    with pytest.raises(SystemExit):
        commands().parse_args(["migrate", "nobody"])
