"""Short secrets kept where others can see them: encrypted, and good for one purpose and one place alone."""

from __future__ import annotations

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chassis.identity import Signer

NONCE = 12


class Seal:
    """AES-256-GCM under a key of the installation that is derived for one purpose."""

    def __init__(self, signer: Signer, purpose: str) -> None:
        self._cipher = AESGCM(signer.secret(purpose))

    def close(self, text: str, place: str) -> str:
        """The text, to be opened again in this *place* only."""
        nonce = os.urandom(NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), place.encode())
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, sealed: str, place: str) -> str | None:
        """What was closed for this place; None for anything else."""
        try:
            raw = base64.urlsafe_b64decode(sealed.encode("ascii") + b"=" * (-len(sealed) % 4))
            return self._cipher.decrypt(raw[:NONCE], raw[NONCE:], place.encode()).decode()
        except (InvalidTag, ValueError, binascii.Error):
            return None
