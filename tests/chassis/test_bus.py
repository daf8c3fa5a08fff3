"""Facts at the broker: in batches where it takes them, in order and once, whatever was published before."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from nats.js.api import StreamConfig
from tradewind.type.v1 import feed_pb2

from chassis import bus as buses
from chassis.bus import Bus
from chassis.call import new_id
from tests.servers import Servers

KIND = "tradewind.rumours.v1.RumourHeard"
STREAM = buses.stream_name("rumours")


@pytest_asyncio.fixture
async def bus(servers: Servers) -> AsyncIterator[Bus]:
    """A connection to a broker that knows no rumours yet."""
    found = Bus(servers.nats_url)
    await found.connect()
    yield found
    await found.js.delete_stream(STREAM)
    await found.close()


def rumours(count: int) -> list[feed_pb2.FeedEvent]:
    """So many facts of one partition."""
    return [
        feed_pb2.FeedEvent(event_id=new_id(), type=KIND, partition=1, position=n, record=f"rumours/{n}")
        for n in range(1, count + 1)
    ]


async def standing(bus: Bus) -> list[int]:
    """The positions in the stream, in their order."""
    info = await bus.js.stream_info(STREAM)
    messages = [await bus.js.get_msg(STREAM, n) for n in range(1, info.state.last_seq + 1)]
    return [feed_pb2.FeedEvent.FromString(message.data).position for message in messages]


async def test_a_batch_that_is_partly_there_is_completed_without_doubles(bus: Bus) -> None:
    facts = rumours(12)
    assert await bus.publish("rumours", facts[:5]) == 5
    assert await bus.publish("rumours", facts[3:]) == 12  # the end of the first one was never heard of
    assert await bus.publish("rumours", facts) == 12
    assert await standing(bus) == list(range(1, 13))


async def test_a_stream_of_an_earlier_release_takes_batches_from_now_on(bus: Bus) -> None:
    await bus.js.add_stream(StreamConfig(name=STREAM, subjects=["tradewind.rumours.v1.*.*"], max_age=3600))
    assert await bus.publish("rumours", rumours(3)) == 3
    config = (await bus.js.stream_info(STREAM)).config
    assert (config.allow_atomic, config.max_age) == (True, 3600)  # and stays as its operator made it
    assert await standing(bus) == [1, 2, 3]


async def test_a_broker_without_batches_gets_one_after_the_other(bus: Bus) -> None:
    await bus.assert_stream("rumours")
    bus._asserted["rumours"] = False
    facts = rumours(buses.IN_FLIGHT + 7)
    assert await bus.publish("rumours", facts) == len(facts)
    assert await standing(bus) == list(range(1, len(facts) + 1))


async def test_what_was_put_into_a_stream_from_another_source_is_not_read(bus: Bus) -> None:
    """As a reader of one source could have its facts delivered into another's stream."""
    assert await bus.publish("rumours", rumours(2)) == 2
    foreign = feed_pb2.FeedEvent(
        event_id=new_id(), type="tradewind.secrets.v1.SecretTold", partition=1, position=9
    )
    await bus.js.publish("tradewind.rumours.v1.RumourHeard.1", foreign.SerializeToString())
    fetched = await bus.fetch("listeners", "rumours", 1)
    assert fetched and [event.position for event in fetched[0]] == [1, 2]


async def test_a_stream_that_the_broker_has_lost_is_made_again_by_its_producer(bus: Bus) -> None:
    await bus.keep("rumours")
    await bus.js.delete_stream(STREAM)
    assert await bus.fetch("listeners", "rumours", 1) is None  # a reader makes nothing
    await bus.keep("rumours")
    assert (await bus.js.stream_info(STREAM)).config.allow_atomic
