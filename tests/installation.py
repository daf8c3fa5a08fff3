"""A whole installation as a person has it: started, asked and ended by the command line."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from stack import files, layout, people
from stack.api import Api

OURS = ("DATABASE_", "NATS_", "TRADEWIND_", "OTEL_")
SLOWEST = 1500.0


@cache
def _bytecode() -> str:
    """A folder for compiled modules, gone with this process."""
    folder = tempfile.mkdtemp(prefix="tradewind-bytecode-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


class Installation:
    """One TRADEWIND_HOME with ports of its own."""

    def __init__(self, home: Path, **env: str) -> None:
        self.home = home
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(OURS) or k == "TRADEWIND_POSTGRES_BIN"
        }
        # Its processes start hundreds of times: they are compiled once, also where nothing may be written
        # beside the sources.
        if kept.pop("PYTHONDONTWRITEBYTECODE", ""):
            kept.setdefault("PYTHONPYCACHEPREFIX", _bytecode())
        self.env = kept | {
            "TRADEWIND_HOME": str(home),
            "TRADEWIND_HTTP_PORT": str(files.free_port()),
            "TRADEWIND_GRPC_PORT": str(files.free_port()),
        }
        self.env |= env
        self.http = f"http://127.0.0.1:{self.env['TRADEWIND_HTTP_PORT']}"
        self.grpc = f"127.0.0.1:{self.env['TRADEWIND_GRPC_PORT']}"
        self.authority: Path | None = None  # who signed its certificates, where it has any

    def tradewind(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "stack", *arguments],
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=SLOWEST,
        )

    def up(self, *flags: str) -> str:
        """Start everything; what was printed."""
        said = self.tradewind("up", "--detach", *flags)
        assert said.returncode == 0, f"{said.stdout}\n{said.stderr}\n{self.logs()}"
        if "--tls" in flags:
            self.http = self.http.replace("http:", "https:")
            self.authority = self.home / "tls/ca.crt"
        return said.stdout

    def down(self) -> None:
        """End everything."""
        said = self.tradewind("down")
        assert said.returncode == 0, said.stderr

    @contextmanager
    def servers(self) -> Iterator[layout.Servers]:
        """The servers of the running platform, as a command finds them: without a process to be started."""
        with mock.patch.dict(os.environ, self.env, clear=True):
            found = layout.Servers.from_env()
            with found.reachable(running=True):
                yield found

    def state(self) -> dict[str, int]:
        """The process id of everything that runs, by name."""
        state = files.read_json(self.home / "state.json")
        return {process["name"]: process["pid"] for process in state.get("processes", [])}

    def addresses(self) -> dict[str, str]:
        """Where everything that runs is asked whether it lives, by name."""
        state = files.read_json(self.home / "state.json")
        return {process["name"]: process["address"] for process in state.get("processes", [])}

    def sign_in(self, role: str = "administrator") -> dict[str, str]:
        """The first person of that role."""
        return next(person for person in people.sign_ins(self.home) if person["role"] == role)

    async def api(self, role: str = "administrator", **more: Any) -> Api:
        """The calls of the first person of that role."""
        person = self.sign_in(role)
        return await Api(self.http, authority=self.authority, **more).sign_in(
            person["email"], person["password"]
        )

    def logs(self, lines: int = 15) -> str:
        """The end of every log, for a failure's message."""
        found = [self.home / "supervisor.log", *sorted((self.home / "logs").glob("*.log"))]
        ends = [(p.name, p.read_text("utf-8", "replace").splitlines()[-lines:]) for p in found if p.exists()]
        return "\n".join("\n".join([f"== {name}", *end]) for name, end in ends)


@contextmanager
def installed(*flags: str, **env: str) -> Iterator[Installation]:
    """A running installation (`up` with these flags), ended and removed at the end."""
    home = Path(tempfile.mkdtemp(prefix="tradewind-installation-"))
    home.chmod(0o711)
    made = Installation(home, **env)
    try:
        made.up(*flags)
        yield made
    finally:
        made.tradewind("down")
        shutil.rmtree(home, ignore_errors=True)
