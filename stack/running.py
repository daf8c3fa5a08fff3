"""Who runs an installation: one process at a time, found by its lock, ended by `tradewind down`."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from chassis.settings import Settings
from stack.files import read_json
from stack.terminal import complaints, console

STOPS_WITHIN = 90.0
HELD = "held"  # one file a process, locked by the command that wants it stopped


class NotPossible(Exception):
    """A command cannot be carried out; the message says what would be right."""


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


@contextmanager
def held(home: Path, processes: Iterable[str]) -> Iterator[None]:
    """While these processes of the running platform are stopped; they start again however this one ends."""
    (home / HELD).mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for process in processes:
            file = stack.enter_context(open(home / HELD / process, "a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise NotPossible(f"Another command holds {process} back; wait until it is done.") from None
        yield


def is_held(home: Path, process: str) -> bool:
    """Whether a living command wants this process stopped."""
    path = home / HELD / process
    if not path.exists():
        return False
    with open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _pid(file: IO[str]) -> int:
    file.seek(0)
    text = file.read().strip()
    return int(text) if text.isdigit() else 0


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
    """What runs, one line a process; exit code 3 when nothing does, 1 when something does not answer."""
    from stack.pulse import Heard, ask

    home = Settings.from_env("").home.absolute()
    pid = runner(home)
    if not pid:
        complaints.print(f"Tradewind is not running in {home}.")
        return 3
    state = read_json(home / "state.json")
    console.print(f"Tradewind runs in {home} (process {pid}): HTTP {state['http']}, gRPC {state['grpc']}")
    processes = state["processes"]
    with ThreadPoolExecutor(max_workers=max(1, len(processes))) as crowd:
        asked = partial(ask, certificates=home / "tls" if state["http"].startswith("https") else None)
        heard = list(crowd.map(asked, (process.get("address", "") for process in processes)))
    for process, said in zip(processes, heard, strict=True):
        console.print(
            f"  {process['name']:<12} {process['pid']:>7}  {said:<16} {process['restarts']} restarts"
            f"  {process['log']}",
            style=None if said == Heard.ANSWERS else "red",
        )
    return 0 if all(said == Heard.ANSWERS for said in heard) else 1
