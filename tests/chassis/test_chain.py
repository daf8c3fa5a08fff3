"""A superuser alters the facts of a service, in every way there is: each is found, and found where it is."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tradewind.type.v1 import audit_pb2

from chassis import migrate
from chassis.audit import chain
from chassis.audit.checkpoints import signed
from chassis.call import new_id
from tests.servers import Servers

TAMPERINGS = int(os.environ.get("TRADEWIND_TAMPERINGS", "100"))
FACTS, EVERY = 60, 7  # facts of the chain, and a checkpoint after so many
PART = 2
COLUMNS = {
    "payload": "payload || '\\x00'::bytea", "actor": "actor || 'x'", "on_behalf_of": "on_behalf_of || 'x'",
    "cause": "cause || 'x'", "traceparent": "traceparent || 'x'", "place": "place || 'x'",
    "concerns": "concerns || 'x'", "type": "type || 'x'", "record": "record || 'x'",
    "record_version": "record_version + 1000", "nth": "nth + 1", "tenant_id": "gen_random_uuid()",
    "event_id": "gen_random_uuid()", "occurred_at": "occurred_at + interval '1 microsecond'",
    "form": "3 - form", "hash": "sha256(hash)",
}  # fmt: skip


@dataclass
class Altered:
    """A chain of facts in a database of its own, and what others keep of it."""

    url: str  # the superuser's
    db: psycopg.Connection
    points: list[audit_pb2.Checkpoint]
    keys: dict[str, object]

    def verify(self) -> chain.Report:
        """What is said about it now."""
        [part] = [one for one in chain.parts(self.db, "customer") if one.part == PART]
        report = chain.take([part], [("contract", point) for point in self.points], self.keys)
        report.add(chain.verify(self.url, part))
        return report

    def restore(self) -> None:
        """As it was written."""
        for table in ("outbox", "outbox_head"):
            self.db.execute(f"TRUNCATE {table}")
            self.db.execute(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM kept_{table}")

    def rehash(self, first: int) -> None:
        """Compute all hashes from a position on anew, as the sequencer does, and the head's."""
        self.db.execute(
            "UPDATE outbox SET pos = NULL, hash = NULL WHERE part = %s AND pos >= %s", [PART, first]
        )
        self.db.execute(
            "UPDATE outbox_head h SET pos = %s - 1, owner = NULL, lease_until = NULL, hash = coalesce("
            " (SELECT hash FROM outbox WHERE part = h.part AND pos = %s - 1), '') WHERE part = %s",
            [first, first, PART],
        )
        self.db.execute("SELECT outbox_number(%s::smallint, 'me', 5)", [PART])


