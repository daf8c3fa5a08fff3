"""Where the chain of facts stood, under the signature of its service, kept in other services' databases.

Whoever can write to a database can compute its hashes anew, but not what others have kept of them. Once a
minute a service asks those whose checkpoints it keeps (`Service.keeps`) for one, and checks the signature.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from tradewind.type.v1 import audit_pb2

from chassis.call import Call
from chassis.identity import Signer
from chassis.jobs import Jobs
from chassis.resync import NOBODY

if TYPE_CHECKING:
    from chassis.clients import Clients
    from chassis.store import Store

log = logging.getLogger(__name__)
EVERY_SECONDS = 60.0


def signed(point: audit_pb2.Checkpoint) -> bytes:
    """What the signature of a checkpoint is over."""
    at = point.sign_time.ToMicroseconds()
    said = ("tradewind checkpoint 1", point.service, point.partition, point.epoch, point.position, at)
    return "\n".join([*map(str, said), point.hash.hex()]).encode()


def is_true(point: audit_pb2.Checkpoint, keys: Mapping[str, Any]) -> bool:
    """Whether the service it speaks of has signed it; *keys* by the names of keys."""
    key = keys.get("gateway" if point.service == "access" else point.service)
    try:
        if key is not None:
            key.verify(point.signature, signed(point))
            return True
    except InvalidSignature:
        pass
    return False


async def sign(store: Store, service: str, signer: Signer) -> list[audit_pb2.Checkpoint]:
    """Where the facts of each partition stand now, signed."""
    async with store.database.pipe() as pipe:
        heads = await pipe.ask("SELECT part, epoch::text, pos, hash FROM outbox_head ORDER BY part").rows()
    made = []
    for part, epoch, pos, digest in heads:
        if not pos:
            continue  # nothing has happened yet
        point = audit_pb2.Checkpoint(service=service, partition=part, epoch=epoch, position=pos, hash=digest)
        point.sign_time.FromDatetime(datetime.now(UTC))
        point.signature = signer.key.sign(signed(point))
        made.append(point)
    return made


class Keeper:
    """Keeps the checkpoints of some other services, in one process at a time."""

    def __init__(
        self, service: str, store: Store, sources: Sequence[str], clients: Clients, jobs: Jobs,
        keys: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.service, self.store, self.sources = service, store, tuple(sources)
        self.clients, self.jobs, self.keys = clients, jobs, keys
        self._silent: set[str] = set()  # sources that did not answer: said once

    async def run(self) -> None:
        """Ask every source once a minute, until cancelled."""
        while True:
            for source in self.sources:
                try:
                    await self.jobs.turn(f"checkpoint_{source}", EVERY_SECONDS, partial(self.keep, source))
                except Exception as problem:
                    log.warning("checkpoints of %s wait: %s", source, problem)
            await asyncio.sleep(5)

    async def keep(self, source: str) -> int:
        """Ask *source* for its checkpoints and keep those that are new; how many."""
        call = Call(tenant=NOBODY, user=f"services/{self.service}")
        method = f"tradewind.{source}.v1.EventsService.SignCheckpoints"
        try:
            answer = await self.clients.ask(method, audit_pb2.SignCheckpointsRequest(), call)
            self._silent.discard(source)
        except Exception as problem:
            if source not in self._silent:
                log.warning("%s signs no checkpoint: %s", source, problem)
            self._silent.add(source)
            return 0
        kept = 0
        for point in answer.checkpoints:
            if point.service != source or not is_true(point, self.keys):
                log.error("a checkpoint of %s is not signed by it", source)
                continue
            kept += await self._keep(point)
        return kept

    async def _keep(self, point: audit_pb2.Checkpoint) -> int:
        at = point.sign_time.ToDatetime(UTC)
        async with self.store.database.pipe() as pipe:
            return await pipe.ask(
                "INSERT INTO checkpoints (source, part, epoch, pos, hash, signed_at, signature)"
                " VALUES (%s, %s::smallint, %s::uuid, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                [point.service, point.partition, point.epoch, point.position, point.hash, at,
                 point.signature],
            ).count()  # fmt: skip
