"""`tradewind up`, `down` and `status`: one installation, started once at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from chassis.settings import Settings
from stack import layout, supervisor
from stack.files import is_free, read_json, write_private
from stack.nats import NatsFailed
from stack.postgres import PostgresFailed
from stack.terminal import Pipe, Reporter, Screen, complaints, console, retell, show_addresses, step

STOPS_WITHIN = 90.0
# What belongs to the data of an installation; anything else in the folder is not ours to remove.
OURS = (
    "postgres", "postgres-programs", "nats", "nats.conf", "keys", "logs", "imports",
    "secrets.json", "ports.json", "sign-ins.json", "state.json",
)  # fmt: skip


class NotPossible(Exception):
    """A command cannot be carried out; the message says what would be right."""


@dataclass(frozen=True)
class Wishes:
    """How `up` was asked for."""

    fresh: bool = False
    empty: bool = False
    detach: bool = False


@contextmanager
def installation(home: Path) -> Iterator[None]:
    """Being the one that runs this installation; refuses when another process is."""
    home.mkdir(parents=True, exist_ok=True)
    with open(home / "running.lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotPossible(
                f"Tradewind is already running in {home} (process {_pid(file)}); `tradewind down` ends it."
            ) from None
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def runner(home: Path) -> int:
    """The process that runs this installation, or 0. The lock tells, so a stale number is never believed."""
    path = home / "running.lock"
    if not path.exists():
        return 0
    with open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _pid(file)
    return 0


def _pid(file: IO[str]) -> int:
    file.seek(0)
    text = file.read().strip()
    return int(text) if text.isdigit() else 0


def up(wishes: Wishes, report_to: int | None = None) -> int:
    """Start everything and stay until asked to stop (or, detached, until it is ready)."""
    servers = layout.Servers.from_env()
    if wishes.fresh and not (servers.postgres and servers.nats):
        raise NotPossible("--fresh empties the embedded servers; a DATABASE_URL or NATS_URL names others.")
    if wishes.detach:
        return _detached(servers, wishes)
    pipe = Pipe(os.fdopen(report_to, "w")) if report_to is not None else None
    screen = Screen()
    with installation(servers.home):
        running = supervisor.Supervisor(servers)
        _listen_for_the_end(running)
        try:
            _check_ports(servers.settings)
            _start(running, wishes, pipe or screen)
            if pipe:
                pipe.ready()
            else:
                _show(servers.home)
                console.print("[dim]Ctrl-C stops it.[/]")
            running.watch()
        except (NotPossible, PostgresFailed, NatsFailed, supervisor.StartFailed) as failed:
            if not pipe:
                raise NotPossible(str(failed)) from failed
            pipe.failed(str(failed))
            return 1
        except KeyboardInterrupt:
            pass
        finally:
            screen.close()
            _say_stopping(pipe)
            _hold_still()
            running.stop()
    if not pipe:
        console.print("Tradewind has stopped; its data are kept.")
    return 0


def _start(running: supervisor.Supervisor, wishes: Wishes, reporter: Reporter) -> None:
    home = running.servers.home
    if wishes.fresh:
        with step(reporter, "Starting over"):
            _remove(home)
    with step(reporter, "PostgreSQL and NATS") as doing:
        running.start_servers()
        doing.detail = _where(running.servers)
    with step(reporter, "Migrations") as doing:
        doing.detail = migrate(running.servers)
    with step(reporter, "Services and gateway") as doing:
        running.start_processes()
        doing.detail = f"{len(layout.PROCESSES)} processes"
    if not wishes.empty and not (home / "sign-ins.json").exists():
        from stack import demo

        with step(reporter, "Demo company") as doing:
            doing.detail = demo.make(running.http, home)


def migrate(servers: layout.Servers) -> str:
    """Bring every database to this version, side by side; a sentence on what was done."""
    raise NotPossible(f"There are no migrations in {servers.home}.")


def _where(servers: layout.Servers) -> str:
    postgres = f"127.0.0.1:{servers.postgres.port}" if servers.postgres else "as DATABASE_URL says"
    nats = f"127.0.0.1:{servers.nats.port}" if servers.nats else "as NATS_URL says"
    return f"{postgres}, {nats}"


def _check_ports(settings: Settings) -> None:
    for variable, number in (
        ("TRADEWIND_HTTP_PORT", settings.http_port),
        ("TRADEWIND_GRPC_PORT", settings.grpc_port),
    ):
        if not is_free(number, settings.host):
            raise NotPossible(f"Port {number} is taken by another program; {variable} names another port.")


def _remove(home: Path) -> None:
    for name in OURS:
        path = home / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _listen_for_the_end(running: supervisor.Supervisor) -> None:
    """SIGTERM and Ctrl-C end a start under way at once, and a running platform at its next look."""

    def end(number: int, frame: FrameType | None) -> None:
        if running.stopping:
            return
        running.stopping = True
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)


def _hold_still() -> None:
    """While stopping, a second Ctrl-C does not leave half of the processes behind."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _say_stopping(pipe: Pipe | None) -> None:
    if not pipe:
        console.print("\nStopping …")


