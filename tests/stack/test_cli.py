"""What the command line says when it cannot do what it is asked: a sentence and an exit code."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stack import layout

SIX = {f"DATABASE_URL_{name.upper()}": f"postgresql://u:p@127.0.0.1:1/{name}" for name in layout.DATABASES}


def tradewind(home: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("DATABASE_", "NATS_", "TRADEWIND_"))}
    return subprocess.run(
        [sys.executable, "-m", "stack", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=clean | {"TRADEWIND_HOME": str(home)} | env,
    )


def test_a_port_that_is_taken_is_named_with_the_variable_that_names_another(home: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        answer = tradewind(home, "up", TRADEWIND_HTTP_PORT=port)
    assert answer.returncode == 1
    assert f"Port {port} is taken by another program; TRADEWIND_HTTP_PORT names another" in answer.stderr
    assert not (home / "postgres").exists()


@pytest.mark.parametrize("flags", [(), ("--detach",)])
def test_a_second_start_is_refused_and_says_who_runs(home: Path, flags: tuple[str, ...]):
    with open(home / "running.lock", "w") as lock:
        lock.write("4242\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = tradewind(home, "up", *flags)
    assert answer.returncode == 1
    assert (
        "already running" in answer.stderr and "4242" in answer.stderr and "tradewind down" in answer.stderr
    )


def test_down_does_not_touch_a_process_that_a_stale_note_names(home: Path):
    (home / "running.lock").write_text(f"{os.getpid()}\n")
    answer = tradewind(home, "down")
    assert answer.returncode == 0
    assert "is not running" in answer.stdout


def test_status_of_nothing_is_exit_code_3(home: Path):
    answer = tradewind(home, "status")
    assert (answer.returncode, "is not running" in answer.stderr) == (3, True)


def test_half_a_set_of_databases_is_refused(home: Path):
    env = {name: url for name, url in SIX.items() if name != "DATABASE_URL_CONTRACT"}
    answer = tradewind(home, "up", **env)
    assert answer.returncode == 1
    assert "DATABASE_URL_CONTRACT is not set, though others are" in answer.stderr


def test_two_services_in_one_database_are_refused(home: Path):
    answer = tradewind(home, "up", DATABASE_URL="postgresql://u:p@127.0.0.1:1/all")
    assert answer.returncode == 1
    assert "customer and opportunity would share a database" in answer.stderr


def test_fresh_does_not_empty_servers_of_your_own(home: Path):
    answer = tradewind(home, "up", "--fresh", **SIX)
    assert answer.returncode == 1
    assert "--fresh empties the embedded servers" in answer.stderr


def test_a_wrong_setting_is_a_sentence(home: Path):
    answer = tradewind(home, "up", TRADEWIND_GRPC_PORT="ninety")
    assert answer.returncode == 1
    assert (
        answer.stderr.strip() == "TRADEWIND_GRPC_PORT must be a port number from 1 to 65535; 'ninety' is not."
    )


def test_an_unknown_command_or_service_is_refused_with_the_choices(home: Path):
    for arguments in (("fly",), ("serve", "shipping")):
        answer = tradewind(home, *arguments)
        assert answer.returncode == 2
        assert "invalid choice" in answer.stderr and "Traceback" not in answer.stderr