def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture(scope="module")
def written(servers: Servers) -> Iterator[Altered]:
    """Facts numbered as in life, with a checkpoint now and then."""
    owner, app = servers.database("tampered")
    migrate.upgrade("services.customer", owner, app)
    url = servers.postgres.url("tampered")
    signer, points = key(), []
    with psycopg.connect(url, autocommit=True) as db:
        for number in range(1, FACTS + 1):
            db.execute(
                "INSERT INTO outbox (part, event_id, tenant_id, record, record_version, nth, type, payload,"
                " actor, on_behalf_of, cause, traceparent, place) VALUES (%s, %s, %s, %s, %s, 0,"
                " 'tradewind.customer.v1.CustomerUpdated', %s, 'users/a', '', '', '', 'p')",
                [PART, new_id(), new_id(), f"customers/{number % 9}", number, os.urandom(30)],
            )
            if number % EVERY == 0 or number == FACTS:
                db.execute("SELECT outbox_number(%s::smallint, 'me', 5)", [PART])
                row = db.execute("SELECT epoch::text, pos, hash FROM outbox_head WHERE part = %s", [PART])
                [(epoch, pos, digest)] = row.fetchall()
                point = audit_pb2.Checkpoint(
                    service="customer", partition=PART, epoch=epoch, position=pos, hash=digest
                )
                point.sign_time.GetCurrentTime()
                point.signature = signer.sign(signed(point))
                points.append(point)
        for table in ("outbox", "outbox_head"):
            db.execute(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")
        yield Altered(url, db, points, {"customer": signer.public_key()})


Where = tuple[int, int]  # the positions of which at least one has to be named


def edit(found: Altered, rng: random.Random) -> tuple[str, Where]:
    """One cell of one fact."""
    at, (column, value) = rng.randint(1, FACTS), rng.choice(sorted(COLUMNS.items()))
    found.db.execute(f"UPDATE outbox SET {column} = {value} WHERE part = %s AND pos = %s", [PART, at])
    return f"{column} at {at}", (at, at)


def edit_and_hash(found: Altered, rng: random.Random) -> tuple[str, Where]:
    """One fact, and its own hash so that it fits."""
    at = rng.randint(1, FACTS)
    found.db.execute("UPDATE outbox SET actor = 'users/z' WHERE part = %s AND pos = %s", [PART, at])
    body = chain._FORMS[2]
    found.db.execute(
        f"UPDATE outbox o SET hash = sha256(coalesce((SELECT hash FROM outbox WHERE part = o.part"
        f" AND pos = o.pos - 1), '') || {body}) WHERE part = %s AND pos = %s", [PART, at],
    )  # fmt: skip
    return f"edited and hashed at {at}", (at, at)


def delete(found: Altered, rng: random.Random) -> tuple[str, Where]:
    """One fact is gone; later ones may have moved up."""
    at, close = rng.randint(1, FACTS), rng.random() < 0.5
    found.db.execute("DELETE FROM outbox WHERE part = %s AND pos = %s", [PART, at])
    if close:
        for pos in range(at + 1, FACTS + 1):
            found.db.execute("UPDATE outbox SET pos = pos - 1 WHERE part = %s AND pos = %s", [PART, pos])
    return f"deleted {at}, closed: {close}", (at, at)


def reorder(found: Altered, rng: random.Random) -> tuple[str, Where]:
    """Two facts have changed places."""
    one, other = sorted(rng.sample(range(1, FACTS + 1), 2))
    for was, now in ((one, 10_000), (other, one), (10_000, other)):
        found.db.execute("UPDATE outbox SET pos = %s WHERE part = %s AND pos = %s", [now, PART, was])
    return f"{one} and {other} changed places", (one, one)


def insert(found: Altered, rng: random.Random) -> tuple[str, Where]:
    """A fact that never was, between others or behind the last."""
    at = rng.randint(1, FACTS + 1)
    for pos in range(FACTS, at - 1, -1):
        found.db.execute("UPDATE outbox SET pos = pos + 1 WHERE part = %s AND pos = %s", [PART, pos])
    found.db.execute(
        "INSERT INTO outbox (part, event_id, tenant_id, record, record_version, nth, type, payload, actor,"
        " on_behalf_of, cause, traceparent, pos, hash, form) SELECT part, gen_random_uuid(), tenant_id,"
        " record || 'x', record_version, nth, type, payload, actor, '', '', '', %s, hash, 2 FROM outbox"
        " WHERE part = %s LIMIT 1", [at, PART],
    )  # fmt: skip
    return f"inserted at {at}", (at, at)


def truncate(found: Altered, rng: random.Random) -> tuple[str, Where]:
    """The last facts are gone, and the head may be back where it was then."""
    last, back = rng.randint(0, FACTS - 1), rng.random() < 0.7
    found.db.execute("DELETE FROM outbox WHERE part = %s AND pos > %s", [PART, last])
    if back:
        found.rehash(last + 1)
    return f"cut behind {last}, head back: {back}", (last + 1, FACTS)


def rewrite(found: Altered, rng: random.Random) -> tuple[str, Where]:
    """One fact is changed or gone, and every later hash fits."""
    at, gone = rng.randint(1, FACTS), rng.random() < 0.5
    change = "DELETE FROM outbox" if gone else "UPDATE outbox SET payload = '\\x0102'"
    found.db.execute(f"{change} WHERE part = %s AND pos = %s", [PART, at])
    found.rehash(at if rng.random() < 0.7 else 1)
    return f"rewritten from {at}, one gone: {gone}", (at, at)


def forge(found: Altered, rng: random.Random) -> tuple[str, Where]:
    """As above, by somebody who writes checkpoints too, with a key of their own."""
    said, where = rewrite(found, rng)
    stranger = key()
    for number, point in enumerate(found.points):
        rows = found.db.execute(
            "SELECT hash FROM outbox WHERE part = %s AND pos = %s", [PART, point.position]
        )
        made = audit_pb2.Checkpoint()
        made.CopyFrom(point)
        made.hash = next((row[0] for row in rows), b"")
        if made.hash != point.hash:
            made.signature = stranger.sign(signed(made))
            found.points[number] = made
    return f"{said}, checkpoints forged", where


Tampering = Callable[[Altered, random.Random], tuple[str, Where]]
WAYS: tuple[Tampering, ...] = (edit, edit, edit_and_hash, delete, reorder, insert, truncate, rewrite, forge)


def test_what_nobody_touched_is_whole(written: Altered) -> None:
    report = written.verify()
    assert (report.breaks, report.facts, report.checkpoints) == ([], FACTS, len(written.points))
    assert report.notes == []


@pytest.mark.req("X-61")
def test_every_tampering_by_a_superuser_is_found_where_it_is(written: Altered) -> None:
    rng, points = random.Random("tampering"), list(written.points)
    for number in range(TAMPERINGS):
        said, (first, last) = WAYS[number % len(WAYS)](written, rng)
        breaks = written.verify().breaks
        assert breaks, f"{number}: {said} was not found"
        # Named no wider than the facts between two checkpoints, and the one behind.
        near = [b for b in breaks if b.first <= last and b.last >= first and b.last - b.first <= FACTS]
        assert near, f"{number}: {said} is looked for in {[*map(str, breaks)]}"
        if last == first:
            assert min(b.last - b.first for b in near) <= EVERY, f"{number}: {said}: {[*map(str, breaks)]}"
        written.points[:] = points
        written.restore()
    assert written.verify().breaks == []


def test_a_restored_database_is_not_called_tampered_and_says_what_it_gave_up(written: Altered) -> None:
    points = list(written.points)
    [[epoch]] = written.db.execute("SELECT epoch::text FROM outbox_head WHERE part = %s", [PART]).fetchall()
    written.db.execute("DELETE FROM outbox WHERE part = %s AND pos > 40", [PART])
    written.rehash(41)
    written.db.execute("UPDATE outbox_head SET epoch = gen_random_uuid() WHERE part = %s", [PART])
    try:
        assert "nothing was restored" in str(written.verify().breaks[0])
        written.db.execute(
            "INSERT INTO outbox_branches (part, epoch, pos, since) VALUES (%s, %s, 40, now())", [PART, epoch]
        )
        report = written.verify()
        assert report.breaks == [] and report.checkpoints == 40 // EVERY
        assert report.notes == [
            f"customer, partition {PART}: a restoration gave up the facts of an epoch from 41 to {FACTS}"
            " at least."
        ]
        written.db.execute("UPDATE outbox SET payload = '' WHERE part = %s AND pos = 12", [PART])
        assert "position 11 to 12" in str(written.verify().breaks[0])
    finally:
        written.points[:] = points
        written.db.execute("TRUNCATE outbox_branches")
        written.restore()


def test_facts_let_go_of_in_time_are_no_break_and_too_early_are(written: Altered) -> None:
    written.db.execute(
        "UPDATE outbox_head SET purged = 20, purged_hash = (SELECT hash FROM outbox WHERE part = %s"
        " AND pos = 20) WHERE part = %s", [PART, PART],
    )  # fmt: skip
    written.db.execute("DELETE FROM outbox WHERE part = %s AND pos <= 20", [PART])
    try:
        early = written.verify().breaks
        assert {b.what for b in early} == {"let go of 0 days after it was signed"}
        for point in written.points:
            point.sign_time.seconds -= 15 * 86_400
        signer = key()
        for point in written.points:
            point.signature = signer.sign(signed(point))
        kept, written.keys["customer"] = written.keys["customer"], signer.public_key()
        assert written.verify().breaks == []
        written.keys["customer"] = kept
    finally:
        written.restore()
