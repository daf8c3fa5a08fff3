"""The secrets that are given out: opaque, 256 bits, kept as SHA-256 only.

Each is derived from the gateway's private key and what it is for. So nothing secret is stored, not even in
the answers kept for repeated requests: a repeated request derives its secret again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import psycopg
from psycopg.errors import UniqueViolation

from chassis.call import Call
from chassis.identity import Signer
from chassis.kernel.refusals import Refused
from chassis.rpc import Handler, Policy
from chassis.store import Replayed, Store, Tx
from gateway.store import AccessStore, Held, holder

PREFIXES = {
    "access": "twa_", "refresh": "twr_", "key": "twk_", "grant": "twt_", "code": "twi_", "challenge": "twc_",
    "browser": "twb_", "entry": "twe_",
}  # fmt: skip
LENGTH = 4 + 43  # a prefix and 32 bytes in base64url


class Mint:
    """Makes secrets of every kind."""

    def __init__(self, signer: Signer) -> None:
        self._key = signer.secret("tokens of access")

    def secret(self, kind: str, subject: str, generation: int) -> str:
        """The secret of that kind for that record; the same for the same question."""
        raw = self.raw(kind, subject, generation)
        return PREFIXES[kind] + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    def raw(self, kind: str, subject: str, generation: int) -> bytes:
        """The 32 bytes behind a secret."""
        return hmac.new(self._key, f"{kind}\n{subject}\n{generation}".encode(), hashlib.sha256).digest()

    def keep(self, tx: Tx, kind: str, subject: str, generation: int, until: datetime) -> str:
        """The secret, recognised from now on until then."""
        secret = self.secret(kind, subject, generation)
        values = {"kind": kind, "subject": subject, "generation": generation, "expire_time": until}
        tx.put(AccessStore.tokens, key={"digest": digest(secret)}, values=values)
        return secret


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


async def held(store: Store, secret: str, *kinds: str, at: datetime) -> Held | None:
    """What a secret that somebody sent stands for, if it is one of these kinds and not over."""
    if len(secret) != LENGTH or not secret.startswith(tuple(PREFIXES[kind] for kind in kinds)):
        return None
    found = await holder(store, digest(secret))
    return found if found and found.kind in kinds and at < found.expire_time else None


Reveal = Callable[[Any], None]


def revealing(
    methods: Mapping[str, tuple[Policy, Handler]], store: Store, reveals: Mapping[str, Reveal]
) -> dict[str, tuple[Policy, Handler]]:
    """The methods, where those of *reveals* put a secret into their answers, the first and the repeated."""
    found = dict(methods)
    for path, (policy, handler) in methods.items():
        if reveal := reveals.get(path.rpartition("/")[2]):
            found[path] = (policy, _revealing(policy, handler, store, reveal))
    return found


def _revealing(policy: Policy, handler: Handler, store: Store, reveal: Reveal) -> Handler:
    async def carry_out(request: Any, call: Call) -> Any:
        try:
            answer = await handler(request, call)
        except Replayed as replayed:
            answer = _read(policy, replayed)
        except (Refused, psycopg.Error) as problem:
            # The same request may have been carried out while this one was under way: its answer stands,
            # and what went wrong here, a taken name say, may be nothing but its effect.
            answer = await _answered(policy, handler, store, request, call, problem)
        if not call.validate_only:
            reveal(answer)
        return answer

    return carry_out


async def _answered(
    policy: Policy, handler: Handler, store: Store, request: Any, call: Call, problem: Exception
) -> Any:
    """What the same request was answered meanwhile; raises *problem* when it was not."""
    try:
        if call.tenant and call.request_id:
            async with store.begin(call) as tx:
                await tx.check_answer()
        elif isinstance(problem, UniqueViolation) and problem.diag.constraint_name == "answers_pkey":
            # A public method finds its organization, and the stored answer there, by itself.
            return await handler(request, call)
    except Replayed as replayed:
        return _read(policy, replayed)
    raise problem


def _read(policy: Policy, replayed: Replayed) -> Any:
    if replayed.refused:
        raise replayed
    answer = policy.response()
    answer.ParseFromString(replayed.response)
    return answer
