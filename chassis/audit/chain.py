"""The chain of facts, computed again by who does not trust the database: what does not fit is named.

Every fact's hash is over itself and the hash before it. What a superuser changes breaks the chain at that
fact; whoever computes all later hashes anew still has to meet the checkpoints that other services keep, and
those are signed with keys that are in no database: what lies between two of them has then been rewritten.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from tradewind.type.v1 import audit_pb2

from chassis.audit.checkpoints import is_true

# What the hash of a fact is over, beside the hash before it. The database puts it together as the sequencer
# did (see schema and audit_schema); the hashing is done here.
_FORMS = {
    1: "uuid_send(event_id) || uuid_send(tenant_id)"
    " || convert_to(concat_ws(' ', record, record_version, type, actor, cause), 'UTF8') || payload",
    2: "int2send(part) || int8send(pos) || uuid_send(event_id) || uuid_send(tenant_id)"
    " || int8send(record_version) || int2send(nth) || timestamptz_send(occurred_at)"
    " || convert_to(concat(length(record), ':', record, length(type), ':', type, length(actor), ':', actor,"
    " length(on_behalf_of), ':', on_behalf_of, length(cause), ':', cause,"
    " length(traceparent), ':', traceparent, length(place), ':', place, length(concerns), ':', concerns),"
    " 'UTF8') || payload",
}
_BODIES = (
    "SELECT pos, hash, CASE form WHEN 1 THEN {1} WHEN 2 THEN {2} END FROM outbox"
    " WHERE part = {part} AND pos IS NOT NULL ORDER BY pos"
)
MOST = 20  # breaks named of one partition
KEPT_DAYS = 14  # facts younger than that are never let go of
_NEVER = 2**63


@dataclass(frozen=True)
class Break:
    """Something is not as it was written: where, between which positions, and what."""

    service: str
    part: int
    first: int
    last: int
    what: str

    def __str__(self) -> str:
        where = f"{self.first:,}" if self.first == self.last else f"{self.first:,} to {self.last:,}"
        return f"{self.service}, partition {self.part}, position {where}: {self.what}"


@dataclass
class Part:
    """What the head of a partition says, and what is known of it from elsewhere."""

    service: str
    part: int
    epoch: str
    pos: int
    hash: bytes
    purged: int
    purged_hash: bytes
    branches: Mapping[str, int]  # epoch → up to which position its facts are facts still
    points: list[audit_pb2.Checkpoint] = field(default_factory=list)  # by position; true and of a known epoch
    heard: Mapping[str, int] = field(default_factory=dict)  # consumer → how far it heard this epoch


@dataclass
class Report:
    """What became of one verification."""

    facts: int = 0
    seconds: float = 0.0
    breaks: list[Break] = field(default_factory=list)
    checkpoints: int = 0
    notes: list[str] = field(default_factory=list)  # what is as it should be, and should be known

    def add(self, other: Report) -> None:
        """Take in another one."""
        self.facts, self.seconds = self.facts + other.facts, self.seconds + other.seconds
        self.checkpoints += other.checkpoints
        self.breaks += other.breaks
        self.notes += other.notes


def parts(db: psycopg.Connection[Any], service: str) -> list[Part]:
    """What the heads of a service's partitions say."""
    branches: dict[int, dict[str, int]] = {}
    for part, epoch, pos in db.execute("SELECT part, epoch::text, pos FROM outbox_branches"):
        branches.setdefault(part, {})[epoch] = pos
    heads = db.execute(
        "SELECT part, epoch::text, pos, hash, purged, purged_hash FROM outbox_head ORDER BY part"
    ).fetchall()
    return [
        Part(service, part, epoch, pos, bytes(digest), purged, bytes(before or b""), branches.get(part, {}))
        for part, epoch, pos, digest, purged, before in heads
    ]


