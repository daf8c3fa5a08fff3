"""`tradewind verify --audit`: every chain of facts computed again, and held against what others keep."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jwt
import psycopg
from rich.markup import escape
from tradewind.type.v1 import audit_pb2

from chassis.audit import chain
from stack import layout
from stack.running import NotPossible
from stack.terminal import console, show_columns

NAMED = 4  # records named of one break
TELLING = 10_000  # from so many facts on it says something how fast that went


def public_keys(servers: layout.Servers) -> dict[str, Any]:
    """The services' public keys by their names."""
    path = servers.settings.keys / "jwks.json"
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise NotPossible(f"{path} is needed to check signatures: {problem}") from None
    return {key["kid"]: jwt.PyJWK(key, algorithm="EdDSA").key for key in document["keys"]}


def kept(servers: layout.Servers, source: str) -> Iterator[tuple[str, audit_pb2.Checkpoint]]:
    """(who keeps it, the checkpoint) of one service, from all other databases."""
    for process in layout.PROCESSES:
        holder = layout.database_of(process)
        if holder == source:
            continue
        with psycopg.connect(servers.urls(process)[0]) as db:
            for point in chain.checkpoints(db, source):
                yield holder, point


def heard(servers: layout.Servers, source: str) -> dict[int, dict[str, dict[str, int]]]:
    """partition → epoch → consumer → how far it has heard the facts of a service."""
    found: dict[int, dict[str, dict[str, int]]] = {}
    for process in layout.PROCESSES:
        with psycopg.connect(servers.urls(process)[0]) as db:
            rows = db.execute("SELECT part, epoch::text, pos FROM event_cursor WHERE source = %s", [source])
            for part, epoch, pos in rows:
                found.setdefault(part, {}).setdefault(epoch, {})[layout.database_of(process)] = pos
    return found


def verify(servers: layout.Servers, process: str, keys: Mapping[str, Any]) -> chain.Report:
    """Everything that can be said of one service's facts."""
    service, url = layout.database_of(process), servers.urls(process)[0]
    with psycopg.connect(url) as db:
        parts = chain.parts(db, service)
    report = chain.take(parts, kept(servers, service), keys)
    listened = heard(servers, service)
    for part in parts:
        part.heard = listened.get(part.part, {}).get(part.epoch, {})
        report.add(chain.verify(url, part))
        if part.purged:
            report.notes.append(
                f"{service}, partition {part.part}: facts up to {part.purged:,} were let go of"
                " (TRADEWIND_OUTBOX_DAYS)."
            )
    return report


def records(servers: layout.Servers, found: chain.Break) -> list[str]:
    """The facts that stand between the positions of a break, as far as they are there."""
    process = next(p for p in layout.PROCESSES if layout.database_of(p) == found.service)
    with psycopg.connect(servers.urls(process)[0]) as db:
        rows = db.execute(
            "SELECT pos, type, record, actor, occurred_at FROM outbox WHERE part = %s"
            " AND pos BETWEEN %s AND %s ORDER BY pos LIMIT %s", [found.part, found.first, found.last, NAMED],
        ).fetchall()  # fmt: skip
    return [
        f"{pos:,}: {kind.rpartition('.')[2]} of {record} by {actor}, {at:%Y-%m-%d %H:%M:%S}"
        for pos, kind, record, actor, at in rows
    ]


def show(servers: layout.Servers) -> int:
    """Print what became of every service's chain; 1 when one was broken."""
    keys, rows = public_keys(servers), []
    whole = chain.Report()
    for process in layout.PROCESSES:
        report = verify(servers, process, keys)
        whole.add(report)
        holds = "[red]✗[/]" if report.breaks else "[green]✓[/]"
        rows.append([holds, layout.database_of(process), f"{report.facts:,}", f"{report.checkpoints:,}"])
        for found in report.breaks:
            rows.append(["", "", "", "", f"[red]{escape(str(found))}[/]"])
            rows += [["", "", "", "", escape(line)] for line in records(servers, found)]
    rows = [[*row, ""][:5] for row in rows]
    show_columns(["", "service", "facts", "checkpoints", "what is not as it was written"], rows)
    for note in whole.notes:
        console.print(note, markup=False)
    rate = f", {whole.facts / whole.seconds:,.0f} a second" if whole.facts >= TELLING else ""
    console.print(
        f"\n{whole.facts:,} facts verified{rate}, and held against {whole.checkpoints:,} checkpoints;"
        f" {len(whole.breaks)} breaks."
    )
    return 1 if whole.breaks else 0
