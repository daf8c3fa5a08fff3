"""The blind index: by which records with sealed values are found, kept beside them in the same statement."""

from __future__ import annotations

from typing import Any, NamedTuple

from chassis.kernel.record import Record
from chassis.personal.keys import Ring
from chassis.tables import Collection

FORGOTTEN = (
    "DELETE FROM blind_index WHERE tenant_id = %s AND record = %s AND field = ANY(%s)"
    " AND NOT digest = ANY(%s) RETURNING 1"
)
FOUND = (
    "INSERT INTO blind_index (tenant_id, field, digest, record)"
    " SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[])"
    " ON CONFLICT (tenant_id, field, digest, record) DO NOTHING RETURNING 1"
)


class Sealer(NamedTuple):
    """What a row is sealed with, and the record as its table and the blind index have it."""

    ring: Ring
    salt: bytes
    before: Record | None = None
    generation: int = 0  # that it is sealed under there


def fields(collection: Collection[Any]) -> list[str]:
    """What the index calls the fields of a collection."""
    return [f"{collection.name}.{name}" for name in collection.found_by]


def entries(collection: Collection[Any], record: Record, sealer: Sealer) -> list[tuple[str, str]] | None:
    """(field, digest) of all by which the record is found from now on; None where that stays as it is."""
    ring, _, before, generation = sealer
    tokens = collection.tokens(record)
    if before is not None and generation == ring.newest and tokens == collection.tokens(before):
        return None
    return [(field, ring.newest_digest(field, token, shared=shared)) for field, token, shared in tokens]
