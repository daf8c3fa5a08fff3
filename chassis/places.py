"""From where calls come: a network address and what the device calls itself, kept once, named by a digest.

Both are personal, and facts are kept for ever and hashed into a chain. So a fact holds a digest under a key
of the service, and a row of `call_places` says what it stands for: forgotten there, no fact is touched.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
from collections import OrderedDict

MOST = 20_000  # digests and rows remembered in a process
LONGEST_DEVICE = 200
HERE = socket.gethostname()


class Places:
    """The places that one process knows."""

    def __init__(self) -> None:
        self.key = b"nobody's"  # the service's own, once it runs
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
