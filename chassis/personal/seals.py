"""What a transaction knows of sealing: its organization's ring, and the salts of the rows it has read.

A plain verb pays nothing for it but the sealing itself: rings are known to the process for some seconds,
salts come with their rows, and that the key is still good is asked in the statement that writes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import Message

from chassis import answers, telemetry
from chassis.kernel.record import Record
from chassis.kernel.refusals import Refused
from chassis.personal.blind import Sealer
from chassis.personal.keys import KEY_REPLACED, NEW_KEY, PLAIN, RING, STILL_GOOD, Keys, Ring, new_salt
from chassis.personal.sealing import Broken, UnknownGeneration
from chassis.tables import PERSON_KEY, Collection

if TYPE_CHECKING:
    from chassis.store import Tx

log = logging.getLogger(__name__)
R = TypeVar("R", bound=Record)


class Seals:
    """The sealing of one transaction; nothing happens where the store seals nothing."""

    def __init__(self, tx: Tx, keys: Keys | None) -> None:
        self._tx, self._keys = tx, keys
        self._ring: Ring | None = None
        self._guarded = False  # whether it is asked that the key is still good
        self._rows: dict[tuple[str, str], bytes] = {}  # (table, id) → the person key of the row

    @property
    def ring(self) -> Ring:
        """The organization's ring."""
        if self._ring is None:
            raise RuntimeError("the transaction does not know its organization's keys")
        return self._ring

    async def know(self, *, anew: bool = False) -> None:
        """Look the ring up, unless the process did so just now."""
        if self._keys is None:
            return
        tenant = self._tx.call.tenant
        if self._ring is not None and self._ring.tenant != tenant:
            self._guarded, self._rows = False, {}
        ring = None if anew else self._keys.known(tenant)
        if ring is None:
            asked = self._tx.pipe.ask(RING, (tenant,))
            ring = self._keys.learn(tenant, await asked.rows())
        self._ring = ring

    def state(self) -> tuple[Ring | None, bool]:
        """What `attempt` has to put back."""
        return self._ring, self._guarded

    def put_back(self, state: tuple[Ring | None, bool]) -> None:
        """As it was."""
        self._ring, self._guarded = state

    def _good(self) -> Ring:
        """The ring with a key to seal with, made now where there is none; if it is over, the write fails."""
        if self._guarded:
            return self.ring
        assert self._keys
        if not self.ring.keys:
            self._ring, kept = self._keys.first(self.ring)
            self._keys.forget(self.ring.tenant)  # until it is committed
            self._tx.writes.raw(NEW_KEY, kept)
        else:
            self._tx.writes.raw(STILL_GOOD, [self.ring.tenant, self.ring.newest], KEY_REPLACED)
        self._guarded = True
        return self.ring

    def sealer(
        self, collection: Collection[Any], record: Record, before: Record | None = None
    ) -> Sealer | None:
        """What a record's row is sealed with; None where nothing in it is personal, nor was."""
        if not collection.sealed:
            return None
        row = self._rows.get((collection.name, record.id), b"") if before else b""
        if not row:
            if not collection.personal(record):
                return None
            row = bytes(4) + new_salt()
            self._rows[collection.name, record.id] = row
        return Sealer(self._good(), row[4:], before, int.from_bytes(row[:4]))

    def forget(self, collection: Collection[Any], row: str) -> None:
        """The salt of a row is gone: what is kept of it from here on has none."""
        self._rows.pop((collection.name, row), None)

    async def loaded(self, collection: Collection[R], rows: Sequence[tuple[Any, ...]]) -> list[R]:
        """The records of these rows; SEALED_VALUE_BROKEN, never a wrong value."""
        if not collection.sealed:
            return [collection.load(row) for row in rows]
        try:
            found = [self._load(collection, row) for row in rows]
        except UnknownGeneration:
            await self.know(anew=True)
            found = [self._load(collection, row) for row in rows]
        return found

    def _load(self, collection: Collection[R], row: tuple[Any, ...]) -> R:
        try:
            record = collection.load(row, self.ring)
        except Broken as broken:
            raise alarm(collection.prefix + row[0], str(broken)) from None
        if row[-1]:
            self._rows[collection.name, row[0]] = row[-1]
        return record

    # -- answers ----------------------------------------------------------------------------------

    def _about(self) -> str:
        call = self._tx.call
        return f"{call.user} {call.method} {call.request_id}"

    def answer(self, message: Message) -> bytes:
        """What is kept of an answer: the personal part is read as long as those it is about have keys."""
        if self._keys is None or self.ring.phase == PLAIN or not answers.is_personal(message):
            return message.SerializeToString()
        rest, part = answers.apart(message)
        names = [name for name in answers.names_in(message) if self._salt(name)]
        salts = b"".join(self._salt(name) for name in names)
        lock = self._good().new_lock(salts, "answers", self._about())
        return answers.sealed(rest, part, names, lock)

    def _salt(self, name: str) -> bytes:
        prefix, _, key = name.rpartition("/")
        table = self._tx.store.tables.get(f"{prefix}/", "")
        return self._rows.get((table, key), b"")[4:]

    async def opened(self, kept: bytes) -> bytes:
        """An answer as it was given, without its personal part where one of those it is about has no key."""
        found = answers.read(kept)
        if found is None or self._keys is None:
            return kept
        part, names, rest = found
        for name in names:
            prefix, _, key = name.rpartition("/")
            table = self._tx.store.tables[f"{prefix}/"]
            rows = await self._tx.pipe.ask(
                f"SELECT {PERSON_KEY} FROM {table} WHERE tenant_id = %s AND id = %s",
                (self._tx.call.tenant, key),
            ).rows()
            self._rows[table, key] = rows[0][0] if rows and rows[0][0] else b""
        salts = [self._salt(name) for name in names]
        if not all(salts):
            return rest
        try:
            return rest + await self._open_answer(part, b"".join(salts))
        except Broken:
            raise alarm("the answer", self._about()) from None

    async def _open_answer(self, part: str, salts: bytes) -> bytes:
        generation = answers.generation_of(part).to_bytes(4)
        if int.from_bytes(generation) not in self.ring.keys:
            await self.know(anew=True)
        try:
            return self.ring.lock(generation + salts, "answers", self._about()).open(part, "response")
        except UnknownGeneration:
            raise Broken from None


def alarm(name: str, field: str) -> Refused:
    """What is told, counted and logged of a value that is not what was sealed there."""
    telemetry.METRICS.count("tradewind_sealed_broken_total", 1)
    log.error("%s of %s is not what was sealed there: changed, swapped or copied from elsewhere", field, name)
    return Refused("SEALED_VALUE_BROKEN", name=name, field=field)
