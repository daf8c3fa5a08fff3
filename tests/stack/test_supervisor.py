"""What the supervisor does with a process that ends: again, later and later, and never for one that stays."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from stack import launch, supervisor
from stack.supervisor import Child, StartFailed, Watched, wait_ready


class Clock:
    """Time that a test moves by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(supervisor, "time", self)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Lives(Child):
    """A real process that ends at once, or stays."""

    def __init__(self, home: Path, program: str) -> None:
        super().__init__("customer", {}, home / "customer.log", "127.0.0.1:1")
        self.program = program

    def spawn(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", self.program])


def test_what_dies_starts_again_after_pauses_that_grow(home: Path, monkeypatch: pytest.MonkeyPatch):
    clock, child = Clock(monkeypatch), Lives(home, "raise SystemExit(3)")
    watched = Watched(child, started=clock.now)
    pauses = []
    for _ in range(8):
        child.spawn()
        assert child.process
        child.process.wait()
        assert "exit code 3" in watched.look()
        assert watched.look() == ""
        pauses.append(watched.due - clock.now)
        clock.now = watched.due
        assert "runs again" in watched.look()
        assert child.process
        child.process.wait()
    assert [round(pause, 1) for pause in pauses] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert watched.restarts == 8


def test_one_that_lived_long_starts_again_soon(home: Path, monkeypatch: pytest.MonkeyPatch):
    clock, child = Clock(monkeypatch), Lives(home, "import time; time.sleep(60)")
    watched = Watched(child, pause=10.0, started=clock.now)
    child.spawn()
    clock.now += supervisor.STEADY_AFTER + 1
    assert watched.look() == ""
    assert watched.pause == supervisor.FIRST_PAUSE
    child.stop()


def test_a_process_that_ends_instead_of_serving_is_named_with_its_last_words(home: Path):
    child = Lives(home, "raise SystemExit(1)")
    child.log.write_text("DATABASE_URL_CUSTOMER or DATABASE_URL is not set.\n")
    child.spawn()
    with pytest.raises(StartFailed, match=r"customer does not start.*\n.*DATABASE_URL_CUSTOMER"):
        wait_ready([child])


def test_a_launched_program_ends_when_its_starter_is_killed():
    launched = f"{sys.executable!r}, '-I', '-S', {launch.__file__!r}, str(os.getpid()), {sys.executable!r}"
    starter = (
        "import os, subprocess, time;"
        f"child = subprocess.Popen([{launched}, '-c', 'import time; print(1, flush=True); time.sleep(60)'],"
        " stdout=subprocess.PIPE); child.stdout.readline(); print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        process.kill()
    deadline = time.monotonic() + 60
    while _running(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _running(child)


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