def _detached(servers: layout.Servers, wishes: Wishes) -> int:
    """Start `up` as a process of its own and wait until it says that it is ready."""
    home = servers.home
    if pid := runner(home):
        raise NotPossible(
            f"Tradewind is already running in {home} (process {pid}); `tradewind down` ends it."
        )
    (home / "logs").mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    flags = [flag for flag in ("fresh", "empty") if getattr(wishes, flag)]
    with open(home / "supervisor.log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "stack", "up", f"--report-to={writing}", *(f"--{flag}" for flag in flags)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[writing],
            start_new_session=True,
        )
    os.close(writing)
    screen = Screen()
    try:
        with os.fdopen(reading) as lines:
            why = retell(lines, screen)
    except KeyboardInterrupt:
        process.terminate()
        why = "Interrupted; everything is stopped again."
    finally:
        screen.close()
    if why is not None:
        process.wait(STOPS_WITHIN)
        said = supervisor.last_words(home / "supervisor.log", 4)
        raise NotPossible(f"{why}\n{said}".strip() if why.startswith("It ended") else why)
    _show(home)
    console.print("[dim]`tradewind down` ends it.[/]")
    return 0


def _show(home: Path) -> None:
    state = read_json(home / "state.json")
    sign_ins = read_json(home / "sign-ins.json") or []
    show_addresses(state["http"], state["grpc"], sign_ins, str(home / "sign-ins.json"))


def down() -> int:
    """End what `up` started; nothing else."""
    home = Settings.from_env("").home.absolute()
    pid = runner(home)
    if not pid:
        console.print(f"Tradewind is not running in {home}.")
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOPS_WITHIN
    with console.status("Stopping"):
        while runner(home) == pid:
            if time.monotonic() > deadline:
                raise NotPossible(
                    f"Process {pid} is still stopping after {STOPS_WITHIN:.0f} s; see {home}/logs."
                )
            time.sleep(0.1)
    console.print("Tradewind has stopped; its data are kept.")
    return 0


def status() -> int:
    """What runs, one line a process; exit code 3 when nothing does."""
    home = Settings.from_env("").home.absolute()
    pid = runner(home)
    if not pid:
        complaints.print(f"Tradewind is not running in {home}.")
        return 3
    state = read_json(home / "state.json")
    console.print(f"Tradewind runs in {home} (process {pid}): HTTP {state['http']}, gRPC {state['grpc']}")
    for process in state["processes"]:
        console.print(
            f"  {process['name']:<12} {process['pid']:>7}  {process['restarts']} restarts  {process['log']}"
        )
    return 0


def keep_sign_ins(home: Path, people: list[dict[str, str]]) -> None:
    """Add people who may sign in to the private list of the installation."""
    import json

    known = read_json(home / "sign-ins.json") or []
    named = {person["email"] for person in people}
    merged = [person for person in known if person["email"] not in named] + people
    write_private(home / "sign-ins.json", json.dumps(merged, indent=2, ensure_ascii=False) + "\n")
