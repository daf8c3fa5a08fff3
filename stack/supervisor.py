"""Starts every process of the platform in order, keeps them running, and stops them in reverse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.error import URLError
from urllib.request import urlopen

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from stack import launch, layout
from stack.files import is_free, open_log, write_private
from stack.pulse import EVERY, SILENCES, WITHIN, Pulse, ask, channel_to, trusting
from stack.running import is_held

STARTS_WITHIN = 120.0
STOPS_WITHIN = 30.0  # a service finishes what it does within 25 s
STATE = "state.json"  # what runs; left behind only by a supervisor that was killed
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
STEADY_AFTER = 15.0  # a process that has lived so long starts over with the first pause


class StartFailed(Exception):
    """A process does not come up; the message names it and where its log is."""


class Process(Protocol):
    """What the supervisor keeps running: our own processes, PostgreSQL and NATS alike."""

    name: str
    log: Path
    process: subprocess.Popen[bytes] | None

    @property
    def address(self) -> str: ...
    def spawn(self) -> None: ...
    def alive(self) -> bool: ...
    def ready(self) -> bool: ...
    def stop(self) -> None: ...


class Child:
    """One process of ours: a service or the gateway."""

    def __init__(
        self, name: str, env: dict[str, str], log: Path, readiness: str, certificates: Path | None = None
    ) -> None:
        self.name, self.env, self.log, self.readiness = name, env, log, readiness
        self.certificates = certificates
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it is asked whether it lives: without a look at anybody it needs."""
        if self.readiness.startswith("http"):
            return self.readiness.rpartition("/")[0] + "/healthz"
        return f"grpcs://{self.name}@{self.readiness}" if self.certificates else f"grpc://{self.readiness}"

    def spawn(self) -> None:
        """Start it; what it says goes to its log."""
        launched = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]
        with open_log(self.log) as log:
            self.process = subprocess.Popen(
                [*launched, *layout.command(self.name)],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def alive(self) -> bool:
        """Whether the process we started is running."""
        return self.process is not None and self.process.poll() is None

    def ready(self) -> bool:
        """Whether it says that it serves: over HTTP for a URL, else by the gRPC health service."""
        if self.readiness.startswith("http"):
            try:
                with urlopen(self.readiness, timeout=2, context=trusting(self.certificates)) as answer:
                    return bool(answer.status == 200)
            except (URLError, OSError):
                return False
        host, _, port = self.readiness.rpartition(":")
        if is_free(int(port), host):
            return False  # nobody listens yet: no need for a whole channel to learn it
        own = self.certificates / self.name if self.certificates else None
        with channel_to(self.readiness, self.name, own) as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
            except grpc.RpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def ask_to_stop(self) -> None:
        """SIGTERM: finish what you do, take nothing new."""
        if self.process is not None and self.alive():
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Ask, wait, and end it by force when it does not listen."""
        self.ask_to_stop()
        if self.process is None:
            return
        try:
            self.process.wait(STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Watched:
    """A process and how often it had to be started again."""

    child: Process
    restarts: int = 0
    pause: float = FIRST_PAUSE
    started: float = field(default_factory=time.monotonic)
    due: float = 0.0
    pulse: Pulse | None = None
    held: float = 0.0  # since when a command wants it stopped

    def hold(self) -> str:
        """Stop it, and keep it so, without making the others wait; a sentence when that begins."""
        now = time.monotonic()
        if self.held:
            if self.child.alive() and now - self.held > STOPS_WITHIN and self.child.process:
                self.child.process.kill()
            return ""
        self.held = now
        if isinstance(self.child, Child):
            self.child.ask_to_stop()
        return f"{self.child.name} is held back by a command."

    def look(self) -> str:
        """Start it again when it has died and its pause is over; a sentence when something happened.

        One that is frozen is killed first: nobody else would.
        """
        now = time.monotonic()
        if self.held:
            self.held, self.due = 0.0, now
        if self.child.alive() and self.pulse is not None and self.pulse.frozen:
            assert self.child.process is not None
            self.child.process.kill()
            self.child.process.wait()
            self.pulse.begin_again()
            silent = SILENCES * max(EVERY, WITHIN)
            return f"{self.child.name} has not answered for {silent:.0f} s; it is killed."
        if self.child.alive():
            if now - self.started > STEADY_AFTER:
                self.pause = FIRST_PAUSE
            return ""
        if not self.due:
            self.due = now + self.pause
            self.pause = min(self.pause * 2, LONGEST_PAUSE)
            code = self.child.process.returncode if self.child.process else None
            return f"{self.child.name} ended ({_ending(code)}); it starts again. Its log: {self.child.log}"
        if now < self.due:
            return ""
        self.child.spawn()
        if self.pulse is not None:
            self.pulse.begin_again()
        self.restarts, self.started, self.due = self.restarts + 1, now, 0.0
        return f"{self.child.name} runs again."


def _ending(code: int | None) -> str:
    if code is None:
        return "never started"
    return f"by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def wait_ready(children: list[Child]) -> None:
    """Wait until all of these serve; the first that ends instead is named."""
    deadline, waiting = time.monotonic() + STARTS_WITHIN, list(children)
    while waiting:
        for child in list(waiting):
            if not child.alive():
                raise StartFailed(
                    f"{child.name} does not start. The end of {child.log}:\n{last_words(child.log)}"
                )
            if child.ready():
                waiting.remove(child)
            elif time.monotonic() > deadline:
                raise StartFailed(
                    f"{child.name} is not ready after {STARTS_WITHIN:.0f} s. The end of {child.log}:\n"
                    f"{last_words(child.log)}"
                )
        time.sleep(0.1)


def last_words(log: Path, lines: int = 8) -> str:
    """The end of a log."""
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-lines:]) if log.exists() else ""


class Supervisor:
    """Everything that runs, in the order it was started."""

    def __init__(self, servers: layout.Servers) -> None:
        self.servers = servers
        self.settings = servers.settings
        self.watched: list[Watched] = []
        self.stopping = False

    @property
    def http(self) -> str:
        """Where the HTTP API is."""
        host, port = self.settings.host, self.settings.http_port
        if not self.servers.encrypted:
            return f"http://{host}:{port}"
        return f"https://{'localhost' if host in ('0.0.0.0', '::') else host}:{port}"

    def start_servers(self) -> None:
        """PostgreSQL and NATS, and in them what the services expect."""
        for server in (self.servers.postgres, self.servers.nats):
            if server:
                self.watched.append(Watched(server))
                server.start()
        self.servers.prepare()
        self.servers.choose_ports()

    def start_processes(self) -> None:
        """Everything side by side, for each waits for what it needs; ready when all of it serves."""
        children = [self._child(name, self.servers.address(name)) for name in layout.SERVICES]
        children.append(self._child(layout.GATEWAY, f"{self.http}/readyz"))
        for child in children:
            child.spawn()
            self.watched.append(Watched(child))
        wait_ready(children)
        self.note()

    def _child(self, name: str, readiness: str) -> Child:
        log = self.servers.home / "logs" / f"{name}.log"
        certificates = self.servers.certificates if self.servers.encrypted else None
        return Child(name, self.servers.environment(name), log, readiness, certificates)

    def watch(self) -> None:
        """Keep everything running until someone asks to stop; what happens is printed."""
        asked = partial(ask, certificates=self.servers.certificates if self.servers.encrypted else None)
        for watched in self.watched:
            watched.pulse = Pulse(watched.child.address, asked).start()
        while not self.stopping:
            said = [
                sentence
                for watched in self.watched
                if (sentence := watched.hold() if self._is_held(watched) else watched.look())
            ]
            for sentence in said:
                print(sentence, flush=True)
            if said:
                self.note()
            time.sleep(0.2)

    def _is_held(self, watched: Watched) -> bool:
        return isinstance(watched.child, Child) and is_held(self.servers.home, watched.child.name)

    def stop(self) -> None:
        """End everything in reverse: the gateway, the services together, the broker, the database."""
        for watched in self.watched:
            if watched.pulse is not None:
                watched.pulse.stop()
        started = [watched.child for watched in reversed(self.watched)]
        ours = [child for child in started if isinstance(child, Child)]
        for child in [child for child in ours if child.name == layout.GATEWAY]:
            child.stop()
        for child in ours:
            child.ask_to_stop()
        for any_child in started:
            any_child.stop()
        self.watched.clear()
        (self.servers.home / STATE).unlink(missing_ok=True)

    def note(self) -> None:
        """Write down what runs, for `tradewind status`."""
        rows = [
            {
                "name": watched.child.name,
                "pid": watched.child.process.pid if watched.child.process else 0,
                "restarts": watched.restarts,
                "address": watched.child.address,
                "log": str(watched.child.log),
                "held": bool(watched.held),
            }
            for watched in self.watched
        ]
        state = {
            "http": self.http,
            "grpc": f"{self.settings.host}:{self.settings.grpc_port}",
            "processes": rows,
        }
        write_private(self.servers.home / STATE, json.dumps(state, indent=2) + "\n")
