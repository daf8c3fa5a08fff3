"""What a process tells: one trace from HTTP to the last reaction, counters, and JSON logs.

Spans cost only where a trace is sampled (tracing every call through the contrib interceptors costs
165 µs each); metrics are plain counters in process, written out as Prometheus text on request.
"""

from __future__ import annotations

import json
import logging
import random
import re
import sys
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

from chassis.call import new_id

log = logging.getLogger(__name__)
_tracer: trace.Tracer | None = None
_ratio = 0.0
EXPORT_EVERY_MS = 2000  # an export costs milliseconds, however few spans it carries
_UNSAMPLED = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-00")
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def start_tracing(service: str, endpoint: str, ratio: float) -> None:
    """Send sampled spans by OTLP over HTTP to *endpoint*; without one, nothing is traced.

    Of the traces that begin in this process the share *ratio* is sampled; who is told of one obeys.
    """
    global _tracer, _ratio
    if not endpoint:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    provider = _provider(service)
    provider.add_span_processor(
        BatchSpanProcessor(
            OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces"),
            schedule_delay_millis=EXPORT_EVERY_MS,
        )
    )
    trace.set_tracer_provider(provider)
    _tracer, _ratio = provider.get_tracer("tradewind"), ratio


def _provider(service: str) -> TracerProvider:
    # What is not to be sampled does not get as far as a sampler: see entry.
    return TracerProvider(
        sampler=ParentBased(ALWAYS_ON), resource=Resource.create({"service.name": f"tradewind-{service}"})
    )


def stop_tracing() -> None:
    """Send what is still held."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.shutdown()


@contextmanager
def span(name: str, **attributes: str | int) -> Iterator[None]:
    """A step of the current trace; nothing at all where the trace is not sampled."""
    if (
        _tracer is None
        or _UNRECORDED.get()
        or not trace.get_current_span().get_span_context().trace_flags.sampled
    ):
        yield
        return
    assert _tracer is not None
    with _tracer.start_as_current_span(name, attributes=dict(attributes)):
        yield


@contextmanager
def entry(name: str, traceparent: str, **attributes: str | int) -> Iterator[None]:
    """The first span of this process in the trace that *traceparent* (W3C) names, or of a new one."""
    tracer = _tracer
    if tracer is None:
        yield
        return
    told = _told(traceparent)
    if not told.is_valid and random.random() >= _ratio:
        told = _told(unrecorded())
    silent = told.is_valid and not told.trace_flags.sampled
    token = _UNRECORDED.set(f"00-{told.trace_id:032x}-{told.span_id:016x}-00" if silent else "")
    try:
        if silent:
            yield
            return
        parent = context.Context()
        if told.is_valid:
            parent = trace.set_span_in_context(trace.NonRecordingSpan(told), parent)
        with tracer.start_as_current_span(name, context=parent, attributes=dict(attributes)):
            yield
    finally:
        _UNRECORDED.reset(token)


def _told(traceparent: str) -> trace.SpanContext:
    """The span that a traceparent names; INVALID_SPAN_CONTEXT for none and for nonsense."""
    try:
        _, trace_id, span_id, flags = (int(part, 16) for part in traceparent.split("-"))
    except ValueError:
        return trace.INVALID_SPAN_CONTEXT
    return trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(flags & 1))


# The trace of what is under way where nothing of it is recorded: its name goes along as text, for logs,
# refusals and the calls that follow. Spans that do nothing would cost more than all else around a call.
_UNRECORDED: ContextVar[str] = ContextVar("unrecorded", default="")


def is_unrecorded(traceparent: str) -> bool:
    """Whether nothing is recorded of the trace that *traceparent* names."""
    return traceparent.endswith("-00") and _UNSAMPLED.fullmatch(traceparent) is not None


def carry(traceparent: str) -> None:
    """The task that calls this belongs, to its end, to a trace of which nothing is recorded."""
    _UNRECORDED.set(traceparent)


def traceparent() -> str:
    """The current trace as a W3C traceparent, or ""."""
    if silent := _UNRECORDED.get():
        return silent
    found = trace.get_current_span().get_span_context()
    if not found.is_valid:
        return ""
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"


def unrecorded() -> str:
    """A new trace that is not sampled, only to be quoted; its number is no secret."""
    return f"00-{random.getrandbits(128) or 1:032x}-{random.getrandbits(64) or 1:016x}-00"


def trace_id() -> str:
    """What to quote when asking about this call: the trace id, or a fresh one where nothing is traced."""
    return _trace_id() or new_id().replace("-", "")


def _trace_id() -> str:
    if found := _UNRECORDED.get():
        return found[3:35]
    current = trace.get_current_span().get_span_context().trace_id
    return f"{current:032x}" if current else ""


class Metrics:
    """Counters, gauges and histograms of one process, by name and labels."""

    def __init__(self) -> None:
        self.help: dict[str, tuple[str, str]] = {}
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._histograms: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = {}
        self.collectors: list[Callable[[], Awaitable[None]]] = []

    def describe(self, name: str, kind: str, sentence: str) -> None:
        """Say once what a metric is: kind counter, gauge or histogram."""
        self.help[name] = (kind, sentence)

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        key = (name, tuple(labels.items()))
        self._values[key] = self._values.get(key, 0) + amount

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._values[name, tuple(labels.items())] = value

    def forget(self, name: str) -> None:
        """Show no value of a gauge until it is set again."""
        self._values = {key: value for key, value in self._values.items() if key[0] != name}

    async def collected(self) -> str:
        """The text, once everyone who measures on request has done so."""
        for collect in list(self.collectors):
            await collect()
        return self.text()

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add an observation to a histogram of seconds."""
        put(self.cells(name, **labels), seconds)

    def cells(self, name: str, **labels: str) -> list[float]:
        """A histogram's counts by bucket and its sum, for who adds to it often; see put."""
        key = (name, tuple(labels.items()))
        cells = self._histograms.get(key)
        if cells is None:
            cells = self._histograms[key] = [0.0] * (len(BUCKETS) + 2)
        return cells

    def text(self) -> str:
        """Everything in the Prometheus text format."""
        lines: list[str] = []
        names = sorted({name for name, _ in (*self._values, *self._histograms)})
        for name in names:
            kind, sentence = self.help.get(name, ("untyped", ""))
            lines += [f"# HELP {name} {sentence}", f"# TYPE {name} {kind}"]
            for (metric, labels), value in self._values.items():
                if metric == name:
                    lines.append(f"{name}{_labels(labels)} {_number(value)}")
            for (metric, labels), cells in self._histograms.items():
                if metric == name:
                    lines += _histogram(name, labels, cells)
        return "\n".join(lines) + "\n"


