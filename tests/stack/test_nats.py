"""The embedded NATS: JetStream is there, its password is asked, its store outlives a kill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nats
import pytest
from nats.errors import NoServersError

from stack.nats import Nats


@pytest.fixture
def server(home: Path) -> Iterator[Nats]:
    made = Nats(home)
    made.start()
    yield made
    made.stop()


async def test_what_was_acknowledged_is_there_after_a_kill(server: Nats):
    client = await nats.connect(server.url())
    stream = client.jetstream()
    await stream.add_stream(name="EVT_TEST", subjects=["tradewind.test.v1.>"])
    await stream.publish("tradewind.test.v1.Happened", b"once")
    await client.close()
    assert server.process
    server.process.kill()
    server.process.wait()
    server.start()
    client = await nats.connect(server.url())
    message = await client.jetstream().get_msg("EVT_TEST", 1)
    await client.close()
    assert message.data == b"once"


async def test_a_wrong_password_does_not_get_in(server: Nats):
    async def quiet(error: Exception) -> None: ...

    with pytest.raises((NoServersError, Exception), match=r"(?i)authorization|no servers"):
        await nats.connect(
            server.url().replace("tradewind:", "tradewind:wrong"), allow_reconnect=False, error_cb=quiet
        )


def test_it_keeps_its_port_when_it_starts_again(server: Nats):
    port = server.port
    server.stop()
    server.start()
    assert server.port == port
