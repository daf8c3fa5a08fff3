"""Who was forgotten stays forgotten: what was erased since a backup is erased again, before anybody reads it.

What was erased is known from the rows that say so, as long as their database stands, and from the requests
that access keeps. Before anything is replaced it is written down beside the installation, by names of
records, and crossed out once it is erased again: a restoration that was broken off does not lose it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from chassis.call import Call
from chassis.kernel.erasable import Erasable
from chassis.personal import persons as personal
from stack import converge, layout
from stack.files import read_json, write_private

FILE = "erasures.json"
AT_ONCE = 100  # records of one transaction
Names = dict[str, dict[str, list[str]]]  # process → organization → names of records
_FATES = ("ERASABLE", "ERASED")


def remember(servers: layout.Servers, processes: Sequence[str]) -> None:
    """Write down who is forgotten in these processes' databases, as far as anything still knows."""
    known: Names = read_json(_path(servers))
    for process in processes:
        _add(known, process, _rows(servers, process))
    for process, found in _requests(servers).items():
        if process in processes:
            _add(known, process, found)
    if known:
        write_private(_path(servers), json.dumps(known))


def again(servers: layout.Servers, process: str) -> list[str]:
    """Erase in a restored database what had been erased before it was replaced; those records."""
    known: Names = read_json(_path(servers))
    due = known.pop(process, {})
    done = asyncio.run(_erase(servers, process, due)) if due else []
    if known:
        write_private(_path(servers), json.dumps(known))
    else:
        _path(servers).unlink(missing_ok=True)
    return done


def _path(servers: layout.Servers) -> Path:
    return servers.home / FILE


def _add(known: Names, process: str, found: Mapping[str, Sequence[str]]) -> None:
    for tenant, names in found.items():
        there = known.setdefault(process, {}).setdefault(tenant, [])
        there += sorted(set(names) - set(there))


def _rows(servers: layout.Servers, process: str) -> dict[str, list[str]]:
    """The records of a database that say they were erased; none where it says nothing of it."""
    found: dict[str, list[str]] = {}
    store = converge.service_of(process).store
    for kind, part in store.collections.items():
        if not issubclass(kind, Erasable):
            continue
        asked = f"SELECT tenant_id::text, id FROM {part.name} WHERE erase_time IS NOT NULL"
        for tenant, key in _asked(servers, process, asked):
            found.setdefault(tenant, []).append(part.prefix + key)
    return found


def _requests(servers: layout.Servers) -> dict[str, dict[str, list[str]]]:
    """By process, what the requests that were carried out erase."""
    found: dict[str, dict[str, list[str]]] = {}
    asked = (
        "SELECT tenant_id::text, items FROM personal_data_requests"
        " WHERE kind = 'ERASURE' AND state IN ('RUNNING', 'DONE')"
    )
    for tenant, items in _asked(servers, layout.GATEWAY, asked):
        for item in items:
            if item["fate"] in _FATES:
                process = layout.GATEWAY if item["service"] == "access" else item["service"]
                found.setdefault(process, {}).setdefault(tenant, []).append(item["record"])
    return found


def _asked(servers: layout.Servers, process: str, asked: str) -> list[tuple[Any, ...]]:
    """The answer of a database; nothing where it is away, empty, or of a release that kept no such thing."""
    try:
        with psycopg.connect(servers.urls(process)[0]) as db:
            return db.execute(asked).fetchall()
    except (psycopg.OperationalError, psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        return []


async def _erase(servers: layout.Servers, process: str, due: Mapping[str, Sequence[str]]) -> list[str]:
    """By the service's own hand, while nobody else runs it."""
    service, done = converge.service_of(process), list[str]()
    settings = layout.settings_of(process, servers.environment(process))
    async with service.running(settings, address="127.0.0.1:0", background=False) as (runtime, _):
        for tenant, names in due.items():
            for at in range(0, len(names), AT_ONCE):
                call = Call(tenant=tenant, user=f"services/{service.name}", scope="all")
                async with runtime.store.begin(call) as tx:
                    done += await personal.erase_all(tx, names[at : at + AT_ONCE])
    return done
