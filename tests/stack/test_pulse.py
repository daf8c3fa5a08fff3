"""Asking processes whether they live: a no is an answer, nobody there is not frozen, silence is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stack import files
from stack.pulse import SILENCES, Heard, Pulse, ask
from stack.supervisor import Child, Watched
from tests.servers import Servers

SERVER = """
import http.server, sys
class Nobody(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(503)
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Nobody).serve_forever()
"""


class Page(Child):
    """A real process that answers every question with 503."""

    def __init__(self, home: Path) -> None:
        self.port = files.free_port()
        super().__init__("gateway", {}, home / "gateway.log", f"http://127.0.0.1:{self.port}/readyz")

    def spawn(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", SERVER, str(self.port)])


@pytest.fixture
def page(home: Path) -> Iterator[Page]:
    made = Page(home)
    made.spawn()
    until(lambda: ask(made.address) == Heard.ANSWERS)
    yield made
    assert made.process
    made.process.kill()
    made.process.wait()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def test_each_kind_of_server_is_asked_in_its_own_words(servers: Servers):
    assert servers.postgres.address.startswith("postgres://")
    assert ask(servers.postgres.address) == Heard.ANSWERS
    assert servers.nats.address.startswith("nats://")
    assert ask(servers.nats.address) == Heard.ANSWERS


@pytest.mark.parametrize("scheme", ["http", "grpc", "postgres", "nats"])
def test_nobody_there_and_nobody_speaking_are_two_things(scheme: str):
    port = files.free_port()
    assert ask(f"{scheme}://127.0.0.1:{port}", 0.5) == Heard.REFUSES
    with socket.socket() as dumb:
        dumb.bind(("127.0.0.1", port))
        dumb.listen()
        assert ask(f"{scheme}://127.0.0.1:{port}", 0.5) == Heard.SILENT


def test_a_frozen_process_is_killed_and_started_again(page: Page):
    watched = Watched(page, pulse=Pulse(page.address, lambda address: ask(address, 0.2), every=0.05).start())
    assert page.process and watched.pulse
    until(lambda: ask(page.address) == Heard.ANSWERS)
    assert watched.look() == ""
    os.kill(page.process.pid, signal.SIGSTOP)
    until(lambda: watched.pulse.frozen)
    assert "has not answered" in watched.look()
    assert "SIGKILL" in watched.look()
    until(lambda: "runs again" in watched.look())
    until(lambda: ask(page.address) == Heard.ANSWERS)
    assert not watched.pulse.frozen and watched.restarts == 1
    watched.pulse.stop()


def test_a_process_that_takes_no_calls_yet_is_not_frozen():
    said = iter([Heard.SILENT] * (SILENCES - 1) + [Heard.REFUSES] * 20)
    pulse = Pulse("", lambda _: next(said, Heard.REFUSES), every=0.001).start()
    until(lambda: next(said, None) is None)
    assert not pulse.frozen
    pulse.stop()