def put(cells: list[float], seconds: float) -> None:
    """Add an observation to the cells of a histogram."""
    cells[bisect_left(BUCKETS, seconds)] += 1
    cells[-1] += seconds


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f"{key}={json.dumps(value)}" for key, value in labels) + "}"


def _histogram(name: str, labels: tuple[tuple[str, str], ...], cells: list[float]) -> list[str]:
    lines, total = [], 0.0
    for bound, cell in zip((*map(str, BUCKETS), "+Inf"), cells[:-1], strict=True):
        total += cell
        lines.append(f"{name}_bucket{_labels((*labels, ('le', bound)))} {_number(total)}")
    labelled = _labels(labels)
    return [*lines, f"{name}_sum{labelled} {_number(cells[-1])}", f"{name}_count{labelled} {_number(total)}"]


def _number(value: float) -> str:
    """To the last digit: a counter beyond a million that is rounded seems to stand still."""
    return str(int(value)) if value == int(value) else repr(float(value))


METRICS = Metrics()
METRICS.describe("tradewind_rpc_seconds", "histogram", "How long calls took, by method and code.")
METRICS.describe("tradewind_events_applied_total", "counter", "Events reacted to, by source service.")
METRICS.describe("tradewind_events_parked_total", "counter", "Events that were set aside, by source.")
METRICS.describe("tradewind_event_delay_seconds", "histogram", "Age of facts when reacted to, by source.")
METRICS.describe("tradewind_event_gaps_total", "counter", "Holes in the stream filled from the producer.")
METRICS.describe("tradewind_events_published_total", "counter", "Events the broker has acknowledged.")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, service, message, and the trace it belongs to."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service
        # Made once: json.dumps makes one for each line, and lines of one second share its name.
        self._encode = json.JSONEncoder(ensure_ascii=False).encode
        self._second, self._named = -1, ""

    def format(self, record: logging.LogRecord) -> str:
        second = int(record.created)
        if second != self._second:
            self._named = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        line: dict[str, Any] = {
            "time": f"{self._named}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "service": self.service,
            "message": record.getMessage(),
        }
        if found := _trace_id():
            line["trace"] = found
        if isinstance(facts := getattr(record, "facts", None), Mapping):
            line.update(facts)
        if record.exc_info:
            line["problem"] = self.formatException(record.exc_info)
        return _printable(self._encode(line))


def _printable(line: str) -> str:
    """The line with nothing in it that a terminal obeys or a reader takes for the end of a line."""
    if line.isprintable():  # JSON escapes what is below a space
        return line
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in line)


def start_logging(service: str, level: str) -> None:
    """Log JSON lines to standard error."""
    # A line names neither thread nor source, so nobody looks for them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # type: ignore[attr-defined,unused-ignore]  # documented: "Optimization"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("nats").setLevel("ERROR")
