"""Sealing what is kept anew, while everybody works on: values from before, and new generations of keys.

By the owner of the tables, in small transactions over each table in the order of its ids. A record that is
saved meanwhile is not touched: whoever saves it seals it. Ended anywhere, it is begun again and goes on with
what is left; a generation is destroyed when nothing is under it any more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg

from chassis import answers
from chassis.arrays import array
from chassis.personal.keys import GOOD_SECONDS, PLAIN, RING, SEALED, SEALING, Keys, Ring, about_key, new_salt
from chassis.personal.sealing import Broken
from chassis.store import SHARED, Store
from chassis.tables import PERSON_KEY, Collection, quoted

BATCH = 100  # rows of one transaction: whoever saves one of them waits for it
LONGEST_WAIT = 120.0  # seconds for transactions under way to end
Progress = Callable[[str, int, int], None]  # table, done, of how many


class NotDone(Exception):
    """It could not be brought to its end; the message says why. Begun again, it goes on."""


def _silent(_table: str, _done: int, _of: int) -> None:
    """Nobody watches."""


class Reseal:
    """The work on one service's database. `settle`: seconds after which every process knows of new keys."""

    def __init__(
        self, db: psycopg.Connection[Any], store: type[Store], keys: Keys, progress: Progress = _silent,
        settle: float = GOOD_SECONDS + 1,
    ) -> None:  # fmt: skip
        self.db, self.keys, self.progress, self.settle = db, keys, progress, settle
        self.collections = [part for part in store.collections.values() if part.sealed]
        self.tables = store.tables
        if store.looks_everywhere:
            made = keys.master.wrap(os.urandom(32), SHARED)
            db.execute("UPDATE sealing SET shared = %s WHERE shared IS NULL", (made,))
            row = db.execute("SELECT shared FROM sealing").fetchone()
            assert row
            keys.shared = keys.master.unwrap(row[0], SHARED)

    def organizations(self) -> list[str]:
        """All that have keys, or anything that could be sealed."""
        asked = ["SELECT tenant_id FROM data_keys"]
        asked += [f"SELECT tenant_id FROM {part.name}" for part in self.collections]
        rows = self.db.execute(f"SELECT DISTINCT tenant_id::text FROM ({' UNION '.join(asked)}) t ORDER BY 1")
        return [row[0] for row in rows]

    def phase(self) -> str:
        """PLAIN, SEALING or SEALED."""
        row = self.db.execute("SELECT phase FROM sealing").fetchone()
        return row[0] if row else PLAIN

    # -- what was kept before ------------------------------------------------------------------------

    def seal_all(self) -> int:
        """Seal what was kept in plain; how many rows. Processes of the release before must be gone."""
        if self.phase() == SEALED:
            return 0
        self.db.execute("UPDATE sealing SET phase = %s", (SEALING,))
        organizations = self.organizations()
        for tenant in organizations:
            if not self._ring(tenant).keys:
                self._another_key(tenant)
        self._wait()
        done = sum(self._walk(tenant, everything=True) for tenant in organizations)
        self.db.execute("UPDATE sealing SET phase = %s", (SEALED,))
        return done

    # -- generations ---------------------------------------------------------------------------------

    def rotate(self, organizations: Sequence[str]) -> int:
        """A new data key for each, everything under it, the former ones destroyed; how many rows."""
        if self.phase() != SEALED:
            raise NotDone("values from before are not sealed yet: `tradewind keys encrypt` does that first")
        turning = []
        for tenant in organizations:
            ring = self._ring(tenant)
            if len(ring.keys) == 1:  # more: it was begun before
                self._another_key(tenant)
            if ring.keys:
                turning.append(tenant)
        time.sleep(self.settle)
        for tenant in turning:
            self.db.execute(
                "UPDATE data_keys SET closing = true WHERE tenant_id = %s AND generation < %s",
                (tenant, self._ring(tenant).newest),
            )
        self._until_ended()
        done = 0
        for tenant in turning:
            done += self._walk(tenant)
            self._destroy(tenant)
        return done

    def rewrap(self) -> int:
        """Every data key under the newest master key; how many were under another."""
        self._wait()
        done = 0
        asked = "SELECT tenant_id::text, generation, wrapped FROM data_keys"
        for tenant, generation, wrapped in self.db.execute(asked).fetchall():
            if not self.keys.master.is_current(wrapped):
                about = about_key(tenant, generation)
                anew = self.keys.master.wrap(self.keys.master.unwrap(wrapped, about), about)
                changed = "UPDATE data_keys SET wrapped = %s WHERE tenant_id = %s AND generation = %s"
                self.db.execute(changed, (anew, tenant, generation))
                done += 1
        row = self.db.execute("SELECT shared FROM sealing").fetchone()
        if row and row[0] and not self.keys.master.is_current(row[0]):
            anew = self.keys.master.wrap(self.keys.master.unwrap(row[0], SHARED), SHARED)
            self.db.execute("UPDATE sealing SET shared = %s", (anew,))
            done += 1
        return done

    def _ring(self, tenant: str) -> Ring:
        self.keys.forget(tenant)
        return self.keys.learn(tenant, self.db.execute(RING, (tenant,)).fetchall())

    def _another_key(self, tenant: str) -> None:
        generation = self._ring(tenant).newest + 1
        wrapped = self.keys.master.wrap(os.urandom(32), about_key(tenant, generation))
        self.db.execute(
            "INSERT INTO data_keys (tenant_id, generation, wrapped) VALUES (%s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (tenant, generation, wrapped),
        )

    def _destroy(self, tenant: str) -> None:
        ring = self._ring(tenant)
        newest = ring.newest.to_bytes(4)
        for part in self.collections:
            row = self.db.execute(
                f"SELECT count(*) FROM {part.name} WHERE tenant_id = %s AND {PERSON_KEY} IS NOT NULL"
                f" AND substring({PERSON_KEY} FROM 1 FOR 4) <> %s",
                (tenant, newest),
            ).fetchone()
            if row and row[0]:
                raise NotDone(f"{row[0]} rows of {part.name} are still under a former key")
        self.db.execute(
            "DELETE FROM data_keys WHERE tenant_id = %s AND generation < %s AND closing",
            (tenant, ring.newest),
        )

    def _wait(self) -> None:
        time.sleep(self.settle)
        self._until_ended()

    def _until_ended(self) -> None:
        """Until every transaction that was writing when this was called has ended."""
        deadline = time.monotonic() + LONGEST_WAIT
        mine = self._number("SELECT pg_current_xact_id()::text::bigint")
        while self._number("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint") <= mine:
            if time.monotonic() > deadline:
                raise NotDone("a transaction of before has not ended")
            time.sleep(0.05)

    def _number(self, asked: str, *params: str) -> int:
        row = self.db.execute(asked, params).fetchone()
        assert row
        return int(row[0])

    # -- rows ----------------------------------------------------------------------------------------

    def _walk(self, tenant: str, *, everything: bool = False) -> int:
        done = 0
        for part in self.collections:
            total = self._number(f"SELECT count(*) FROM {part.name} WHERE tenant_id = %s", tenant)
            seen = changed = 0
            for rows in self._batches(part, tenant):
                changed += self._reseal(part, tenant, rows, everything)
                seen += len(rows)
                self.progress(part.name, seen, total)
            done += changed
        self._reseal_answers(tenant, everything)
        return done

    def _batches(self, part: Collection[Any], tenant: str) -> Iterator[list[tuple[Any, ...]]]:
        last = ""
        while True:
            asked = f"{part.select} AND id > %s ORDER BY id LIMIT {BATCH}"
            rows = self.db.execute(asked, (tenant, last)).fetchall()
            if not rows:
                return
            yield rows
            last = rows[-1][0]

    def _reseal(
        self, part: Collection[Any], tenant: str, rows: list[tuple[Any, ...]], everything: bool
    ) -> int:
        ring = self.keys.known(tenant) or self._ring(tenant)
        due: dict[str, tuple[Any, list[Any]]] = {}
        for row in rows:
            if row[-1] and int.from_bytes(row[-1][:4]) == ring.newest and not everything:
                continue
            try:
                record = part.load(row, ring)
            except Broken as broken:
                raise NotDone(f"{broken} of {part.prefix}{row[0]} is not what was sealed there") from None
            if not row[-1] and not part.personal(record):
                continue
            salt = row[-1][4:] if row[-1] else new_salt()
            lock = ring.new_lock(salt, part.name, record.id)
            due[record.id] = record, part.sealed_cells(record, lock)
        if not due:
            return 0
        with self.db.transaction():
            kept = self._update(part, tenant, due)
            if part.found_by:
                self._index(part, ring, [due[id_][0] for id_ in kept])
        return len(kept)

    def _update(self, part: Collection[Any], tenant: str, due: dict[str, tuple[Any, list[Any]]]) -> list[str]:
        """Put the sealed cells into the rows that are still of the version they were read in."""
        names = [part.columns[at] for at in part.resealed]
        casts = ", ".join(f"%s::{kind}[]" for kind in ["text", "bigint", *part.types_of(names)])
        changes = ", ".join(f"{quoted(name)} = v.{quoted(name)}" for name in names)
        listed = ", ".join(map(quoted, names))
        versions = [record.version for record, _ in due.values()]
        columns = [list(due), versions, *zip(*(cells for _, cells in due.values()), strict=True)]
        rows = self.db.execute(
            f"UPDATE {part.name} t SET {changes} FROM unnest({casts}) AS v (id, version, {listed})"
            " WHERE t.tenant_id = %s AND t.id = v.id AND t.version = v.version RETURNING t.id",
            [*map(array, columns), tenant],
        )
        return [row[0] for row in rows.fetchall()]

    def _index(self, part: Collection[Any], ring: Ring, records: list[Any]) -> None:
        fields = [f"{part.name}.{name}" for name in part.found_by]
        self.db.execute(
            "DELETE FROM blind_index WHERE tenant_id = %s AND record = ANY(%s::text[]) AND field = ANY(%s)",
            (ring.tenant, array([record.id for record in records]), fields),
        )
        found = [
            (field, ring.newest_digest(field, token, shared=shared), record.id)
            for record in records
            for field, token, shared in part.tokens(record)
        ]
        self.db.execute(
            "INSERT INTO blind_index (tenant_id, field, digest, record) SELECT %s::uuid, * FROM"
            " unnest(%s::text[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING",
            (ring.tenant, *(array([entry[at] for entry in found]) for at in range(3))),
        )

    # -- answers -------------------------------------------------------------------------------------

    def _reseal_answers(self, tenant: str, everything: bool) -> None:
        ring, last = self._ring(tenant), ("", "", "")
        while True:
            rows = self.db.execute(
                "SELECT principal, method, request_id, response FROM answers WHERE tenant_id = %s"
                " AND (principal, method, request_id) > (%s, %s, %s) AND NOT refused"
                f" ORDER BY principal, method, request_id LIMIT {BATCH}",
                (tenant, *last),
            ).fetchall()
            if not rows:
                return
            for principal, method, request_id, response in rows:
                anew = self._answer(ring, f"{principal} {method} {request_id}", response, everything)
                if anew is not None:
                    self.db.execute(
                        "UPDATE answers SET response = %s WHERE tenant_id = %s AND principal = %s"
                        " AND method = %s AND request_id = %s",
                        (anew, tenant, principal, method, request_id),
                    )
            last = rows[-1][:3]

    def _answer(self, ring: Ring, about: str, kept: bytes, everything: bool) -> bytes | None:
        """An answer sealed anew; None where it stays as it is."""
        found = answers.read(kept)
        if found is None:
            if not everything or not kept:
                return None
            # Of before: whatever is personal in it, the organization's key is over all of it.
            return answers.sealed_bytes(b"", kept, [], ring.new_lock(b"", "answers", about))
        part, names, rest = found
        generation = answers.generation_of(part)
        if generation == ring.newest:
            return None
        salts = [self._salt(ring.tenant, name) for name in names]
        if not all(salts) or generation not in ring.keys:
            return rest
        salt = b"".join(salts)
        plain = ring.lock(generation.to_bytes(4) + salt, "answers", about).open(part, "response")
        return answers.sealed_bytes(rest, plain, names, ring.new_lock(salt, "answers", about))

    def _salt(self, tenant: str, name: str) -> bytes:
        prefix, _, key = name.rpartition("/")
        asked = f"SELECT {PERSON_KEY} FROM {self.tables[prefix + '/']} WHERE tenant_id = %s AND id = %s"
        row = self.db.execute(asked, (tenant, key)).fetchone()
        return row[0][4:] if row and row[0] else b""
