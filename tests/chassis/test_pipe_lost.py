"""A pipe whose server goes away says so as a database does, at any moment: by no defect, not by silence."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket

import psycopg
import pytest

from chassis.database import Database
from chassis.kernel.refusals import Refused
from tests.chaos.proxy import CLEAR, Proxy, Weather
from tests.servers import Servers

LOST = (psycopg.OperationalError, Refused)


async def asked(database: Database, statements: int) -> int:
    """Several statements in one transaction, settled now and then; what the last one said."""
    async with database.pipe() as pipe:
        try:
            pipe.ask("BEGIN")
            last = None
            for number in range(statements):
                last = pipe.ask("SELECT %s::bigint FROM pg_sleep(0.001)", [number])
                if number % 3 == 0:
                    await last.rows()
            pipe.ask("COMMIT")
            await pipe.settle()
        except Exception:
            await pipe.rollback()
            raise
    assert last is not None
    return int((await last.rows())[0][0])


async def test_a_host_that_is_gone_without_a_word_is_noticed(servers: Servers):
    database = Database(servers.postgres.url(), 1)
    async with database.pipe() as pipe:
        with socket.socket(fileno=os.dup(pipe.driver.pgconn.socket)) as line:
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
            assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5
    await database.close()


@pytest.mark.parametrize("weather", [Weather(refuse=True), Weather(half_open=True)])
async def test_lost_in_the_middle(servers: Servers, weather: Weather):
    chance = random.Random(5)
    proxy = await Proxy("pipe", servers.postgres.port, chance).start()
    url = servers.postgres.url().replace(f":{servers.postgres.port}/", f":{proxy.port}/")
    database = Database(url, 3)
    try:
        for _ in range(40):
            task = asyncio.create_task(asked(database, 9))
            await asyncio.sleep(chance.uniform(0, 0.02))
            proxy.set(weather)
            await asyncio.sleep(0.005)
            proxy.set(CLEAR)
            with contextlib.suppress(*LOST):
                assert await asyncio.wait_for(task, 20) == 8
        for _ in range(database.size):  # each connection of the pool finds out by itself
            with contextlib.suppress(*LOST):
                await asyncio.wait_for(asked(database, 9), 20)
        assert await asked(database, 9) == 8
    finally:
        await database.close()
        await proxy.stop()
