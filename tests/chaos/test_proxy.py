"""The proxy's weather: a rig whose faults do nothing proves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos.proxy import CLEAR, HERE, Proxy, Weather

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest_asyncio.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """In front of a server that says everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, HERE, 0)
    made = await Proxy("test", server.sockets[0].getsockname()[1]).start()
    yield made
    await made.stop()
    server.close()


async def call(proxy: Proxy) -> Ends:
    return await asyncio.open_connection(HERE, proxy.port)


async def say(line: Ends, words: bytes = b"hello") -> bytes:
    line[1].write(words)
    return await asyncio.wait_for(line[0].readexactly(len(words)), 10)


async def silent(line: Ends) -> bool:
    """Whether nothing is heard for a while, neither words nor an end."""
    try:
        await asyncio.wait_for(line[0].read(1), 0.3)
    except TimeoutError:
        return True
    return False


async def test_in_clear_weather_everything_passes(proxy: Proxy):
    line = await call(proxy)
    assert await say(line, b"x" * 300_000) == b"x" * 300_000
    line[1].close()


async def test_a_black_hole_keeps_everything_back_and_lets_it_go_when_it_is_over(proxy: Proxy):
    line = await call(proxy)
    await say(line)
    proxy.set(Weather(black_hole=True))
    later = await call(proxy)
    for each in (line, later):
        each[1].write(b"hello")
        assert await silent(each)
    proxy.set(CLEAR)
    for each in (line, later):
        assert await asyncio.wait_for(each[0].readexactly(5), 10) == b"hello"


@pytest.mark.parametrize("weather", [Weather(torn=1.0), Weather(refuse=True)])
async def test_torn_lines_are_reset_and_so_are_new_ones(proxy: Proxy, weather: Weather):
    line = await call(proxy)
    await say(line)
    proxy.set(weather)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await say(line)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await say(await call(proxy))
    proxy.set(CLEAR)
    assert await say(await call(proxy)) == b"hello"


async def test_half_open_nobody_is_told_until_it_is_over(proxy: Proxy):
    line = await call(proxy)
    await say(line)
    proxy.set(Weather(half_open=True))
    line[1].write(b"hello")
    assert await silent(line)
    proxy.set(CLEAR)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await say(line)


async def test_slow_weather_keeps_the_order_of_what_is_said(proxy: Proxy):
    proxy.set(Weather(delay=0.02, jitter=0.02))
    line = await call(proxy)
    words = [b"%04d" % n for n in range(30)]
    for word in words:
        line[1].write(word)
        await asyncio.sleep(0.002)
    assert await asyncio.wait_for(line[0].readexactly(120), 10) == b"".join(words)
