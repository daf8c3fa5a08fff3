"""The judge: waits until the platform is still, then asks what became of everything."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from chassis.events import reactions_of
from stack import files, layout, operations
from stack.api import BUSY
from stack.postgres import Postgres
from tests.chaos.client import Client, Entry, GaveUp, Told
from tests.chaos.effects import Effects
from tests.chaos.faults import COMES_BACK_WITHIN
from tests.chaos.laws import QUESTIONS
from tests.chaos.workload import Workload
from tests.installation import Installation

CONVERGES_WITHIN = 180.0
SAGAS_WITHIN = 60.0
ASKED_AGAIN = 60
SHOWN = 8


@dataclass(frozen=True)
class Finding:
    """Something that must not be: a name to know it by, what was promised, and some of what breaks it."""

    name: str
    promised: str
    broken: tuple[str, ...]
    count: int

    def __str__(self) -> str:
        shown = "".join(f"\n      {row}" for row in self.broken)
        return f"{self.name}: {self.count} × against “{self.promised}”{shown}"


@dataclass
class Audit:
    """Asks about the organizations of one run."""

    installation: Installation
    workload: Workload
    tenants: dict[str, str]  # label of the organization → its id
    ended: str = ""  # the time of the databases when the last fault was over
    findings: list[Finding] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._open: dict[str, psycopg.Connection[Any]] | None = None
        self.journal = self.workload.companies[0].client.journal
        self._cluster = Postgres(self.installation.home)
        self._sources = {
            layout.database_of(process): sorted({
                name.split(".")[1] for name in reactions_of(operations.service_of(process).reactions)})
            for process in layout.PROCESSES
        }  # fmt: skip

    def found(self, name: str, promised: str, broken: Iterable[Any]) -> None:
        """Note what breaks a promise, if anything does."""
        rows = [" ".join(map(str, row)) if isinstance(row, tuple) else str(row) for row in broken]
        if rows:
            self.findings.append(Finding(name, promised, tuple(rows[:SHOWN]), len(rows)))

    def url(self, database: str) -> str:
        """The superuser's way into a database."""
        self._cluster.port = files.held(self.installation.home, "postgres")
        return self._cluster.url(database)

    def rows(self, database: str, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        """Ask a database past all row-level security."""
        told = {"tenants": list(self.tenants.values()), **params}
        if self._open is not None:
            if database not in self._open:
                self._open[database] = psycopg.connect(self.url(database), autocommit=True)
            return self._open[database].execute(sql, told).fetchall()
        with psycopg.connect(self.url(database), autocommit=True) as db:
            return db.execute(sql, told).fetchall()

    @contextmanager
    def _in_one_go(self) -> Iterator[None]:
        """Questions meanwhile share a connection to each database; nothing is held open afterwards."""
        self._open = {}
        try:
            yield
        finally:
            for db in self._open.values():
                db.close()
            self._open = None

    def all_of(self, database: str, table: str, columns: str) -> list[tuple[Any, ...]]:
        """The rows of a table that belong to the organizations of this run."""
        return self.rows(database, f"SELECT {columns} FROM {table} WHERE tenant_id = ANY(%(tenants)s)")

    def ends(self, last: float) -> None:
        """The last fault was over at *last*, by our own clock: note it by that of the databases."""
        deadline = time.monotonic() + COMES_BACK_WITHIN
        while not self.ended:
            try:
                asked = "SELECT (clock_timestamp() - make_interval(secs => %(ago)s))::text"
                self.ended = str(self.rows("inventory", asked, ago=time.monotonic() - last)[0][0])
            except psycopg.Error:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    # -- until it is still ----------------------------------------------------------------------

    def converge(self) -> None:
        """Wait until no saga is under way, every fact is numbered and everyone has applied all of them."""
        began, left = time.monotonic(), ["nothing was asked yet"]
        while left and time.monotonic() - began < CONVERGES_WITHIN:
            try:
                with self._in_one_go():
                    left = list(self._unsettled())
            except psycopg.Error as away:
                left = [str(away)]
            if left:
                time.sleep(0.25)
        self.figures["converged after"] = f"{time.monotonic() - began:.1f} s"
        self.found("not converged", f"still within {CONVERGES_WITHIN:.0f} s after the last fault", left)
        late = self.rows(
            "inventory",
            "SELECT record, state, next_at - since FROM (SELECT record, state, next_at,"
            " greatest(%(ended)s::timestamptz, deadline_at - interval '24 hours') AS since FROM sagas"
            " WHERE tenant_id = ANY(%(tenants)s)) AS each"
            " WHERE next_at > since + make_interval(secs => %(most)s)",
            ended=self.ended, most=SAGAS_WITHIN,
        )  # fmt: skip
        self.found("late", f"every saga ends within {SAGAS_WITHIN:.0f} s of the last fault", late)
        slowest = self.rows(
            "inventory",
            "SELECT coalesce(extract(epoch FROM max(next_at) - %(ended)s::timestamptz), 0)::float8 FROM sagas"
            " WHERE tenant_id = ANY(%(tenants)s)", ended=self.ended,
        )  # fmt: skip
        self.figures["last saga ended"] = f"{slowest[0][0]:+.1f} s from the last fault"

    def _unsettled(self) -> Iterable[str]:
        for database in layout.DATABASES:
            for state, count in self.rows(
                database,
                "SELECT state, count(*) FROM sagas WHERE state IN ('RUNNING', 'COMPENSATING') GROUP BY 1",
            ):
                yield f"{database}: {count} sagas are {state}"
            for (count,) in self.rows(
                database, "SELECT count(*) FROM outbox WHERE pos IS NULL HAVING count(*) > 0"
            ):
                yield f"{database}: {count} facts have no number"
        heads = {
            database: {part: (pos, published) for part, pos, published in self.rows(
                database, "SELECT part, pos, published FROM outbox_head")}
            for database in layout.DATABASES
        }  # fmt: skip
        for database, parts in heads.items():
            yield from (f"{database}/{part}: published {done} of {pos}"
                        for part, (pos, done) in parts.items() if done < pos)  # fmt: skip
        for database, sources in self._sources.items():
            cursors = {(source, part): pos for source, part, pos in self.rows(
                database, "SELECT source, part, pos FROM event_cursor")}  # fmt: skip
            for source in sources:
                for part, (pos, _) in heads[source].items():
                    if (at := cursors.get((source, part), 0)) < pos:
                        yield f"{database} has applied {at} of {pos} facts of {source}/{part}"

    # -- the verdict ----------------------------------------------------------------------------

    def ask_databases(self) -> None:
        """Everything that SQL can say."""
        with self._in_one_go():
            for question in QUESTIONS:
                found = self.rows(question.database, question.broken)
                sentence = question.sentence + (f" ({question.database})" if question.database else "")
                self.found(question.finding, sentence, found)
            Effects(self).ask()
        self._logs()

    def _logs(self) -> None:
        """Two transactions that waited for each other in a ring took their locks in different orders."""
        log = self.installation.home / "logs" / "postgres.log"
        lines = log.read_text("utf-8", "replace").splitlines()
        self.found("deadlocks", "locks are taken in one order", (
            line for line in lines if "deadlock detected" in line))  # fmt: skip
        self.found("defects", "no process comes upon a defect of its own", self._defects())

    def _defects(self) -> Iterable[str]:
        for process in layout.PROCESSES:
            log = self.installation.home / "logs" / f"{process}.log"
            for line in log.read_text("utf-8", "replace").splitlines():
                if '"message": "a defect"' in line:
                    yield f"{process}: {json.loads(line).get('problem', line).strip().splitlines()[-1]}"

    def ask_product(self) -> None:
        """The product's own laws, as `tradewind verify` asks them."""
        with self.installation.servers() as servers:
            verdicts = operations.verify_all(servers)
        self.found("verify", "`tradewind verify` is clean", (
            f"{verdict.service}: {verdict.sentence}: {row}" for verdict in verdicts for row in verdict.broken
        ))  # fmt: skip
        self.figures["laws asked"] = len(verdicts)

    async def ask_again(self) -> None:
        """Requests of long ago, under their keys: the answers are the same."""
        step = max(1, len(self.journal.entries) // ASKED_AGAIN)
        clients = {company.client.organization: company.client for company in self.workload.companies}
        different = []
        for entry in self.journal.entries[::step]:
            said = await _again(clients[entry.organization], entry)
            if said != (entry.answer, entry.refused):
                different.append(
                    f"{entry.method} {entry.key}: {said}, at first {entry.answer or entry.refused}"
                )
        self.found("answers", "asked again under its key, a request is answered the same", different)

    async def rebuild(self) -> None:
        """Read models counted anew from the first fact say what they said."""
        clients = [company.client for company in self.workload.companies]
        before = [(await client.read("GetReadModelChecksum"))["checksum"] for client in clients]
        await asyncio.to_thread(self._empty_read_models)
        await asyncio.to_thread(self.converge)
        after = [(await client.read("GetReadModelChecksum"))["checksum"] for client in clients]
        if before != after:
            self.found("rebuild", "read models counted anew say the same", [f"{before} → {after}"])

    def _empty_read_models(self) -> None:
        with self.installation.servers() as servers:
            operations.rebuild(servers, "analytics")

    def ask_clients(self) -> None:
        """What the clients went through."""
        self.found("unanswered", "every request is answered in the end", self.journal.unanswered)
        self.found("stuck", "what follows by itself does follow", self.workload.stuck)
        self.found("defects", "no answer speaks of a defect", self.journal.defects)


async def _again(client: Client, entry: Entry) -> tuple[dict[str, Any], str]:
    for _ in range(5):
        try:
            answer, _attempts = await client._until_answered(entry.method, entry.request, entry.key, "http")
            return answer, ""
        except Told as no:
            if no.reason not in BUSY:
                return {}, no.reason
        except GaveUp:
            break
    return {}, "no answer"
