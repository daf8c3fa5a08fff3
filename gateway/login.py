"""Passwords checked: slowly, the same for everyone, and not too often.

Hashing runs in two threads with a bounded queue, so that a flood of sign-ins is refused instead of
starving everything else. How many tries there are: see `tries`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from chassis.call import Call
from chassis.identity import Signer
from chassis.kernel.refusals import Refused
from chassis.store import Store
from gateway.domain import throttle
from gateway.domain.user import State, normal_email
from gateway.store import accounts
from gateway.tries import NOBODY, Throttle

T = TypeVar("T")
THREADS, WAITING = 2, 64
MOST_ACCOUNTS = 5  # of one e-mail, that a sign-in without an organization tries


class Passwords:
    """argon2id with two passes over 19 MiB, off the event loop."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2")
        self._waiting = 0
        self._dummy = ""

    async def hash(self, password: str) -> str:
        """What is kept of a password."""
        return await self._run(self._hasher.hash, password)

    async def verify(self, kept: str, password: str) -> bool:
        """Whether it is the password; takes as long when there is none to compare with."""
        if not self._dummy:
            self._dummy = await self._run(self._hasher.hash, secrets.token_hex(16))

        def compare() -> bool:
            try:
                return self._hasher.verify(kept or self._dummy, password)
            except (VerificationError, InvalidHashError):
                return False

        return await self._run(compare) and bool(kept)

    async def _run(self, work: Callable[..., T], *given: str) -> T:
        if self._waiting >= WAITING:
            raise Refused("OVERLOADED", limit="too many sign-ins at once")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)
        finally:
            self._waiting -= 1


PASSWORDS = Passwords()


@dataclass(frozen=True)
class Account:
    """Somebody whose password was right."""

    tenant: str
    user: str
    organization: str


Failed = Callable[[str, str], None]


def _nobody(_tenant: str, _user: str) -> None:
    """Nobody wants to know."""


class Login:
    """Finds whose e-mail and password these are."""

    def __init__(self, store: Store, signer: Signer) -> None:
        self._store = store
        self.throttle = Throttle(store, signer, "passwords", throttle.PASSWORDS)

    async def account(
        self, email: str, password: str, organization: str, network: str, failed: Failed = _nobody
    ) -> Account:
        """The one active account they open, or a refusal that tells nothing else.

        *failed* is told whose password it was not, (organization, user) by (organization, user).
        """
        key = normal_email(email)
        await self.throttle.begin(key, network)
        found = await accounts(self._store, key)
        right, wrong = [], []
        # An unknown address costs what a known one does: a look into the database and a hash.
        for tenant, user in found[:MOST_ACCOUNTS] or [(NOBODY, "")]:
            name, kept = await self._kept(tenant, user)
            meant = not organization or organization in (name, f"organizations/{tenant}")
            if await PASSWORDS.verify(kept if meant else "", password):
                right.append(Account(tenant, user, name))
            elif meant:
                wrong.append((tenant, user))
        if not right:
            await self.throttle.failed(key, network)
            for tenant, user in wrong:
                failed(tenant, user)
            raise Refused("SIGN_IN_REFUSED")
        await self.throttle.succeeded(key, network)
        if len(right) > 1:
            raise Refused(
                "ORGANIZATION_NEEDED", organizations=", ".join(sorted(a.organization for a in right))
            )
        return right[0]

    async def _kept(self, tenant: str, user: str) -> tuple[str, str]:
        """(the organization's display name, the hash) of an active user; nothing of anybody else."""
        async with self._store.begin(Call(tenant=tenant, user="services/access")) as tx:
            rows = await tx.rows(
                "SELECT o.display_name, p.hash FROM users u"
                " JOIN passwords p ON p.tenant_id = u.tenant_id AND p.person = u.id"
                " JOIN organizations o ON o.tenant_id = u.tenant_id"
                " WHERE u.tenant_id = %s AND u.id = %s AND u.state = %s AND u.delete_time IS NULL",
                [tenant, user, State.ACTIVE.value],
            )
        return (rows[0]["display_name"], rows[0]["hash"]) if rows else ("", "")
