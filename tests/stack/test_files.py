"""What is kept under TRADEWIND_HOME: private, and the same next time."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stack import files


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


def test_who_asks_at_once_gets_another_port_though_nobody_listens_yet():
    asked = "from stack import files; print(*(files.free_port() for _ in range(200)))"
    asking = [subprocess.Popen([sys.executable, "-c", asked], stdout=subprocess.PIPE) for _ in range(4)]
    ports = [port for one in asking for port in one.communicate()[0].split()]
    assert len(ports) == 800 == len(set(ports))


def test_a_private_file_is_replaced_whole_and_read_by_its_owner_alone(home: Path):
    path = home / "deep" / "sign-ins.json"
    files.write_private(path, "[]")
    files.write_private(path, "[1]")
    assert path.read_text() == "[1]"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [other.name for other in path.parent.iterdir()] == ["sign-ins.json"]


def test_a_log_that_has_grown_large_is_put_aside(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "LARGEST_LOG", 5)
    for text in (b"first", b" goes on", b"second"):
        with files.open_log(home / "a.log") as log:
            log.write(text)
    assert (home / "a.log.1").read_bytes() == b"first goes on"
    assert (home / "a.log").read_bytes() == b"second"


def test_variables_are_read_line_by_line(home: Path):
    path = home / "environment" / "customer.env"
    assert files.variables(path) == {}
    path.parent.mkdir()
    path.write_text(
        "# louder, for a day\nTRADEWIND_LOG_LEVEL = DEBUG\n\nNATS_URL=nats://a:b=c@127.0.0.1:4222\n"
    )
    found = {"TRADEWIND_LOG_LEVEL": "DEBUG", "NATS_URL": "nats://a:b=c@127.0.0.1:4222"}
    assert files.variables(path) == found
