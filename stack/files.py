"""Small things kept under TRADEWIND_HOME: secrets, ports, and files nobody else may read."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

HERE = "127.0.0.1"
LARGEST_LOG = 16 * 1024 * 1024
LOWEST_PORT, HIGHEST_PORT = 15_000, 32_000


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; only its owner may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


def open_log(path: Path) -> IO[bytes]:
    """A log to go on with; one that has grown large is put aside first, and the one before that is gone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LARGEST_LOG:
        path.replace(path.with_name(f"{path.name}.1"))
    return path.open("ab")


def read_json(path: Path) -> Any:
    """What *path* holds, or {} when there is no such file."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def variables(path: Path) -> dict[str, str]:
    """The NAME=value lines of a file, or {} when there is no such file; `#` begins a remark."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    pairs = (line.partition("=") for line in map(str.strip, lines) if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


@contextmanager
def kept(path: Path) -> Iterator[dict[str, Any]]:
    """A private JSON file as a dict: read at the start, written back at the end, one process at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        values = read_json(path)
        before = json.dumps(values)
        yield values
        if json.dumps(values) != before:
            write_private(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def secret(home: Path, name: str) -> str:
    """The installation's password called *name*, made at first use."""
    with kept(home / "secrets.json") as known:
        return str(known.setdefault(name, secrets.token_urlsafe(24)))


def is_free(port: int, host: str = HERE) -> bool:
    """Whether something could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port that nobody listens on, below those that the system lends to outgoing connections.

    A port of the lent range may be another process' own end of a connection, or lent to one, by the time
    that it is listened on. On one machine ports are given out in turn: who asks now gets another one than
    who asked a moment ago and does not listen yet.
    """
    with _turn() as turn:
        while not is_free(chosen := LOWEST_PORT + next(turn) % (HIGHEST_PORT - LOWEST_PORT)):
            pass
    return chosen


@contextmanager
def _turn() -> Iterator[Iterator[int]]:
    """Numbers that go on where the last caller stopped, whichever process it was; else from anywhere."""
    path = Path(tempfile.gettempdir()) / f"tradewind-{os.getuid()}.turn"
    anywhere = secrets.randbelow(HIGHEST_PORT - LOWEST_PORT)
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield itertools.count(anywhere)
        return
    with open(number, "r+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        said = file.read(20)
        numbers = itertools.count(int(said) if said.isdigit() else anywhere)
        yield numbers
        file.seek(0)
        file.truncate()
        file.write(str(next(numbers)))


def port(home: Path, name: str) -> int:
    """The port held for *name*: the one of last time while it is free, else another free one."""
    with kept(home / "ports.json") as known:
        while name not in known or not is_free(known[name]):
            if (chosen := free_port()) not in known.values():
                known[name] = chosen
        return int(known[name])


def held(home: Path, name: str) -> int:
    """The port held for *name*, whoever listens there by now."""
    return int(read_json(home / "ports.json")[name])
