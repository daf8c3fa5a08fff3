"""What is kept under TRADEWIND_HOME: private, and the same next time."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from stack import files, keys


def test_a_secret_is_made_once(home: Path):
    assert files.secret(home, "nats") == files.secret(home, "nats") != files.secret(home, "other")


def test_a_port_stays_while_it_is_free_and_gives_way_when_it_is_taken(home: Path):
    first = files.port(home, "nats")
    assert files.port(home, "nats") == first
    with socket.socket() as taken:
        taken.bind((files.HERE, first))
        taken.listen()
        assert files.port(home, "nats") != first


def test_two_purposes_never_get_the_same_port(home: Path):
    ports = [files.port(home, f"purpose {n}") for n in range(20)]
    assert len(set(ports)) == 20


def test_a_private_file_is_replaced_whole_and_read_by_its_owner_alone(home: Path):
    path = home / "deep" / "sign-ins.json"
    files.write_private(path, "[]")
    files.write_private(path, "[1]")
    assert path.read_text() == "[1]"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [other.name for other in path.parent.iterdir()] == ["sign-ins.json"]


def test_each_process_has_a_key_of_its_own_and_all_know_the_public_halves(home: Path):
    keys.ensure(home / "keys", ("gateway", "customer"))
    pair = load_pem_private_key((home / "keys/customer.pem").read_bytes(), None)
    secret = (home / "keys/secret.bin").read_text()
    keys.ensure(home / "keys", ("gateway", "customer", "contract"))
    known = json.loads((home / "keys/jwks.json").read_text())["keys"]
    assert [key["kid"] for key in known] == ["gateway", "customer", "contract"]
    assert len({key["x"] for key in known}) == 3
    again = load_pem_private_key((home / "keys/customer.pem").read_bytes(), None)
    assert again.private_bytes_raw() == pair.private_bytes_raw()
    assert (home / "keys/secret.bin").read_text() == secret
    assert "d" not in known[0]
    for path in (home / "keys").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
