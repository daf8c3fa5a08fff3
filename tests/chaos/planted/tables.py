"""Bugs of the database: functions and policies replaced for as long as they are planted, then put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

_PENDING = "WHERE part = p AND pos IS NULL"
_BEHIND_THE_LAST = (
    " AND id > coalesce((SELECT max(id) FROM public.outbox WHERE part = p AND pos IS NOT NULL), 0)"
)
_SETTLED = " AND xmin::text::bigint < txid_snapshot_xmin(txid_current_snapshot())"


@contextmanager
def _numbering(url: str, more: str) -> Iterator[None]:
    """Let the sequencer look for a narrower set of rows than those that have no position."""
    with psycopg.connect(url, autocommit=True) as db:
        (proper,) = db.execute(
            "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = 'outbox_number'"
        ).fetchone() or ("",)
        broken = proper.replace(_PENDING, _PENDING + more)
        if broken == proper:
            raise RuntimeError("outbox_number has changed: this bug does not fit any more")
        db.execute(broken.encode())
    try:
        yield
    finally:
        with psycopg.connect(url, autocommit=True) as db:
            db.execute(proper.encode())


@contextmanager
def id_cursor(url: str) -> Iterator[None]:
    """The sequencer goes on behind the highest id it has seen: who commits late is never looked at."""
    with _numbering(url, _BEHIND_THE_LAST):
        yield


@contextmanager
def xmin_and_id_cursor(url: str) -> Iterator[None]:
    """As above, of transactions that are over for everybody: ids and transactions are ordered differently."""
    with _numbering(url, _BEHIND_THE_LAST + _SETTLED):
        yield


@contextmanager
def policy_without_check(url: str) -> Iterator[None]:
    """Row-level security that hides others' rows, and lets anybody write them."""
    alter = "ALTER POLICY organization ON number_series WITH CHECK ({})"
    with psycopg.connect(url, autocommit=True) as db:
        (proper,) = db.execute(
            "SELECT with_check FROM pg_policies"
            " WHERE tablename = 'number_series' AND policyname = 'organization'"
        ).fetchone() or ("",)
        db.execute(alter.format("true").encode())
    try:
        yield
    finally:
        with psycopg.connect(url, autocommit=True) as db:
            db.execute(alter.format(proper).encode())
