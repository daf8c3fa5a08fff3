"""JetStream as the fast way for events: a cache of the outboxes that may be deleted at any moment.

One stream per producing service; a durable pull consumer per (subscriber, partition). Whatever is lost
here is found again by positions and replayed from the producer.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any

import nats
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, RetentionPolicy, StreamConfig
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError
from tradewind.type.v1 import feed_pb2

from chassis import telemetry
from chassis.call import new_id
from chassis.tls import Identity

log = logging.getLogger(__name__)
TOGETHER = 500  # events in one atomic batch: one fsync of the broker for all of them
IN_FLIGHT = 200  # acknowledgements awaited at once where the broker takes them one by one
BATCH = 500  # fetched at a time; more than max_ack_pending would wait for what never comes
WAIT_SECONDS = 5.0
PAUSE_SECONDS = 1.0
# What the end of a connection over TLS is told as; nothing is wrong.
logging.getLogger("asyncio").addFilter(
    lambda record: not record.getMessage().startswith("returning true from eof_received()")
)
BROKER = "nats"  # what the broker is called in its certificate


def stream_name(service: str) -> str:
    """`EVT_OPPORTUNITY`."""
    return f"EVT_{service.upper()}"


def subject(service: str, kind: str, part: int) -> str:
    """`tradewind.opportunity.v1.OpportunityWon.2`: the event's full name, then its partition."""
    return f"{kind}.{part}"


def durable(subscriber: str, part: int) -> str:
    """What the broker calls the place up to which a service has read a partition of a source."""
    return f"{subscriber}_{part}"


def rights(service: str, sources: Sequence[str], parts: int) -> dict[str, list[str]]:
    """The subjects that a service may publish and subscribe to: its own facts, its own stream, and reading
    the facts of its sources. What the broker answers goes to an inbox of the service's own."""
    publish = [f"tradewind.{service}.v1.>"]
    publish += [f"$JS.API.STREAM.{verb}.{stream_name(service)}" for verb in ("INFO", "CREATE", "UPDATE")]
    for source in sources:
        for place in (f"{stream_name(source)}.{durable(service, part)}" for part in range(parts)):
            publish += [f"$JS.API.CONSUMER.{verb}.{place}" for verb in ("INFO", "MSG.NEXT", "DURABLE.CREATE")]
            publish += [f"$JS.API.CONSUMER.CREATE.{place}.>", f"$JS.ACK.{place}.>"]
    return {"publish": publish, "subscribe": [f"{_inbox(service)}.>"]}


def _inbox(service: str) -> str:
    return f"_INBOX.{service}"


