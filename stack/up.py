"""`tradewind up`: from nothing to everything running, and back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from chassis.settings import Settings
from stack import layout, people, supervisor
from stack.files import is_free, read_json
from stack.nats import NatsFailed
from stack.postgres import PostgresFailed
from stack.running import STOPS_WITHIN, NotPossible, installation, runner
from stack.terminal import Pipe, Reporter, Screen, console, retell, show_addresses, step

ENDS_WITHIN = 30.0
# What belongs to the data of an installation; anything else in the folder is not ours to remove.
OURS = (
    "postgres", "postgres-programs", "nats", "nats.conf", "nats-users.conf", "tls", "keys", "logs", "imports",
    "secrets.json", "ports.json", "sign-ins.json", "state.json", "company.json",
)  # fmt: skip


@dataclass(frozen=True)
class Wishes:
    """How `up` was asked for."""

    fresh: bool = False
    empty: bool = False
    detach: bool = False
    tls: bool = False


def up(wishes: Wishes, report_to: int | None = None) -> int:
    """Start everything and stay until asked to stop (or, detached, until it is ready)."""
    servers = layout.Servers.from_env()
    servers.encrypted = False  # a killed supervisor may have left word of another wish
    if servers.nats:
        servers.nats.encrypted = False
    if wishes.tls:
        servers.encrypt()
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
            _check_ports(servers.home, servers.settings)
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
    if wishes.tls:
        with step(reporter, "Certificates") as doing:
            doing.detail = _command("certify")
    with step(reporter, "PostgreSQL and NATS") as doing:
        running.start_servers()
        doing.detail = _where(running.servers)
    with step(reporter, "Migrations") as doing:
        current = all(map(running.servers.is_current, layout.PROCESSES))
        doing.detail = "nothing to do" if current else _command("migrate")
    with step(reporter, "Services and gateway") as doing:
        running.start_processes()
        doing.detail = f"{len(layout.PROCESSES)} processes"
    if not all(map(running.servers.is_sealed, layout.PROCESSES)):
        with step(reporter, "Personal data of before") as doing:
            doing.detail = _command("keys", "encrypt")
    if not (home / people.MADE).exists():
        _begin_business(wishes, reporter)


def _begin_business(wishes: Wishes, reporter: Reporter) -> None:
    """The first organization; a demo company that stays incomplete leaves a platform that works."""
    try:
        with step(reporter, "Organization" if wishes.empty else "Demo company") as doing:
            doing.detail = _command("seed", *(["--empty"] if wishes.empty else []))
    except NotPossible as failed:
        if wishes.empty:
            raise
        reporter.say(f"{failed}\nThe demo company is not complete; `tradewind seed` goes on with it.")


def _command(*arguments: str) -> str:
    """Have a command done by a process of its own, gone afterwards with all it needed; its last words."""
    done = subprocess.run([sys.executable, "-m", "stack", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise NotPossible(f"`tradewind {' '.join(arguments)}` failed:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout.strip().splitlines()[-1].rstrip(".")


def _where(servers: layout.Servers) -> str:
    postgres = f"127.0.0.1:{servers.postgres.port}" if servers.postgres else "as DATABASE_URL says"
    nats = f"127.0.0.1:{servers.nats.port}" if servers.nats else "as NATS_URL says"
    return f"{postgres}, {nats}"


def _check_ports(home: Path, settings: Settings) -> None:
    """Refuse ports that others listen on; what a killed supervisor left behind is given time to end."""
    deadline = time.monotonic() + (ENDS_WITHIN if (home / supervisor.STATE).exists() else 0)
    for variable, number in (
        ("TRADEWIND_HTTP_PORT", settings.http_port),
        ("TRADEWIND_GRPC_PORT", settings.grpc_port),
    ):
        while not is_free(number, settings.host):
            if time.monotonic() >= deadline:
                raise NotPossible(
                    f"Port {number} is taken by another program; {variable} names another port."
                )
            time.sleep(0.2)


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
    flags = [flag for flag in ("fresh", "empty", "tls") if getattr(wishes, flag)]
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
    encrypted = state["http"].startswith("https")
    show_addresses(
        state["http"],
        state["grpc"],
        people.sign_ins(home),
        str(home / people.SIGN_INS),
        str(home / "tls/ca.crt") if encrypted else "",
    )
