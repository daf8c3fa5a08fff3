"""The second factor as it is kept and checked: secrets sealed, a code good once, wrong ones counted."""

from __future__ import annotations

import base64
import hmac
import os
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from chassis.identity import Signer
from chassis.kernel.refusals import Refused
from chassis.store import Tx
from gateway.domain import second_factor, throttle
from gateway.domain.second_factor import DIGITS, DRIFT, STEP
from gateway.domain.user import User
from gateway.store import AccessStore
from gateway.tokens import Mint, digest
from gateway.tries import Throttle

_NONCE = 12
_FORM = "1."  # how what follows was sealed


def step_of(secret: bytes, code: str, at: datetime) -> int | None:
    """The step whose code this is, now or one step off; None for a wrong one.

    All three are compared, whichever is right.
    """
    codes = TOTP(secret, DIGITS, SHA1(), STEP)
    now, found = int(at.timestamp()) // STEP, None
    for step in range(max(0, now - DRIFT), now + DRIFT + 1):
        if hmac.compare_digest(codes.generate(step * STEP), code.encode()):
            found = step
    return found


def code_at(secret: bytes, at: datetime) -> str:
    """What an authenticator with this secret shows."""
    return TOTP(secret, DIGITS, SHA1(), STEP).generate(int(at.timestamp())).decode()


class Seal:
    """Keeps a short secret so that it can be used again, by who has the gateway's private key."""

    def __init__(self, signer: Signer) -> None:
        self._key = AESGCM(signer.secret("secrets of authenticators"))

    def close(self, secret: bytes, about: str) -> str:
        """The secret as it may lie in a database; it opens for the same *about* alone."""
        nonce = os.urandom(_NONCE)
        sealed = nonce + self._key.encrypt(nonce, secret, about.encode())
        return _FORM + base64.b64encode(sealed).decode()

    def open(self, sealed: str, about: str) -> bytes:
        """The secret; ValueError when it was sealed otherwise, elsewhere, or about something else."""
        raw = base64.b64decode(sealed.removeprefix(_FORM))
        try:
            return self._key.decrypt(raw[:_NONCE], raw[_NONCE:], about.encode())
        except InvalidTag:
            raise ValueError("a secret that this installation did not seal, or not for this user") from None


class SecondFactors:
    """Authenticators and recovery codes of an organization's people."""

    def __init__(self, store: Any, signer: Signer) -> None:
        self.seal, self.mint = Seal(signer), Mint(signer)
        self.throttle = Throttle(store, signer, "codes", throttle.CODES)

    async def begin(self, tx: Tx, user: User, secret: bytes, until: datetime) -> str:
        """Keep a secret that is to be confirmed until then, beside the one in use; as it was sealed."""
        sealed = self.seal.close(secret, f"users/{user.id}")
        row = await self._row(tx, user)
        kept = {"secret": "", "last_step": 0, **row, "pending": sealed, "pending_until": until}
        tx.put(AccessStore.authenticators, key={"person": user.id}, values=kept)
        return sealed

    async def confirm(self, tx: Tx, user: User, code: str, at: datetime) -> bool:
        """Put the pending secret in use if this is its code, which is used up by that."""
        row = await self._row(tx, user)
        if not row.get("pending") or at >= row["pending_until"]:
            raise Refused("NO_SECOND_FACTOR", user=f"users/{user.id}")
        secret = self.seal.open(row["pending"], f"users/{user.id}")
        step = step_of(secret, second_factor.typed(code), at)
        if step is None:
            return False
        kept = {"secret": row["pending"], "pending": "", "pending_until": None, "last_step": step}
        tx.put(AccessStore.authenticators, key={"person": user.id}, values=kept)
        return True

    async def accept(self, tx: Tx, user: User, code: str, at: datetime, *, recovery: bool = True) -> bool:
        """Whether it is a code that is good now; it never is again, in whichever process it comes in."""
        code = second_factor.typed(code)
        if not second_factor.is_totp(code):
            return recovery and await self._recover(tx, user, code, at)
        row = await self._row(tx, user)
        if not row.get("secret"):
            return False
        secret = self.seal.open(row["secret"], f"users/{user.id}")
        step = step_of(secret, code, at)
        if step is None:
            return False
        taken = await tx.run(
            "UPDATE authenticators SET last_step = %s"
            " WHERE tenant_id = %s AND person = %s AND last_step < %s",
            [step, tx.call.tenant, user.id, step],
        )
        return taken == 1

    async def _recover(self, tx: Tx, user: User, code: str, at: datetime) -> bool:
        used = await tx.run(
            "UPDATE recovery_codes SET use_time = %s"
            " WHERE tenant_id = %s AND person = %s AND digest = %s AND use_time IS NULL",
            [at, tx.call.tenant, user.id, digest(code)],
        )
        return used == 1

    async def renew(self, tx: Tx, user: User, generation: int) -> None:
        """Other recovery codes, those of `codes` for that generation; those before are good no more."""
        await tx.run(
            "DELETE FROM recovery_codes WHERE tenant_id = %s AND person = %s", [tx.call.tenant, user.id]
        )
        for code in self.codes(f"users/{user.id}", generation):
            key = {"person": user.id, "digest": digest(second_factor.typed(code))}
            tx.put(AccessStore.recovery_codes, key=key, values={"use_time": None})

    def codes(self, user: str, generation: int) -> list[str]:
        """The recovery codes of a user made by that change; the same for the same question."""
        raw = (self.mint.raw("recovery", f"{user}\n{n}", generation) for n in range(second_factor.CODES))
        return [second_factor.recovery_code(each[: second_factor.CODE_BYTES]) for each in raw]

    async def forget(self, tx: Tx, user: User) -> None:
        """Without an authenticator, and without codes that stand in for it."""
        for table in ("authenticators", "recovery_codes"):
            await tx.run(
                f"DELETE FROM {table} WHERE tenant_id = %s AND person = %s", [tx.call.tenant, user.id]
            )

    async def _row(self, tx: Tx, user: User) -> dict[str, Any]:
        rows = await tx.rows(
            "SELECT secret, pending, pending_until, last_step FROM authenticators"
            " WHERE tenant_id = %s AND person = %s", [tx.call.tenant, user.id],
        )  # fmt: skip
        return rows[0] if rows else {}
