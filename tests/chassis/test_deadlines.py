"""Nobody works for a caller who has given up: every call has a deadline, and its work ends with it."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import psycopg
import pytest
import pytest_asyncio
from google.protobuf.wrappers_pb2 import StringValue
from tradewind.customer.v1 import customer_pb2

from chassis.call import Call, new_id
from chassis.clients import DEFAULT_SECONDS, MARGIN, Clients
from chassis.database import Database
from chassis.identity import Signer, make_keys
from chassis.kernel.refusals import Refused
from chassis.reasons import reason_of
from tests.chassis.deadlines import HELD, LOCK, Stuck, peer
from tests.chassis.notes import NoteStore
from tests.platform import NAMES, Platform

CANCELS = int(os.environ.get("TRADEWIND_CANCELS", "1000"))
AT_ONCE = 8
POOL = 6
GET = "tradewind.customer.v1.CustomerService.GetCustomer"


@pytest.mark.parametrize("name", ["access", *NAMES[1:]])
async def test_every_method_asks_for_a_deadline(platform: Platform, name: str) -> None:
    service = await platform.service(name)
    policies = [policy for rpc in service.runtime.rpcs for policy, _ in rpc.handlers().values()]
    assert len(policies) > 2
    for policy in policies:
        with pytest.raises(grpc.aio.AioRpcError) as no:
            if policy.streams:
                await service.channel.unary_stream(policy.path)(b"").read()
            else:
                await service.channel.unary_unary(policy.path)(b"")
        assert reason_of(no.value)[0] == "DEADLINE_REQUIRED", policy.path


async def test_a_question_to_another_service_is_answered_before_our_own_caller_gives_up(
    tmp_path: Path,
) -> None:
    make_keys(tmp_path, ["notes"])
    heard: list[float] = []
    async with peer(lambda context: heard.append(context.time_remaining()) or True) as address:
        clients = Clients("notes", Signer.load(tmp_path, "notes"), {"customer": address})
        call = Call(tenant=new_id(), user="users/a")
        for remaining in (60.0, 2.0):
            call.deadline = time.monotonic() + remaining
            await clients.ask(GET, customer_pb2.GetCustomerRequest(), call)
        call.deadline = time.monotonic() + MARGIN
        with pytest.raises(Refused) as late:
            await clients.ask(GET, customer_pb2.GetCustomerRequest(), call)
        await clients.close()
    assert late.value.reason == "DEADLINE_EXCEEDED"
    assert len(heard) == 2
    assert heard[0] <= DEFAULT_SECONDS + MARGIN / 2
    assert heard[1] <= 2.0 - MARGIN / 2  # gRPC rounds what it tells a peer up, by some milliseconds


async def test_who_did_not_answer_in_time_is_named(tmp_path: Path) -> None:
    make_keys(tmp_path, ["notes"])
    async with peer(lambda context: None) as address:
        clients = Clients("notes", Signer.load(tmp_path, "notes"), {"customer": address})
        call = Call(tenant=new_id(), user="users/a", deadline=time.monotonic() + 0.3)
        with pytest.raises(Refused) as late:
            await clients.ask(GET, customer_pb2.GetCustomerRequest(), call)
        await clients.close()
    assert (late.value.reason, late.value.facts) == ("DEADLINE_EXCEEDED", {"service": "customer"})


@pytest_asyncio.fixture
async def stuck(notes_urls: tuple[str, str], tmp_path: Path) -> AsyncIterator[Stuck]:
    """A service with a pool of its own, and a peer that never answers."""
    store = NoteStore(Database(notes_urls[1], POOL))
    async with peer(lambda context: None) as silent:
        yield Stuck(store, tmp_path, silent)
    await store.database.close()


class Watcher:
    """Looks at the server's sessions in the database of the notes, but for its own."""

    def __init__(self, connection: psycopg.AsyncConnection) -> None:
        self.connection = connection

    async def busy(self) -> list[tuple[int, str, str]]:
        """(process, state, statement) of whoever works, or holds a transaction open."""
        cursor = await self.connection.execute(
            "SELECT pid, state, query FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'"
        )
        return await cursor.fetchall()

    async def quiet(self, within: float) -> float:
        """Wait until nobody is busy; seconds that took. Fails with who still is."""
        began = time.monotonic()
        while found := await self.busy():
            assert time.monotonic() - began < within, found
            await asyncio.sleep(0.005)
        return time.monotonic() - began


