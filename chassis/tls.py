"""Certificates of a process, read again when their files change: who it is to its peers, whom it believes.

A process is `spiffe://<trust domain>/tradewind/<process>`, and as a server also plainly `<process>`: both
stand in its certificate, which the installation's own authority signed. cert-manager writes such folders.
"""

from __future__ import annotations

import inspect
import logging
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from grpc_status import rpc_status

from chassis import telemetry
from chassis.kernel.refusals import Refused
from chassis.reasons import Reasons
from chassis.settings import SettingsInvalid

log = logging.getLogger(__name__)
CERTIFICATE, KEY, AUTHORITIES = "tls.crt", "tls.key", "ca.crt"
LOOK_SECONDS = 1.0  # a renewed certificate is in use so much later
HANDSHAKE_SECONDS = 10.0
# What TLS 1.2 may still use: keys that nobody can ask for later, and nothing that was ever broken.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
DAYS_LEFT = "tradewind_certificate_days_left"
telemetry.METRICS.describe(DAYS_LEFT, "gauge", "Days until a certificate ends, by certificate.")


def process_of(service: str) -> str:
    """The process that answers for a service: `access` is kept by the gateway."""
    return "gateway" if service == "access" else service


@dataclass(frozen=True)
class Pems:
    """A certificate with its chain, its private key, and the authorities that are believed (may be none)."""

    chain: bytes
    key: bytes
    authorities: bytes

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate itself, without those that signed it."""
        return x509.load_pem_x509_certificate(self.chain)

    @property
    def uris(self) -> list[str]:
        """The names of the kind `spiffe://…` in it."""
        names = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.UniformResourceIdentifier)

    def days_left(self) -> dict[str, float]:
        """Days until the certificate ends, and until the last of the authorities does."""
        now, left = datetime.now(UTC), {"certificate": self.certificate.not_valid_after_utc}
        if self.authorities:
            known = x509.load_pem_x509_certificates(self.authorities)
            left["authority"] = max(each.not_valid_after_utc for each in known)
        return {name: (until - now).total_seconds() / 86_400 for name, until in left.items()}


class Folder:
    """The files of one certificate; `version` counts how often they changed."""

    def __init__(self, path: str | Path, variable: str, *, authorities: bool) -> None:
        self.path, self.version = Path(path).expanduser(), 0
        self._names = (CERTIFICATE, KEY, AUTHORITIES) if authorities else (CERTIFICATE, KEY)
        self._looked = time.monotonic()
        self._seen = self._stamp()
        try:
            self.pems = self._read()
        except (OSError, ValueError) as problem:
            why = _why(problem)
            raise SettingsInvalid(f"{variable} names {path}, which cannot be used: {why}.") from None

    def current(self) -> Pems:
        """What the files say now; what cannot be used (one of two was renewed) is left for the next look."""
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._look()
        return self.pems

    def context(self, protocol: int) -> ssl.SSLContext:
        """For connections of the event loop."""
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.load_cert_chain(self.path / CERTIFICATE, self.path / KEY)
        if AUTHORITIES in self._names:
            context.load_verify_locations(self.path / AUTHORITIES)
        return context

    def _look(self) -> None:
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return
            self.pems = self._read()
        except (OSError, ValueError) as problem:
            log.warning("%s: the certificate stays as it was: %s", self.path, _why(problem))
            return
        self._seen, self.version = stamp, self.version + 1
        log.info("%s: another certificate is in use from now on", self.path)

    def _stamp(self) -> list[tuple[int, int, int]]:
        try:
            found = [(self.path / name).stat() for name in self._names]
        except OSError:
            return []
        return [(each.st_mtime_ns, each.st_ino, each.st_size) for each in found]

    def _read(self) -> Pems:
        texts = [(self.path / name).read_bytes() for name in self._names]
        pems = Pems(texts[0], texts[1], texts[2] if len(texts) > 2 else b"")
        self.context(ssl.PROTOCOL_TLS_SERVER)  # raises where key and certificate do not belong together
        pems.days_left()
        return pems


def _why(problem: Exception) -> str:
    if isinstance(problem, ssl.SSLError):
        return problem.reason or str(problem)
    if isinstance(problem, OSError) and problem.filename:
        return f"{Path(str(problem.filename)).name}: {problem.strerror}"
    return str(problem)


class Door:
    """The certificate that strangers see: of the HTTP and the gRPC port."""

    def __init__(self, path: str, variable: str = "TRADEWIND_DOOR_TLS") -> None:
        self._folder = Folder(path, variable, authorities=False)
        self._made = (-1, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def context(self) -> ssl.SSLContext:
        """For the HTTP port: each handshake takes the certificate of its moment."""

        def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = self._newest()

        first = self._newest()
        first.sni_callback = choose
        return first

    def _newest(self) -> ssl.SSLContext:
        self._folder.current()
        version, context = self._made
        if version != self._folder.version:
            context = self._folder.context(ssl.PROTOCOL_TLS_SERVER)
            context.set_alpn_protocols(["http/1.1"])
            self._made = (self._folder.version, context)
        return context

    def credentials(self) -> grpc.ServerCredentials:
        """For the gRPC port."""
        return _reloading(self._folder, strangers=True)

    async def measure(self) -> None:
        """Tell how long the certificate is still good."""
        days = self._folder.current().days_left()
        telemetry.METRICS.set(DAYS_LEFT, days["certificate"], certificate="door")


def _reloading(folder: Folder, *, strangers: bool) -> grpc.ServerCredentials:
    """Credentials of a server; each handshake takes the certificate of its moment."""
    served = folder.version

    def configuration(pems: Pems) -> Any:
        authorities = None if strangers else pems.authorities
        return grpc.ssl_server_certificate_configuration([(pems.key, pems.chain)], authorities)

    def fetch() -> Any:
        nonlocal served
        pems = folder.current()
        if served == folder.version:
            return None
        served = folder.version
        return configuration(pems)

    return grpc.dynamic_ssl_server_credentials(configuration(folder.current()), fetch, not strangers)


class Identity:
    """Who this process is among the processes of its installation."""

    def __init__(self, path: str, process: str, domain: str, variable: str = "TRADEWIND_TLS") -> None:
        self.process, self._domain = process, domain
        self._folder = Folder(path, variable, authorities=True)
        if self.name_of(process) not in self._folder.pems.uris:
            raise SettingsInvalid(
                f"{variable} names {path}, whose certificate is not that of {self.name_of(process)}."
            )
        self._clients: dict[str, tuple[int, ssl.SSLContext]] = {}  # protocol → of which version, context

    @property
    def version(self) -> int:
        """Another number after each change of the files."""
        self._folder.current()
        return self._folder.version

    def name_of(self, process: str) -> str:
        """What a process of this installation is called in its certificate."""
        return f"spiffe://{self._domain}/tradewind/{process}"

    def server_credentials(self) -> grpc.ServerCredentials:
        """For the port that peers call: nobody without a certificate of the same authority is heard."""
        return _reloading(self._folder, strangers=False)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """For a channel; one that is made before a change keeps the former certificate."""
        pems = self._folder.current()
        return grpc.ssl_channel_credentials(pems.authorities, pems.key, pems.chain)

    def client_context(self, protocol: str = "") -> ssl.SSLContext:
        """For connections of our own, of a *protocol* such as h2; asked for anew with each one."""
        version = self.version
        known, context = self._clients.get(protocol, (-1, None))
        if context is None or known != version:
            context = self._folder.context(ssl.PROTOCOL_TLS_CLIENT)
            if protocol:
                context.set_alpn_protocols([protocol])
            self._clients[protocol] = (version, context)
        return context

    def is_that_of(self, process: str, seen: Any) -> bool:
        """Whether the certificate that a connection saw (`getpeercert()`) is that process'."""
        return ("URI", self.name_of(process)) in (seen or {}).get("subjectAltName", ())

    async def measure(self) -> None:
        """Tell how long the certificate and its authority are still good."""
        days = self._folder.current().days_left()
        telemetry.METRICS.set(DAYS_LEFT, days["certificate"], certificate="process")
        telemetry.METRICS.set(DAYS_LEFT, days["authority"], certificate="authority")