def checkpoints(db: psycopg.Connection[Any], source: str) -> Iterator[audit_pb2.Checkpoint]:
    """What a database keeps of another service's checkpoints."""
    rows = db.execute(
        "SELECT part, epoch::text, pos, hash, signed_at, signature FROM checkpoints WHERE source = %s",
        [source],
    )
    for part, epoch, pos, digest, at, signature in rows:
        point = audit_pb2.Checkpoint(
            service=source, partition=part, epoch=epoch, position=pos, hash=digest, signature=signature
        )
        point.sign_time.FromDatetime(at.astimezone(UTC))
        yield point


def take(
    of: Sequence[Part], points: Iterable[tuple[str, audit_pb2.Checkpoint]], keys: Mapping[str, Any]
) -> Report:
    """Give every partition the checkpoints that speak of it, (holder, checkpoint) each.

    Those of facts that a restoration gave up speak of nothing any more: they are told as notes. An epoch that
    is over although nothing was restored is a break, as is a signature that is none.
    """
    by_part = {part.part: part for part in of}
    report, gone = Report(), dict[tuple[int, str], int]()
    forged: list[tuple[Part, int, str]] = []
    for holder, point in points:
        part = by_part.get(point.partition)
        if part is None:
            continue
        if not is_true(point, keys):
            forged.append((part, point.position, holder))
        elif point.epoch == part.epoch or point.position <= part.branches.get(point.epoch, -1):
            part.points.append(point)
        else:
            place = (part.part, point.epoch)
            gone[place] = max(gone.get(place, 0), point.position)
    for (number, epoch), upto in sorted(gone.items()):
        part = by_part[number]
        first = part.branches.get(epoch, 0) + 1
        if not part.branches:
            what = "signed in an epoch that is over, though nothing was restored"
            report.breaks.append(Break(part.service, number, first, upto, what))
        else:
            report.notes.append(
                f"{part.service}, partition {number}: a restoration gave up the facts of an epoch from "
                f"{first:,} to {upto:,} at least."
            )
    for part in of:
        part.points.sort(key=lambda point: point.position)
    for part, pos, holder in forged:  # what it would hide lies behind the last that is true
        first = max((point.position for point in part.points if point.position < pos), default=0) + 1
        what = f"the checkpoint at its end, kept by {holder}, is not what {part.service} signed"
        report.breaks.append(Break(part.service, part.part, first, pos, what))
    return report


@contextmanager
def _snapshot(url: str, part: Part) -> Iterator[Iterator[tuple[int, bytes, bytes]]]:
    """(position, hash, what it is over) of every fact, and the head, as they stood at one moment: facts go on
    being written meanwhile."""
    sql = _BODIES.replace("{1}", _FORMS[1]).replace("{2}", _FORMS[2]).replace("{part}", str(part.part))
    with psycopg.connect(url) as db:
        db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        row = db.execute(
            "SELECT pos, hash, purged, purged_hash FROM outbox_head WHERE part = %s", [part.part]
        ).fetchone()
        if row is not None:
            part.pos, part.hash, part.purged, part.purged_hash = row[0], row[1], row[2], row[3] or b""
        with db.cursor(binary=True) as cursor:
            yield cursor.stream(sql, size=1000)


def verify(url: str, part: Part) -> Report:
    """Compute one partition's chain again and hold it against the checkpoints."""
    began, report = time.monotonic(), Report(checkpoints=len(part.points))
    with _snapshot(url, part) as rows:
        walk = _Walk(part)
        report.facts = _go(rows, part, walk)
    report.breaks = walk.breaks()
    report.seconds = time.monotonic() - began
    return report


def _go(rows: Iterable[tuple[int, bytes, bytes]], part: Part, walk: _Walk) -> int:
    """Along the chain from its beginning; how many facts there were."""
    sha256, count = hashlib.sha256, 0
    before, expected = part.purged_hash, part.purged + 1
    points = deque(point for point in part.points if point.position)
    while points and points[0].position <= part.purged:
        walk.at_purged(points.popleft())
    due = points[0].position if points else _NEVER
    for pos, kept, body in rows:
        if pos != expected:
            walk.missing(expected, pos - 1)
        elif body is None or sha256(before + body).digest() != kept:
            walk.wrong(pos)
        while pos >= due:
            walk.passed(points.popleft(), pos, kept)
            due = points[0].position if points else _NEVER
        before, expected, count = kept, pos + 1, count + 1
    walk.end(expected - 1, before)
    for point in points:
        walk.lost(point.position, "they were signed")
    return count


