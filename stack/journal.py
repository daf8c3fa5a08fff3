"""What an import has done so far, row by row: why a second run does nothing twice."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CREATED, UPDATED, SKIPPED = "created", "updated", "skipped"
TABLES = """
CREATE TABLE IF NOT EXISTS entries (
  step TEXT, row INTEGER, digest TEXT, verdict TEXT, reason TEXT, refused INTEGER, done INTEGER,
  attempt INTEGER, names TEXT, PRIMARY KEY (step, row)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS names (step TEXT, key TEXT, name TEXT, PRIMARY KEY (step, key)) WITHOUT ROWID;
"""


@dataclass
class Entry:
    """What became of one row. `refused`: the API or the row itself said no, so the next run tries again."""

    step: str
    row: int
    digest: str = ""
    verdict: str = ""
    reason: str = ""
    refused: bool = False
    done: int = 0  # calls that went well
    attempt: int = 0
    names: dict[str, str] = field(default_factory=dict)  # "$name" → what the row's calls made

    @property
    def settled(self) -> bool:
        """Nothing is left to do for it."""
        return bool(self.verdict) and not self.refused


class Journal:
    """A SQLite file. Entries may be lost with a crash: their calls, made again, are the same calls."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
        os.chmod(path, 0o600)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(TABLES)
        self._pending = 0

    def entry(self, step: str, row: int) -> Entry:
        """What is known of a row; an empty entry for a new one."""
        found = self._db.execute("SELECT * FROM entries WHERE step = ? AND row = ?", (step, row)).fetchone()
        return _entry(found) if found else Entry(step, row)

    def keep(self, entry: Entry) -> None:
        """Write down what became of a row, with others in one transaction."""
        self._begin()
        self._db.execute(
            "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                entry.step, entry.row, entry.digest, entry.verdict, entry.reason, int(entry.refused),
                entry.done, entry.attempt, json.dumps(entry.names),
            ),
        )  # fmt: skip

    def keep_name(self, step: str, key: str, name: str) -> None:
        """Write down what the row with this key has become, for the rows that refer to it."""
        self._begin()
        self._db.execute("INSERT OR REPLACE INTO names VALUES (?, ?, ?)", (step, key, name))

    def names(self, step: str) -> dict[str, str]:
        """Every key of a step and what it has become."""
        return dict(self._db.execute("SELECT key, name FROM names WHERE step = ?", (step,)))

    def entries(self) -> Iterator[Entry]:
        """Everything, in the order of steps and rows."""
        self.flush()
        yield from map(_entry, self._db.execute("SELECT * FROM entries ORDER BY step, row"))

    def _begin(self) -> None:
        if not self._pending:
            self._db.execute("BEGIN")
        self._pending += 1
        if self._pending >= 200:
            self.flush()
            self._db.execute("BEGIN")
            self._pending = 1

    def flush(self) -> None:
        """Put what is pending on disk."""
        if self._pending:
            self._db.execute("COMMIT")
            self._pending = 0

    def close(self) -> None:
        """Put everything on disk and let go."""
        self.flush()
        self._db.close()


def _entry(row: tuple[Any, ...]) -> Entry:
    step, number, digest, verdict, reason, refused, done, attempt, names = row
    return Entry(step, number, digest, verdict, reason, bool(refused), done, attempt, json.loads(names))
