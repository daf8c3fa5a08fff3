"""Whether a process answers, asked from outside as a cluster's liveness probe asks: a frozen one does not."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

EVERY, WITHIN = 3.0, 3.0  # seconds from one question to the next, and for its answer
SILENCES = 4  # so many questions in a row without an answer: the process is frozen
SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # PostgreSQL answers it with one letter, whoever asks

# Channels of one process share their connections, and the wait after a refused one: a new question would
# be answered by the last one's refusal.
NEVER_SHARED = (("grpc.use_local_subchannel_pool", 1),)


class Heard(StrEnum):
    """What came of asking. Whoever turns connections away is starting or finishing; that is no silence."""

    ANSWERS = "answers"
    REFUSES = "takes no calls"
    SILENT = "does not answer"


def ask(address: str, within: float = WITHIN, certificates: Path | None = None) -> Heard:
    """Ask at grpc://, http://, postgres:// or nats://host:port; a no is an answer, too.

    https://, natss:// and grpcs://process@host:port are believed by the authority in the folder
    *certificates*, and a process is asked as itself.
    """
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or 0
    try:
        if parts.scheme in ("http", "https"):
            return _page(address, within, certificates)
        if parts.scheme in ("grpc", "grpcs"):
            return _grpc(f"{host}:{port}", within, parts.username or "", certificates)
        with _line(host, port, within, parts.username or "", certificates) as line:
            if parts.scheme == "postgres":
                line.sendall(SSL_REQUEST)
            return Heard.ANSWERS if line.recv(1) else Heard.REFUSES  # NATS greets by itself
    except TimeoutError:
        return Heard.SILENT
    except OSError:
        return Heard.REFUSES


def trusting(certificates: Path | None) -> ssl.SSLContext | None:
    """How https pages of an installation are asked; None for its http pages."""
    return ssl.create_default_context(cafile=certificates / "ca.crt") if certificates else None


def wrapped(line: socket.socket, server: str, own: Path) -> ssl.SSLSocket:
    """The line once both sides have shown their certificates: we the server's *own*."""
    context = ssl.create_default_context(cafile=own / "ca.crt")
    context.load_cert_chain(own / "tls.crt", own / "tls.key")
    return context.wrap_socket(line, server_hostname=server)


def _line(host: str, port: int, within: float, server: str, certificates: Path | None) -> socket.socket:
    line = socket.create_connection((host, port), timeout=within)
    return wrapped(line, server, certificates / server) if certificates and server else line


def channel_to(address: str, process: str, own: Path | None) -> grpc.Channel:
    """A channel to a process; with its *own* certificate as that process itself, which it always hears."""
    if own is None:
        return grpc.insecure_channel(address, options=NEVER_SHARED)
    credentials = grpc.ssl_channel_credentials(
        *((own / name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt"))
    )
    named = (("grpc.ssl_target_name_override", process), ("grpc.default_authority", process))
    return grpc.secure_channel(address, credentials, options=(*NEVER_SHARED, *named))


def _page(address: str, within: float, certificates: Path | None) -> Heard:
    try:
        with urlopen(address, timeout=within, context=trusting(certificates)):
            return Heard.ANSWERS
    except HTTPError:
        return Heard.ANSWERS
    except URLError as problem:
        raise problem.reason if isinstance(problem.reason, OSError) else problem from None


def _grpc(address: str, within: float, process: str, certificates: Path | None) -> Heard:
    own = certificates / process if certificates and process else None
    with channel_to(address, process, own) as channel:
        try:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=within)
        except grpc.RpcError as problem:
            known = {
                grpc.StatusCode.UNAVAILABLE: Heard.REFUSES,
                grpc.StatusCode.DEADLINE_EXCEEDED: Heard.SILENT,
            }
            return known.get(problem.code(), Heard.ANSWERS)
    return Heard.ANSWERS


class Pulse:
    """Asks one process again and again, in a thread of its own; `frozen` says that it fell silent."""

    def __init__(self, address: str, ask: Callable[[str], Heard] = ask, every: float = EVERY) -> None:
        self._address, self._ask, self._every = address, ask, every
        self._silences, self._life = 0, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"pulse of {address}", daemon=True)

    def start(self) -> Pulse:
        """Begin to ask."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ask no more."""
        self._over.set()

    @property
    def frozen(self) -> bool:
        """Whether so many questions in a row were left unanswered."""
        return self._silences >= SILENCES

    def begin_again(self) -> None:
        """The process was started anew: what the one before did not say does not count."""
        self._life += 1
        self._silences = 0

    def _run(self) -> None:
        while not self._over.wait(self._every):
            life, heard = self._life, self._ask(self._address)
            if life == self._life:
                self._silences = self._silences + 1 if heard == Heard.SILENT else 0
