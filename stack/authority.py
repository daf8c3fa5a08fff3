"""An installation's own certificate authority: made once, it signs who its processes are, and its doors."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from chassis.tls import AUTHORITIES, CERTIFICATE, KEY, LOOK_SECONDS
from stack.files import write_private

FOLDER, DOOR, BROKER = "tls", "door", "nats"
AUTHORITY_DAYS, DAYS, RENEWED_BEFORE = 3650, 397, 30
EARLIER = timedelta(minutes=5)  # clocks differ
Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Signed:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: Key

    @classmethod
    def read(cls, certificate: Path, key: Path) -> Signed:
        """The first certificate of a file, and its key."""
        private = load_pem_private_key(key.read_bytes(), password=None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        return cls(x509.load_pem_x509_certificates(certificate.read_bytes())[0], private)

    @property
    def days_left(self) -> float:
        """Until it ends."""
        return (self.certificate.not_valid_after_utc - datetime.now(UTC)).total_seconds() / 86_400

    def write(self, certificate: Path, key: Path, *others: x509.Certificate) -> None:
        """Keep both where only the owner reads them, the key first; *others* behind the certificate."""
        write_private(
            key,
            self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        )
        write_private(certificate, _text(self.certificate, *others))


def _text(*certificates: x509.Certificate) -> str:
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in certificates)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(name: str, issuer: x509.Name, key: Key, days: float) -> x509.CertificateBuilder:
    now, public = datetime.now(UTC), key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + timedelta(days=days)) - EARLIER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
    )


def _usage(*, signs_others: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_others, key_cert_sign=signs_others, crl_sign=signs_others,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def make_authority() -> Signed:
    """A new authority that signs certificates, and no further authorities."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"Tradewind authority {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    made = (
        _builder(name, _named(name), key, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(_usage(signs_others=True), True)
    )
    return Signed(made.sign(key, SHA256()), key)


def issue(
    authority: Signed,
    name: str,
    hosts: Sequence[str],
    uri: str = "",
    days: float = DAYS,
) -> Signed:
    """A certificate for a server of these *hosts* (names or addresses); with a *uri* for a client, too."""
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [_host(host) for host in hosts]
    uses = [ExtendedKeyUsageOID.SERVER_AUTH]
    if uri:
        names.append(x509.UniformResourceIdentifier(uri))
        uses.append(ExtendedKeyUsageOID.CLIENT_AUTH)
    made = (
        _builder(name, authority.certificate.subject, key, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(_usage(signs_others=False), True)
        .add_extension(x509.ExtendedKeyUsage(uses), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            False,
        )
        .add_extension(x509.SubjectAlternativeName(names), False)
    )
    return Signed(made.sign(authority.key, SHA256()), key)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class Certificates:
    """The folder `tls` of an installation: the authority, and a folder for each who has a certificate."""

    def __init__(self, home: Path, processes: Sequence[str], domain: str, host: str) -> None:
        self.folder, self._domain = home / FOLDER, domain
        self._processes = (*processes, BROKER)
        unnamed = host in ("0.0.0.0", "::")
        self._door = dict.fromkeys(
            ["localhost", "127.0.0.1", "::1", socket.gethostname() if unnamed else host]
        )

    def make(self, *, again: bool = False) -> list[str]:
        """Make what is missing or near its end, all of them *again* if wished; whose are new."""
        if not (self.folder / AUTHORITIES).exists():
            self._keep(make_authority())
        authority = Signed.read(self.folder / AUTHORITIES, self.folder / "ca.key")
        self._spread()
        return [name for name in (*self._processes, DOOR) if self._one(authority, name, again)]

    def change_authority(self) -> list[str]:
        """Have everything signed by a new authority; the former is believed until the next change.

        Everybody believes both before the first certificate of the new one is shown.
        """
        former = Signed.read(self.folder / AUTHORITIES, self.folder / "ca.key")
        self._keep(make_authority(), former.certificate)
        self._spread()
        time.sleep(2 * LOOK_SECONDS)
        return self.make(again=True)

    def _keep(self, authority: Signed, *former: x509.Certificate) -> None:
        authority.write(self.folder / AUTHORITIES, self.folder / "ca.key", *former)

    def _spread(self) -> None:
        text = (self.folder / AUTHORITIES).read_text("ascii")
        for name in (*self._processes, DOOR):
            path = self.folder / name / AUTHORITIES
            if not path.exists() or path.read_text("ascii") != text:
                write_private(path, text)

    def _one(self, authority: Signed, name: str, again: bool) -> bool:
        certificate, key = self.folder / name / CERTIFICATE, self.folder / name / KEY
        if certificate.exists() and not again:
            known = Signed.read(certificate, key)
            if known.days_left > RENEWED_BEFORE and self._suits(known, authority, name):
                return False
        uri = "" if name == DOOR else f"spiffe://{self._domain}/tradewind/{name}"
        hosts = list(self._door) if name == DOOR else [name]
        issue(authority, name, hosts, uri).write(certificate, key)
        return True

    def _suits(self, known: Signed, authority: Signed, name: str) -> bool:
        """Whether it was signed by this authority, in this trust domain, for these hosts."""
        said = known.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if name == DOOR:
            good = {_host(host) for host in self._door} <= set(said)
        else:
            uris = said.get_values_for_type(x509.UniformResourceIdentifier)
            good = uris == [f"spiffe://{self._domain}/tradewind/{name}"]
        return good and known.certificate.issuer == authority.certificate.subject
