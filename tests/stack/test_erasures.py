"""Who was erased since a backup is not met again after it was restored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from chassis import migrate
from chassis.call import Call, new_id
from chassis.identity import make_keys
from chassis.kernel.record import Record
from chassis.personal import persons as personal
from gateway.domain.personal_data_request import Fate, Item, Kind, PersonalDataRequest, State
from services.customer.domain.lead import Lead
from stack import backup, converge, erasures, layout, recovery
from stack.terminal import Screen
from tests.servers import Servers

TENANT, PERSON = new_id(), "Wiedergänger, Emil"


@pytest.fixture
def there(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[layout.Servers]:
    """Databases of one's own; those of customer and access have their tables."""
    for name in layout.DATABASES:
        owner, app = servers.database(f"forgot_{name}_{new_id()[-6:]}")
        monkeypatch.setenv(f"DATABASE_OWNER_URL_{name.upper()}", owner)
        monkeypatch.setenv(f"DATABASE_URL_{name.upper()}", app)
    monkeypatch.setenv("NATS_URL", servers.nats_url)
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path))
    make_keys(tmp_path / "keys", list(layout.PROCESSES))
    found = layout.Servers.from_env()
    found.choose_ports()
    for process in ("customer", "gateway"):
        migrate.upgrade(layout.module_of(process), *found.urls(process))
    yield found


def work(servers: layout.Servers, process: str, *add: Record, erase: tuple[str, ...] = ()) -> None:
    """The process itself keeps these records, and lets others forget their person."""

    async def done() -> None:
        settings = layout.settings_of(process, servers.environment(process))
        service = converge.service_of(process)
        call = Call(tenant=TENANT, user="services/test", scope="all")
        async with (
            service.running(settings, address="127.0.0.1:0", background=False) as (runtime, _),
            runtime.store.begin(call) as tx,
        ):
            for record in add:
                tx.add(record)
            await personal.erase_all(tx, erase)

    asyncio.run(done())


def people(servers: layout.Servers, process: str = "customer") -> dict[str, bool]:
    """Lead → whether it is erased, and nothing sealed in it."""
    with psycopg.connect(servers.urls(process)[0]) as db:
        rows = db.execute(
            "SELECT id, erase_time IS NOT NULL AND person = '' AND person_key IS NULL FROM leads"
        )
        return dict(rows.fetchall())


@pytest.mark.parametrize("what", ["the rows say so", "a request says so", "it was broken off"])
def test_who_was_erased_since_the_backup_is_erased_again(
    there: layout.Servers, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    gone, stays = new_id(), new_id()
    work(there, "customer", *(Lead(id=id_, person=PERSON, number=f"L-{id_[-6:]}") for id_ in (gone, stays)))
    backup.backup(there, tmp_path / "backup", Screen(), ["customer"])
    if what == "the rows say so":
        work(there, "customer", erase=(f"leads/{gone}",))
    elif what == "a request says so":
        item = Item(service="customer", noun="Lead", record=f"leads/{gone}", fate=Fate.ERASED)
        work(there, "gateway", PersonalDataRequest(
            id=new_id(), kind=Kind.ERASURE, subject=f"leads/{gone}", reason="asked", state=State.DONE,
            items=(item,),
        ))  # fmt: skip
    else:
        path = tmp_path / erasures.FILE
        path.write_text(json.dumps({"customer": {TENANT: [f"leads/{gone}"]}}))
    recovery.bring_back(tmp_path / "backup", "customer", discard=True)
    assert people(there) == {gone: True, stays: False}
    said = capsys.readouterr().out
    assert f"leads/{gone} was erased since the backup" in " ".join(said.split()) and stays not in said
    assert not (tmp_path / erasures.FILE).exists()
    with psycopg.connect(there.urls("customer")[0]) as db:
        told = db.execute("SELECT record FROM outbox WHERE type LIKE '%%LeadErased'").fetchall()
    assert told == [(f"leads/{gone}",)]


def test_nobody_else_is_looked_at_when_nobody_was_erased(there: layout.Servers, tmp_path: Path) -> None:
    kept = new_id()
    work(there, "customer", Lead(id=kept, person=PERSON, number="L-1"))
    backup.backup(there, tmp_path / "backup", Screen(), ["customer"])
    recovery.bring_back(tmp_path / "backup", "customer", discard=True)
    assert people(there) == {kept: False}