class Bus:
    """One connection to NATS, for publishing and for pulling."""

    def __init__(
        self, url: str, replicas: int = 1, service: str = "anyone", identity: Identity | None = None
    ) -> None:
        self.url, self.replicas, self.service, self.identity = url, replicas, service, identity
        self._asserted: dict[str, bool] = {}  # service → whether its stream takes batches
        self._subscriptions: dict[tuple[str, str, int], Any] = {}
        self._said = ""
        self.client: Any = None
        self.js: Any = None

    async def connect(self) -> None:
        """Connect, and keep reconnecting for as long as the process lives."""

        async def quiet(problem: Exception) -> None:
            log.info("broker: %s", problem)

        self.client = await nats.connect(
            self.url, max_reconnect_attempts=-1, reconnect_time_wait=0.5, pending_size=0,
            error_cb=quiet, connect_timeout=2, ping_interval=20, max_outstanding_pings=2,
            inbox_prefix=_inbox(self.service), **self._secured(),
        )  # fmt: skip
        self.js = self.client.jetstream(timeout=2.0, publish_async_max_pending=IN_FLIGHT * 4)

    def _secured(self) -> dict[str, Any]:
        """How the connection begins with TLS, before the broker is told a password."""
        if not self.url.startswith("tls://"):
            return {}
        if self.identity is None:
            return {"tls_handshake_first": True}
        context = self.identity.client_context()
        return {"tls": context, "tls_hostname": BROKER, "tls_handshake_first": True}

    async def keep(self, service: str) -> None:
        """See that the service's own stream is there, also after the broker has lost its disk; and that the
        next connection is made with the certificate of its moment."""
        if "tls" in self.client.options and self.identity is not None:
            self.client.options["tls"] = self.identity.client_context()
        if not self.client.is_connected:
            return
        self._asserted.pop(service, None)
        try:
            await self.assert_stream(service)
        except (NatsError, JetStreamError, TimeoutError, OSError) as problem:
            await self._trouble(f"the stream {stream_name(service)} is not there: {problem}")

    async def assert_stream(self, service: str) -> bool:
        """Make the service's stream unless it is there; whether it takes events in batches."""
        if (known := self._asserted.get(service)) is not None:
            return known
        config = StreamConfig(
            name=stream_name(service), subjects=[f"tradewind.{service}.v1.*.*"],
            retention=RetentionPolicy.LIMITS, discard=DiscardPolicy.OLD, max_age=72 * 3600,
            max_bytes=2 * 1024**3, duplicate_window=600, deny_delete=True, num_replicas=self.replicas,
            allow_atomic=True,
        )  # fmt: skip
        try:
            found = await self.js.stream_info(config.name)
        except NotFoundError:
            found = await self.js.add_stream(config)
        # Made by an earlier release or another setting, or the broker is older than batches.
        if not found.config.allow_atomic or found.config.num_replicas != self.replicas:
            found.config.allow_atomic, found.config.num_replicas = True, self.replicas
            found = await self.js.update_stream(found.config)
        self._asserted[service] = bool(found.config.allow_atomic)
        return self._asserted[service]

    async def publish(self, service: str, events: Sequence[feed_pb2.FeedEvent]) -> int:
        """Publish events of one partition in order; the position up to which all are acknowledged."""
        done = events[0].position - 1
        if self.js is None:
            return done
        try:
            batches = await self.assert_stream(service)
            size = TOGETHER if batches else IN_FLIGHT
            for at in range(0, len(events), size):
                chunk = events[at : at + size]
                if not (batches and await self._together(service, chunk)):
                    await self._one_by_one(service, chunk)
                done = chunk[-1].position
                telemetry.METRICS.count("tradewind_events_published_total", len(chunk))
        except (NatsError, JetStreamError, TimeoutError, OSError) as problem:
            # The stream may have gone with the broker's disk: look again before the next try.
            self._asserted.pop(service, None)
            await self._trouble(f"the broker does not take events: {problem or type(problem).__name__}")
        return done

    async def _together(self, service: str, events: Sequence[feed_pb2.FeedEvent]) -> bool:
        """Publish all of them or none (ADR-50 of NATS): one acknowledgement, one fsync.

        False when the broker refuses the batch, as it does when it has had one of them before: it then
        takes those that are missing one by one.
        """
        batch, last = new_id(), len(events)
        for number, event in enumerate(events, 1):
            place, content = subject(service, event.type, event.partition), event.SerializeToString()
            headers = {
                "Nats-Msg-Id": event.event_id, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number),
            }  # fmt: skip
            if number < last:
                await self.client.publish(place, content, headers=headers)
                continue
            headers["Nats-Batch-Commit"] = "1"
            answer = await self.client.request(place, content, timeout=5, headers=headers)
        return "error" not in json.loads(answer.data)

    async def _one_by_one(self, service: str, events: Sequence[feed_pb2.FeedEvent]) -> None:
        """Publish each by itself, many under way at once; returns when all are acknowledged."""
        for at in range(0, len(events), IN_FLIGHT):
            acks = [
                await self.js.publish_async(
                    subject(service, event.type, event.partition), event.SerializeToString(),
                    headers={"Nats-Msg-Id": event.event_id},
                )
                for event in events[at : at + IN_FLIGHT]
            ]  # fmt: skip
            _, pending = await asyncio.wait(acks, timeout=5)
            if pending:
                raise TimeoutError("no acknowledgement")
            for ack in acks:
                ack.result()

    async def fetch(
        self, subscriber: str, source: str, part: int
    ) -> tuple[list[feed_pb2.FeedEvent], Any] | None:
        """The next events of a partition and how to acknowledge them; none after a quiet while.

        None when the broker cannot be asked.
        """
        key = (subscriber, source, part)
        if self.js is None:
            return None
        try:
            if key not in self._subscriptions:
                self._subscriptions[key] = await self._subscribe(subscriber, source, part)
            messages = await self._subscriptions[key].fetch(BATCH, timeout=WAIT_SECONDS)
            events = [feed_pb2.FeedEvent.FromString(message.data) for message in messages]
            # Whoever may have a reader made may have it deliver anywhere, into another's stream too.
            events = [event for event in events if event.type.startswith(f"tradewind.{source}.v1.")]
            # ack_policy=all: the last speaks for those before it
            return events, messages[-1].ack if messages else None
        except (TimeoutError, nats.errors.TimeoutError):
            return [], None
        except (NatsError, JetStreamError, OSError) as problem:
            await self._trouble(f"cannot fetch {stream_name(source)}: {problem}")
            self._subscriptions.pop(key, None)
            return None

    async def _trouble(self, sentence: str) -> None:
        """Say what is wrong once, and wait a little: a missing stream answers at once, again and again."""
        if sentence != self._said:
            self._said = sentence
            log.warning("%s", sentence)
        await asyncio.sleep(PAUSE_SECONDS)

    async def _subscribe(self, subscriber: str, source: str, part: int) -> Any:
        place = durable(subscriber, part)  # its stream is the producer's to make
        config = ConsumerConfig(
            durable_name=place, filter_subject=f"tradewind.{source}.v1.*.{part}", ack_policy=AckPolicy.ALL,
            deliver_policy=DeliverPolicy.ALL, ack_wait=30, max_ack_pending=512, max_deliver=-1,
        )  # fmt: skip
        return await self.js.pull_subscribe(
            config.filter_subject, durable=place, stream=stream_name(source), config=config
        )

    async def close(self) -> None:
        """Leave. What was not acknowledged is published again, what was not applied is fetched again."""
        if self.client is not None and not self.client.is_closed:
            await self.client.close()
