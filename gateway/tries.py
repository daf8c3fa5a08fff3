"""What was tried on accounts, kept where every gateway sees it: N of them allow no more than one.

Tries come before the organization is known, so they stand under one that nobody has; accounts and networks
are kept as keyed digests, since an address that somebody typed says something about a person.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from chassis.call import Call
from chassis.identity import Signer
from chassis.kernel.refusals import Refused
from chassis.store import Store, Tx
from gateway.domain.throttle import (
    FAMILIAR,
    Change,
    Pace,
    Tried,
    begun,
    failed,
    network_of,
    settled,
    succeeded,
    wait,
)
from gateway.store import AccessStore

Clock = Callable[[], datetime]
NOBODY = "00000000-0000-0000-0000-000000000000"
_READ = (
    "SELECT digest, failures, under_way, last_time, begin_time, good_time FROM tries"
    " WHERE tenant_id = %s AND digest IN (%s, %s)"
)
# A row more is a few rows less: what is over goes with the next try, so that nothing grows without end.
_FORGET = (
    "DELETE FROM tries WHERE tenant_id = %s AND digest IN (SELECT digest FROM tries"
    " WHERE tenant_id = %s AND keep_time < %s AND digest NOT IN (%s, %s)"
    " ORDER BY keep_time LIMIT 4 FOR UPDATE SKIP LOCKED) RETURNING 1"
)


def _now() -> datetime:
    return datetime.now(UTC)


class Throttle:
    """Says whether one more try may begin, and hears how it went."""

    REMEMBERED = 20_000

    def __init__(self, store: Store, signer: Signer, what: str, pace: Pace, clock: Clock = _now) -> None:
        self._store, self._pace, self._clock, self._what = store, pace, clock, what
        self._key = signer.secret("tries of access")
        # Until when a digest waits: who is refused again and again costs the database nothing.
        self._waits: OrderedDict[str, datetime] = OrderedDict()

    async def begin(self, account: str, network: str) -> None:
        """Count a try, or refuse with SIGN_IN_THROTTLED while there is still to wait."""
        pair, _ = digests = self._digests(account, network)
        at = self._clock()
        if at < (until := self._waits.get(pair, at)):
            raise _throttled(until - at)
        due = timedelta(0)
        async with self._store.begin(Call(tenant=NOBODY, user="services/access", now=at)) as tx:
            before = await self._read(tx, digests, at)
            due = wait(self._pace, *before, at)
            if due <= timedelta(0):
                self._write(tx, digests, begun(*before, at), at)
        if due > timedelta(0):
            self._remember(pair, at + due)
            raise _throttled(due)

    async def failed(self, account: str, network: str) -> None:
        """The try was wrong."""
        await self._settle(account, network, failed)

    async def succeeded(self, account: str, network: str) -> None:
        """The try was right: this network is known from now on."""
        await self._settle(account, network, succeeded)

    async def _settle(self, account: str, network: str, verdict: Change) -> None:
        digests, at = self._digests(account, network), self._clock()
        async with self._store.begin(Call(tenant=NOBODY, user="services/access", now=at)) as tx:
            before = await self._read(tx, digests, at)
            self._write(tx, digests, verdict(*before, at), at)
            tx.writes.raw(_FORGET, [NOBODY, NOBODY, at, *digests])

    async def _read(self, tx: Tx, digests: tuple[str, str], at: datetime) -> tuple[Tried, Tried]:
        """What is known of the pair and of the account; one at a time from here to the commit."""
        line = tx.rows("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", [digests[1]])
        reading = tx.rows(_READ, [NOBODY, *digests])
        await line
        known = {row.pop("digest"): Tried(**row) for row in await reading}
        pair, everywhere = (known.get(digest, Tried()) for digest in digests)
        return settled(self._pace, pair, everywhere, at)

    def _write(self, tx: Tx, digests: tuple[str, str], known: tuple[Tried, Tried], at: datetime) -> None:
        """As it stands now; not through the transaction's own `put`, which would take Nobody for somebody."""
        for digest, tried in zip(digests, known, strict=True):
            keep = at + max(self._pace.forgiven, self._pace.window)
            if tried.good_time:
                keep = max(keep, tried.good_time + FAMILIAR)
            tx.writes.put(AccessStore.tries, NOBODY, {"digest": digest}, vars(tried) | {"keep_time": keep})

    def _digests(self, account: str, network: str) -> tuple[str, str]:
        """Of the account with the network, and of the account over all networks."""
        return self._digest(account, network_of(network)), self._digest(account, "*")

    def _digest(self, account: str, network: str) -> str:
        said = f"{self._what}\n{account}\n{network}".encode()
        return hmac.new(self._key, said, hashlib.sha256).hexdigest()

    def _remember(self, digest: str, until: datetime) -> None:
        self._waits[digest] = until
        self._waits.move_to_end(digest)
        while len(self._waits) > self.REMEMBERED:
            self._waits.popitem(last=False)


def _throttled(due: timedelta) -> Refused:
    return Refused("SIGN_IN_THROTTLED", seconds=math.ceil(due.total_seconds()))
