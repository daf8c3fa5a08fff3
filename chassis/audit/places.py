"""From where calls come: a network address and what the device calls itself, kept once, named by a digest.

Both are personal, and facts are kept for ever and hashed into a chain. So a fact holds a digest under a key
of the service, and a row of `call_places`, sealed under another, says what it stands for: forgotten there, no
fact is touched. Both keys follow from the service's signing key and are in no database.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
from base64 import b64decode, b64encode
from collections import OrderedDict

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MOST = 20_000  # digests and rows remembered in a process
LONGEST_DEVICE = 200
HERE = socket.gethostname()


class Places:
    """The places that one process knows."""

    def __init__(self) -> None:
        self.key = b"\0" * 32  # of digests; the service's own once it runs, like the next
        self.seal_key = b"\0" * 32
        self._digests: OrderedDict[tuple[str, str, str], str] = OrderedDict()
        self.kept: set[tuple[str, str]] = set()  # (organization, digest) of rows that are there

    def digest(self, tenant: str, network: str, device: str) -> str:
        """What a fact of that organization calls the place."""
        place = (tenant, network, device)
        known = self._digests.get(place)
        if known is None:
            said = "\n".join(place).encode()
            known = self._digests[place] = hmac.new(self.key, said, hashlib.sha256).hexdigest()[:20]
            if len(self._digests) > MOST:
                self._digests.popitem(last=False)
        return known

    def keep(self, rows: set[tuple[str, str]]) -> None:
        """These rows are there from now on."""
        if len(self.kept) > MOST:
            self.kept.clear()
        self.kept |= rows

    def sealed(self, text: str, about: str) -> str:
        """A text as a row keeps it, for one column of one row."""
        nonce = os.urandom(12)
        return b64encode(nonce + AESGCM(self.seal_key).encrypt(nonce, text.encode(), about.encode())).decode()

    def opened(self, kept: str, about: str) -> str:
        """The text that was sealed; "" for what another key sealed, or somebody changed."""
        try:
            raw = b64decode(kept, validate=True)
            return AESGCM(self.seal_key).decrypt(raw[:12], raw[12:], about.encode()).decode()
        except (ValueError, InvalidTag):
            return ""
