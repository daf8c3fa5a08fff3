"""A transaction under way: what it reads, and its writes, kept back and sent with the COMMIT."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from google.protobuf.message import Message

from chassis import outbox, scope
from chassis.audit.places import HERE, LONGEST_DEVICE
from chassis.call import Call
from chassis.kernel.record import Owned, Record, replace
from chassis.kernel.refusals import Refused
from chassis.personal.seals import Seals
from chassis.pipe import Pipe
from chassis.reading import Ahead, Reading
from chassis.tables import Rows

if TYPE_CHECKING:
    from chassis.store import Store

R = TypeVar("R", bound=Record)
M = TypeVar("M", bound=Message)


class Tx(Reading):
    """A transaction under way; see Store.begin."""

    def __init__(self, store: Store, pipe: Pipe, call: Call) -> None:
        super().__init__(store, pipe, call)
        self.emitted = 0
        self.organizations: set[str] = set()
        self.places: set[tuple[str, str]] = set()
        self.batch: Sequence[Any] = ()  # the events applied in it: what a reaction may read ahead for
        self._nth: dict[tuple[str, int], int] = {}
        self.seals = Seals(self, store.keys)

    # -- the frame ------------------------------------------------------------------------------

    def start(self) -> None:
        """Ask for BEGIN, the organization, the time limit and the stored answer."""
        self.pipe.ask("BEGIN")
        self._enter(self.call)
        if self.call.request_id:
            self._answer = self.pipe.ask(
                "SELECT request_hash, refused, response FROM answers"
                " WHERE tenant_id = %s AND principal = %s AND method = %s AND request_id = %s",
                (self.call.tenant, self.call.user, self.call.method, self.call.request_id),
            )

    async def enter(self, call: Call) -> None:
        """Go on as this call, in its organization; what was kept back for the one before is sent first."""
        self.flush()
        self._enter(call)
        await self.seals.know()

    def _enter(self, call: Call) -> None:
        if call.tenant != self.call.tenant:  # the same id may stand in both
            self._seen, self._unscoped, self._purged = {}, set(), set()
        self.call = call
        limit = max(1, int(call.remaining() * 1000))
        self.pipe.ask(
            "SELECT set_config('app.tenant_id', %s, true), set_config('statement_timeout', %s, true)",
            (call.tenant, str(limit)),
        )

    async def finish(self) -> None:
        """Send what was kept back together with the COMMIT; a dry run only finds out what it would do."""
        # The stored answer need not have been looked at: writing the same one again raises, see rpc.
        self.flush()
        self.pipe.ask("SET CONSTRAINTS ALL IMMEDIATE" if self.call.validate_only else "COMMIT")
        await self.pipe.settle()

    async def rollback(self) -> None:
        """Take everything back; a connection that is gone has done so."""
        with contextlib.suppress(psycopg.Error):
            await self.pipe.rollback()

    # -- writing --------------------------------------------------------------------------------

    def add(self, record: R, *, scoped: bool = True) -> R:
        """Keep a new record; owner and team are the caller's unless it names them within the scope.

        *scoped* off keeps them as they are: for what follows from a record the caller may reach.
        """
        record.check()
        collection, call = self._collection(type(record)), self.call
        if isinstance(record, Owned) and scoped:
            record = scope.admit(record, call)  # type: ignore[assignment]
        made = replace(
            record, version=max(1, self.store.version_floor), create_time=call.now, update_time=call.now,
            creator=record.creator or call.user, updater=call.user,
        )  # fmt: skip
        self.writes.insert(collection, call.tenant, made, self.seals.sealer(collection, made))
        self._purged.discard((collection.name, made.id))
        self._seen[collection.name, made.id] = made
        return made

    def save(self, record: R) -> R:
        """Keep the next version of a record read in this transaction; others' changes since then refuse."""
        record.check()
        collection, call = self._collection(type(record)), self.call
        if collection.sealed:
            collection.refuse_erased(record)
        before = self._seen.get((collection.name, record.id))
        if before is None:
            raise RuntimeError(f"{collection.prefix}{record.id} was not read in this transaction")
        if before.version != record.version:
            record = replace(record, version=before.version)
        version = max(record.version + 1, self.store.version_floor)
        made = replace(record, version=version, update_time=call.now, updater=call.user)
        sealer = self.seals.sealer(collection, made, before)
        self.writes.update(collection, call.tenant, made, before.version, sealer)
        self._seen[collection.name, made.id] = made
        return made

    def purge(self, record: Record) -> None:
        """Delete the row for good."""
        collection = self._collection(type(record))
        self.writes.delete(collection, self.call.tenant, record)
        self._seen.pop((collection.name, record.id), None)
        self._purged.add((collection.name, record.id))

    def emit(self, event: Message, *, record: str = "", version: int = 0, cause: str = "") -> None:
        """Publish a fact with this change. Record and version are those of the event's first field."""
        if not record:
            resource = getattr(event, event.DESCRIPTOR.fields[0].name)
            record, version = resource.name, int(resource.etag)
        nth = self._nth.get((record, version), 0)
        self._nth[record, version] = nth + 1
        self.emitted += 1
        self._know()
        self.writes.fact(outbox.row(event, record, version, nth, self.call, cause, self.place()))

    def place(self) -> str:
        """From where the call comes, as facts name it; who works for itself is where its process is."""
        call, places = self.call, self.store.places
        network, device = (call.peer, call.agent) if call.peer else (HERE, call.user)
        digest = places.digest(call.tenant, network, device)
        if (row := (call.tenant, digest)) not in places.kept and row not in self.places:
            self.places.add(row)
            about = "\n".join(row)
            cells = [
                places.sealed(network, f"network\n{about}"),
                places.sealed(device[:LONGEST_DEVICE], f"device\n{about}"),
            ]
            self.writes.raw(
                "INSERT INTO call_places (tenant_id, id, network, device) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING RETURNING 1", [*row, *cells],
            )  # fmt: skip
        return digest

    def _know(self) -> None:
        """Jobs, laws and rebuilds go through the organizations that have anything here at all."""
        if self.call.tenant not in self.store.known_organizations | self.organizations:
            self.organizations.add(self.call.tenant)
            self.writes.raw("INSERT INTO tenants (id) VALUES (%s) ON CONFLICT DO NOTHING RETURNING 1",
                            [self.call.tenant])  # fmt: skip

    def reply(self, message: M) -> M:
        """The answer to the call, kept under its request_id so that asking again answers the same."""
        if self.call.request_id and not self.call.validate_only:
            self.keep(refused=False, answer=self.seals.answer(message))
        return message

    def keep(self, *, refused: bool, answer: bytes) -> None:
        """Keep what is answered to the call's request_id. A second answer raises: the first one stands."""
        call = self.call
        self.writes.answer(
            [call.tenant, call.user, call.method, call.request_id, call.request_hash, refused, answer]
        )

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """What is written inside, where nothing may be awaited, is forgotten if it ends in a refusal."""
        kept = (self.writes.copy(), dict(self._seen), set(self._unscoped), set(self._purged),
                dict(self._nth), self.emitted, set(self.organizations), set(self.places))  # fmt: skip
        seals = self.seals.state()
        try:
            yield
        except Refused:
            (self.writes, self._seen, self._unscoped, self._purged,
             self._nth, self.emitted, self.organizations, self.places) = kept  # fmt: skip
            self.seals.put_back(seals)
            raise

    def fold(self, model: Rows, *, key: Mapping[str, Any], add: Mapping[str, int]) -> None:
        """Add to the sums of one key of a read model; one key is sent once, however often it is added to."""
        self._know()
        self.writes.fold(model, self.call.tenant, key, add)

    def put(self, rows: Rows, *, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Make the row of that key say these values."""
        self._know()
        self.writes.put(rows, self.call.tenant, key, values)

    def append(self, rows: Rows, values: Mapping[str, Any]) -> None:
        """Insert a row that must not be there yet."""
        self._know()
        self.writes.append(rows, self.call.tenant, values)

    def number(self, series: str) -> Ahead[int]:
        """The next number of a series, without gaps: taken in this transaction, given back if it fails."""
        taken = self.rows(
            "INSERT INTO number_series (tenant_id, series, last) VALUES (%s, %s, 1)"
            " ON CONFLICT (tenant_id, series) DO UPDATE SET last = number_series.last + 1 RETURNING last",
            [self.call.tenant, series],
        )

        async def receive() -> int:
            return int((await taken)[0]["last"])

        return Ahead(receive)


def request_hash(request: Message) -> bytes:
    """What tells a repeated request from a different one under the same id."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
