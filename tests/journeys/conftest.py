"""The whole platform as processes, as a newcomer starts it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journeys.api import Api, GrpcApi, HttpApi

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Stack:
    """A running platform: where it is, and who may sign in."""

    home: Path
    environment: dict[str, str]
    http: str
    grpc: str
    email: str
    password: str

    def command(self, *arguments: str, check: bool = True) -> str:
        """What `tradewind …` prints."""
        done = subprocess.run(
            [sys.executable, "-m", "stack", *arguments], cwd=ROOT, env=self.environment, capture_output=True,
            text=True, timeout=600,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def api(self, kind: str) -> Api:
        """The API over "http" or "grpc", as nobody yet."""
        return HttpApi(self.http) if kind == "http" else GrpcApi(self.grpc)


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """`tradewind up --empty --detach`, and `tradewind down` at the end."""
    home = tmp_path_factory.mktemp("stack")
    home.chmod(0o711)
    http, edge = free_port(), free_port()
    environment = os.environ | {
        "TRADEWIND_HOME": str(home), "TRADEWIND_HTTP_PORT": str(http), "TRADEWIND_GRPC_PORT": str(edge),
    }  # fmt: skip
    said = Stack(home, environment, f"http://127.0.0.1:{http}", f"127.0.0.1:{edge}", "", "")
    said.command("up", "--empty", "--detach")
    try:
        first = json.loads((home / "sign-ins.json").read_text())[0]
        yield Stack(home, environment, said.http, said.grpc, first["email"], first["password"])
    finally:
        said.command("down", check=False)