class _Walk:
    """What was met on the way along one chain."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._missing: list[tuple[int, int]] = []
        self._wrong: list[int] = []
        self._agreed = part.purged  # the last position at which a checkpoint agreed
        self._rewritten: tuple[int, int] | None = None
        self._more: list[Break] = []
        self._lost: tuple[int, str] | None = None

    def missing(self, first: int, last: int) -> None:
        """There are no facts at these positions."""
        self._missing.append((first, last))

    def wrong(self, pos: int) -> None:
        """The fact does not follow from the one before it."""
        self._wrong.append(pos)

    def passed(self, point: audit_pb2.Checkpoint, pos: int, kept: bytes) -> None:
        """A checkpoint's position was reached."""
        if pos == point.position and kept == point.hash:
            self._agreed = pos if self._rewritten is None else self._agreed
        elif pos == point.position and self._rewritten is None:
            self._rewritten = (self._agreed + 1, pos)

    def at_purged(self, point: audit_pb2.Checkpoint) -> None:
        """A checkpoint of facts that are kept no more."""
        part = self.part
        if point.position == part.purged and point.hash != part.purged_hash:
            self._tell(1, part.purged, "the chain begins with another hash than was signed")
        age = datetime.now(UTC) - point.sign_time.ToDatetime(UTC)
        if age < timedelta(days=KEPT_DAYS):
            self._tell(point.position, part.purged, f"let go of {age.days} days after it was signed")

    def end(self, last: int, kept: bytes) -> None:
        """The last fact was met."""
        part = self.part
        if last < part.pos:
            self._missing.append((last + 1, part.pos))
        elif last > part.pos:
            self._tell(part.pos + 1, last, "there are more facts than were numbered")
        elif kept != part.hash and not self._wrong:
            self._tell(last, last, "the head of the chain has another hash")
        for who, heard in part.heard.items():
            if heard > max(last, part.pos):
                self.lost(heard, f"{who} has heard facts up to there")

    def lost(self, upto: int, why: str) -> None:
        """It is known from elsewhere that there were facts up to there."""
        if self._lost is None or upto > self._lost[0]:
            self._lost = (upto, why)

    def _tell(self, first: int, last: int, what: str) -> None:
        self._more.append(Break(self.part.service, self.part.part, first, last, what))

    def breaks(self) -> list[Break]:
        """All that was found, in the order of positions."""
        for first, last in self._missing:
            self._tell(first, last, "missing")
        for first, last in _runs(self._wrong):
            if first == last:
                self._tell(max(1, first - 1), last, "the one does not follow from the other: one was changed")
            else:
                self._tell(max(1, first - 1), last, "these do not follow from each other: changed or moved")
        if self._rewritten:
            first, last = self._rewritten
            self._tell(first, last, "rewritten: the checkpoint at its end was signed over something else")
        if self._lost and self._lost[0] > self.part.pos:
            # Up to the end that is there no checkpoint agrees: what is missing may have been among these.
            first = self.part.pos + 1 if self._rewritten else min(self._agreed, self.part.pos) + 1
            self._tell(first, self._lost[0], f"missing at the end, or rewritten: {self._lost[1]}")
        found = sorted(self._more, key=lambda one: (one.first, one.last))
        return found[:MOST]


def _runs(positions: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Positions as (first, last) of those that follow on one another."""
    first = last = -1
    for pos in positions:
        if pos == last + 1:
            last = pos
            continue
        if first >= 0:
            yield first, last
        first = last = pos
    if first >= 0:
        yield first, last
