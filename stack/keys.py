"""The signing keys of one installation: one pair per process, and the public halves for everyone."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stack.files import write_private

SHARED = "secret.bin"  # what every process knows and nobody else: page tokens are sealed with it


def ensure(folder: Path, names: tuple[str, ...]) -> None:
    """Make what is missing of `<name>.pem`, the shared secret and jwks.json; keep what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    if not (folder / SHARED).exists():
        write_private(folder / SHARED, secrets.token_hex(32))
    for name in names:
        if not (folder / f"{name}.pem").exists():
            write_private(folder / f"{name}.pem", _new_pair())
    public = {"keys": [_public(folder / f"{name}.pem") for name in names]}
    write_private(folder / "jwks.json", json.dumps(public, indent=2) + "\n")


def _new_pair() -> str:
    return (
        Ed25519PrivateKey.generate()
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


def _public(path: Path) -> dict[str, str]:
    """The JSON Web Key (RFC 8037) whose id is the name of the process that signs with it."""
    pair = serialization.load_pem_private_key(path.read_bytes(), password=None)
    raw = pair.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    point = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": path.stem, "x": point}
