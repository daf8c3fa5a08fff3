"""Personal values sealed anew while everybody works on: what was kept before, and new generations of keys."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from chassis import filters, migrate
from chassis.call import Call, new_id
from chassis.database import Database
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.personal import keys
from chassis.personal.keys import KEY_REPLACED, FileMaster, Keys, make_master, write_master
from chassis.personal.reseal import Reseal
from services.customer.domain.lead import Lead
from services.customer.store import CustomerStore
from tests.servers import Servers

ROWS = int(os.environ.get("TRADEWIND_TEST_RESEALED", "10000"))


class Kept:
    """A database of the customer service, and who works on it."""

    def __init__(self, urls: tuple[str, str], master: Path) -> None:
        self.owner, self.app, self.master = *urls, master
        self.store = self.process()

    def process(self) -> CustomerStore:
        """Another process of the service, which knows no ring yet."""
        return CustomerStore(Database(self.app, 4), Keys(FileMaster(self.master)))

    def below(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        """Asks, or changes, the tables themselves."""
        with psycopg.connect(self.owner) as db:
            done = db.execute(statement, params)
            return done.fetchall() if done.description else []

    @contextmanager
    def work(self, progress: Any = lambda *_: None) -> Iterator[Reseal]:
        """The work of `tradewind keys`."""
        with psycopg.connect(self.owner, autocommit=True) as db:
            yield Reseal(db, CustomerStore, Keys(FileMaster(self.master)), progress, settle=0.4)


@pytest_asyncio.fixture
async def kept(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kept]:
    monkeypatch.setattr(keys, "GOOD_SECONDS", 0.3)
    urls = servers.database(f"resealed_{new_id()[-8:]}")
    migrate.upgrade("services.customer", *urls)
    make_master(tmp_path / "customer.master")
    found = Kept(urls, tmp_path / "customer.master")
    yield found
    await found.store.database.close()


def call(tenant: str) -> Call:
    return Call(tenant=tenant, user="users/u", scope="all")


async def fill(store: CustomerStore, tenant: str, count: int) -> list[str]:
    """Leads with a person, an e-mail and a number."""
    ids = [new_id() for _ in range(count)]
    for at in range(0, count, 500):
        async with store.begin(call(tenant)) as tx:
            for n, id_ in enumerate(ids[at : at + 500], at):
                tx.add(Lead(id=id_, person=f"Person {n}", email=f"p{n}@x.example", phone=f"+49 451 {n:07d}"))
    return ids


async def look(store: CustomerStore, tenant: str, filter: str) -> list[str]:
    """The e-mails of the leads that a filter finds."""
    async with store.begin(call(tenant)) as tx:
        where, params = filters.condition(filter, CustomerStore.leads, ring=tx.seals.ring)
        found = await tx.all(Lead, (where.removeprefix(" AND "), params))
    return [lead.email for lead in found]


@pytest.mark.req("X-62")
async def test_ten_thousand_rows_get_new_keys_and_no_reader_notices(kept: Kept) -> None:
    tenant, other = new_id(), new_id()
    ids = await fill(kept.store, tenant, ROWS)
    await fill(kept.store, other, 3)
    before = dict(kept.below("SELECT id, email FROM leads WHERE tenant_id = %s", tenant))
    stop, reads, saved = asyncio.Event(), 0, set[int]()

    async def read(process: CustomerStore, seed: int) -> None:
        nonlocal reads
        while not stop.is_set():
            n = (reads * 7919 + seed) % ROWS
            async with process.begin(call(tenant)) as tx:
                lead = await tx.get(Lead, f"leads/{ids[n]}")
            assert lead.person == f"Person {n}" and lead.email in (f"p{n}@x.example", f"new{n}@x.example")
            (found,) = await look(process, tenant, f'phone = "0049451{n:07d}"')
            assert found in (f"p{n}@x.example", f"new{n}@x.example")
            reads += 1
            await asyncio.sleep(0.01)

    async def save(process: CustomerStore) -> None:
        n = 0
        while not stop.is_set():
            n = (n + 7) % ROWS
            try:
                async with process.begin(call(tenant)) as tx:
                    lead = await tx.get(Lead, f"leads/{ids[n]}")
                    tx.save(replace(lead, email=f"new{n}@x.example"))
                saved.add(n)
            except psycopg.DatabaseError as again:  # a call is tried again then
                assert isinstance(again, psycopg.errors.LockNotAvailable) or KEY_REPLACED in str(again)
            await asyncio.sleep(0.01)

    second = kept.process()
    tasks = [asyncio.create_task(one) for one in (read(kept.store, 1), read(second, 5), save(second))]
    seen: list[tuple[str, int, int]] = []
    with kept.work(lambda *said: seen.append(said)) as work:
        started = time.monotonic()
        done = await asyncio.to_thread(work.rotate, [tenant])
        seconds = time.monotonic() - started
    stop.set()
    await asyncio.gather(*tasks)
    await second.database.close()
    print(f"{done} rows in {seconds:.1f} s, {reads} reads and {len(saved)} saves meanwhile")
    assert reads > 20 and saved and done + len(saved) >= ROWS
    assert seen[-1] == ("leads", ROWS, ROWS)
    generations = "SELECT generation FROM data_keys WHERE tenant_id = %s"
    assert kept.below(generations, tenant) == [(2,)] and kept.below(generations, other) == [(1,)]
    after = dict(kept.below("SELECT id, email FROM leads WHERE tenant_id = %s", tenant))
    assert all(after[id_] != before[id_] for id_ in ids)
    # What each is found by is what it says, and nothing of before.
    digests = kept.below("SELECT count(*), count(DISTINCT record) FROM blind_index WHERE tenant_id = %s"
                         " AND field = 'leads.email'", tenant)  # fmt: skip
    assert digests == [(ROWS, ROWS)]
    fresh = kept.process()
    for n in sorted(saved)[-5:]:
        assert await look(fresh, tenant, f'email = "new{n}@x.example"') == [f"new{n}@x.example"]
        assert await look(fresh, tenant, f'email = "p{n}@x.example"') == []
    await fresh.database.close()


async def test_interrupted_it_goes_on_with_what_is_left(kept: Kept) -> None:
    tenant = new_id()
    await fill(kept.store, tenant, 1000)

    def enough(table: str, done: int, of: int) -> None:
        if table == "leads" and done < of:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), kept.work(enough) as work:
        await asyncio.to_thread(work.rotate, [tenant])
    assert len(await look(kept.store, tenant, 'person : "person"')) == 1000
    assert len(kept.below("SELECT 1 FROM data_keys WHERE tenant_id = %s", tenant)) == 2
    with kept.work() as work:
        assert await asyncio.to_thread(work.rotate, [tenant]) == 900
    assert kept.below("SELECT generation FROM data_keys WHERE tenant_id = %s", tenant) == [(2,)]
    await asyncio.sleep(0.4)
    assert len(await look(kept.store, tenant, 'person : "person"')) == 1000


async def test_whoever_slept_through_a_rotation_writes_nothing_under_a_destroyed_key(kept: Kept) -> None:
    tenant = new_id()
    (id_,) = await fill(kept.store, tenant, 1)
    async with kept.store.begin(call(tenant)) as tx:
        lead = await tx.get(Lead, f"leads/{id_}")
        ring = tx.seals.ring
    with kept.work() as work:
        await asyncio.to_thread(work.rotate, [tenant])
    with pytest.raises(psycopg.DatabaseError, match=KEY_REPLACED):
        async with kept.store.begin(call(tenant)) as tx:
            await tx.get(Lead, f"leads/{id_}")
            tx.seals._ring = ring  # as a process that stood still has it
            tx.save(replace(lead, email="late@x.example"))
    async with kept.store.begin(call(tenant)) as tx:
        tx.save(replace(await tx.get(Lead, f"leads/{id_}"), email="now@x.example"))
    assert await look(kept.store, tenant, 'email = "now@x.example"') == ["now@x.example"]


async def test_what_a_release_before_kept_is_read_found_and_then_sealed(kept: Kept) -> None:
    tenant = new_id()
    kept.below("UPDATE sealing SET phase = 'PLAIN'")
    old, new = await fill(kept.store, tenant, 2)  # as this release writes while the one before still runs
    assert kept.below("SELECT email, person FROM leads WHERE id = %s", old) == [("p0@x.example", "Person 0")]
    kept.below(
        "UPDATE leads SET person_key = NULL, email = 'of@before.example', version = 2 WHERE id = %s", old
    )  # and as the one before does
    kept.below("UPDATE leads SET email = 'changed@before.example', version = 2 WHERE id = %s", new)
    kept.below("DELETE FROM blind_index WHERE record = %s", old)
    kept.below(
        "INSERT INTO answers (tenant_id, principal, method, request_id, request_hash, refused, response)"
        " VALUES (%s, 'users/u', '/m', 'r', '', false, 'plain of@before.example')", tenant,
    )  # fmt: skip
    for filter in ('email = "of@before.example"', 'person = "Person 0"', 'person : "Person 0"'):
        assert await look(kept.store, tenant, filter) == ["of@before.example"], filter
    with kept.work() as work:
        assert await asyncio.to_thread(work.seal_all) == 2
        assert (work.phase(), work.seal_all()) == ("SEALED", 0)
    rows = kept.below("SELECT t::text FROM leads t") + kept.below(
        "SELECT convert_from(response, 'LATIN1') FROM answers"
    )
    assert "before.example" not in str(rows) and "Person" not in str(rows)
    await asyncio.sleep(0.4)
    for filter in ('email = "OF@before.example"', 'person : "0"'):
        assert await look(kept.store, tenant, filter) == ["of@before.example"], filter
    assert await look(kept.store, tenant, 'email = "changed@before.example"') == ["changed@before.example"]
    assert await look(kept.store, tenant, 'email = "p1@x.example"') == []
    kept.below("UPDATE leads SET email = 'slipped@in.example' WHERE id = %s", old)
    with pytest.raises(Refused, match="SEALED_VALUE_BROKEN"):
        await look(kept.store, tenant, 'person : "0"')


async def test_another_master_key_changes_nothing_else(kept: Kept) -> None:
    tenant = new_id()
    await fill(kept.store, tenant, 2)
    kept_before = kept.below("SELECT email FROM leads ORDER BY id")
    make_master(kept.master, another=True)
    with kept.work() as work:
        assert await asyncio.to_thread(work.rewrap) == 1
        assert work.rewrap() == 0
    write_master(kept.master, kept.master.read_text("ascii").split()[-1:])
    fresh = kept.process()
    assert await look(fresh, tenant, 'person = "person 1"') == ["p1@x.example"]
    assert kept.below("SELECT email FROM leads ORDER BY id") == kept_before
    await fresh.database.close()