class Guard(grpc.aio.ServerInterceptor):
    """Hears only the processes that may call this one, whatever they ask: health and reflection, too."""

    def __init__(self, identity: Identity, callers: Iterable[str], reasons: Reasons) -> None:
        allowed = {*callers, identity.process}
        self._allowed = {identity.name_of(process).encode() for process in allowed}
        self._reasons = reasons
        self._guarded: dict[str, Any] = {}

    async def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """The handler of a path behind a look at who calls; made once for each path that there is."""
        known = self._guarded.get(details.method)
        if known is None:
            handler = await continuation(details)
            if handler is None:
                return None
            known = self._guarded[details.method] = self._behind(handler)
        return known

    def _behind(self, handler: Any) -> Any:
        kinds = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
        kind = next(kind for kind in kinds if getattr(handler, kind) is not None)
        behaviour = getattr(handler, kind)

        async def answer(request: Any, context: grpc.aio.ServicerContext) -> Any:
            if not self._knows(context):
                await self._refuse(context)
            return await behaviour(request, context)

        async def answers(request: Any, context: grpc.aio.ServicerContext) -> Any:
            if not self._knows(context):
                await self._refuse(context)
            async for part in behaviour(request, context):
                yield part

        many = inspect.isasyncgenfunction(behaviour)
        return handler._replace(**{kind: answers if many else answer})

    def _knows(self, context: Any) -> bool:
        names = context.auth_context().get("peer_spiffe_id", ())
        return len(names) == 1 and names[0] in self._allowed

    async def _refuse(self, context: Any) -> None:
        told = dict(context.invocation_metadata() or ())
        refused = Refused("UNAUTHENTICATED", problem="the certificate is of nobody who may call here")
        status = self._reasons.status(refused, str(told.get("accept-language", "en"))[:2])
        await context.abort_with_status(rpc_status.to_status(status))