@pytest_asyncio.fixture
async def watcher(notes_urls: tuple[str, str]) -> AsyncIterator[Watcher]:
    """The owner of the database, looking."""
    async with await psycopg.AsyncConnection.connect(notes_urls[0], autocommit=True) as connection:
        await connection.execute(f"SELECT pg_advisory_lock({LOCK})")
        yield Watcher(connection)


@pytest.mark.parametrize("how", ["sql", "lock", "idle", "peer"])
async def test_work_stops_when_the_caller_gives_up(stuck: Stuck, watcher: Watcher, how: str) -> None:
    """Left alone, each of these would go on for seconds or for ever (a lock for two, by its own time-out)."""
    worst, token = 0.0, stuck.token()
    async with stuck.running() as work:
        for _ in range(3):
            deadline = time.monotonic() + 0.5
            with pytest.raises(grpc.aio.AioRpcError) as late:
                await work(StringValue(value=how), timeout=0.5, metadata=token)
            assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            await watcher.quiet(10)
            worst = max(worst, time.monotonic() - deadline)
    print(f"{how}: nothing left of it {worst * 1000:.0f} ms after the deadline")
    await given_back(stuck.store.database)


async def test_the_server_itself_ends_a_statement_that_outlives_its_call(stuck: Stuck) -> None:
    call = Call(tenant=stuck.tenant, user="users/a", deadline=time.monotonic() + 4.0)
    with pytest.raises(psycopg.errors.QueryCanceled):
        async with stuck.store.begin(call) as tx:
            await tx.rows("SELECT pg_sleep(30)::text AS slept")


async def test_a_lock_of_a_process_that_stands_still_is_free_before_others_give_up(stuck: Stuck) -> None:
    holds, thaws = asyncio.Event(), asyncio.Event()

    async def stand_still() -> None:
        async with stuck.store.begin(Call(tenant=stuck.tenant, user="users/a")) as tx:
            await tx.rows(f"SELECT pg_advisory_xact_lock({HELD})::text AS held")
            holds.set()
            await thaws.wait()

    frozen = asyncio.create_task(stand_still())
    await holds.wait()
    async with stuck.running() as work:
        await work(StringValue(value="held"), timeout=DEFAULT_SECONDS, metadata=stuck.token())
    thaws.set()
    await asyncio.gather(frozen, return_exceptions=True)


async def test_nothing_is_left_of_calls_that_are_given_up_at_any_moment(
    stuck: Stuck, watcher: Watcher
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}, {CANCELS} calls")
    chance, ended, token = random.Random(seed), Counter[str](), stuck.token()
    places = asyncio.Semaphore(AT_ONCE)
    async with stuck.running() as work:

        async def one(patience: float, leaves: bool) -> None:
            async with places:
                request = StringValue(value=f"{chance.uniform(0, 0.01):.4f}")
                call = work(request, timeout=20 if leaves else patience, metadata=token)
                if leaves:
                    asyncio.get_running_loop().call_later(patience, call.cancel)
                try:
                    await call
                    ended["answered"] += 1
                except asyncio.CancelledError:
                    ended["left"] += 1
                except grpc.aio.AioRpcError as no:
                    ended[no.code().name] += 1

        await asyncio.gather(
            *(one(chance.uniform(0.0005, 0.25), chance.random() < 0.5) for _ in range(CANCELS))
        )
        print(dict(ended))
        assert ended["left"] and ended["DEADLINE_EXCEEDED"]
        assert not ended["INTERNAL"] and not ended["UNKNOWN"]
        await watcher.quiet(10)
        database = stuck.store.database
        await given_back(database)
        await whole(database)


async def given_back(database: Database) -> None:
    """Every connection is back in the pool, or gone: what broke off may be closing one just now."""
    for _ in range(1000):
        if not database.busy:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{database.busy} connections are still lent")


async def whole(database: Database) -> None:
    """Every place of the pool can be had at once, and works."""
    arrived = asyncio.Barrier(POOL)

    async def use() -> None:
        async with database.connection() as connection:
            await arrived.wait()
            cursor = await connection.execute("SELECT 1, current_setting('app.tenant_id', true)")
            assert await cursor.fetchone() in ((1, None), (1, ""))

    await asyncio.wait_for(asyncio.gather(*(use() for _ in range(POOL))), 30)
