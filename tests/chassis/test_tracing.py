"""Which traces are recorded: the caller decides where it told of one, the ratio where one begins."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from chassis import telemetry

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def kept(monkeypatch):
    """The spans that a process with tracing has ended; half of the traces that begin are to be recorded."""
    exporter, provider = InMemorySpanExporter(), telemetry._provider("test")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "_tracer", provider.get_tracer("test"))
    monkeypatch.setattr(telemetry, "_ratio", 0.5)
    yield exporter
    provider.shutdown()


def passed_on(told: str) -> str:
    with telemetry.entry("a call", told), telemetry.span("a step"):
        return telemetry.traceparent()


def test_a_share_of_the_traces_that_begin_here_is_recorded_and_all_have_a_name(kept):
    names = [passed_on("") for _ in range(400)]
    recorded = [name for name in names if int(name[-2:], 16) & 1]
    assert 100 < len(recorded) < 300
    assert len(kept.get_finished_spans()) == 2 * len(recorded)
    assert len({name[3:35] for name in names}) == 400
    assert all(span.parent is None for span in kept.get_finished_spans() if span.name == "a call")


@pytest.mark.parametrize(("flags", "spans"), [("01", 2), ("00", 0), ("03", 2), ("02", 0)])
def test_a_trace_that_was_told_is_recorded_as_its_caller_decided(kept, monkeypatch, flags, spans):
    for ratio in (0.0, 1.0):
        monkeypatch.setattr(telemetry, "_ratio", ratio)
        kept.clear()
        assert passed_on(f"00-{TRACE}-b7ad6b7169203331-{flags}")[3:35] == TRACE
        assert len(kept.get_finished_spans()) == spans


def test_nonsense_is_no_trace_and_does_not_make_one_recorded(kept, monkeypatch):
    monkeypatch.setattr(telemetry, "_ratio", 0.0)
    for nonsense in ("00-x", f"00-{TRACE}-0000000000000000-01", f"00-{TRACE * 2}-b7ad6b7169203331-01"):
        assert passed_on(nonsense)[3:35] not in ("", TRACE)
    assert not kept.get_finished_spans()
