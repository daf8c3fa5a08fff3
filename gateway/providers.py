"""What belongs to an identity provider beside its record: its secret, and its addresses at this gateway."""

from __future__ import annotations

import base64
import hashlib

from chassis.identity import Signer
from gateway.domain.identity_provider import IdentityProvider
from gateway.seal import Seal

UNDER = "/sign-in/"


class ClientSecrets:
    """The secrets that providers gave, kept encrypted: each opens in its organization and record alone."""

    def __init__(self, signer: Signer) -> None:
        self._seal = Seal(signer, "client secrets of identity providers")

    def close(self, secret: str, tenant: str, provider: IdentityProvider) -> str:
        """As it is kept."""
        return self._seal.close(secret, f"{tenant}|{provider.id}")

    def open(self, tenant: str, provider: IdentityProvider) -> str | None:
        """The secret, "" for a client without one; None for one that was not kept for this provider."""
        if not provider.client_secret:
            return ""
        return self._seal.open(provider.client_secret, f"{tenant}|{provider.id}")


def entrance(provider: str) -> str:
    """Where a sign-in begins."""
    return f"{UNDER}{provider}"


def way_back(provider: str) -> str:
    """Where the provider sends people back to."""
    return f"{UNDER}{provider}/callback"


def challenge_of(verifier: str) -> str:
    """S256 of RFC 7636: what may be shown of a secret text that is told later."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
