"""Hostile HTTP requests over all methods and every odd framing, in a short form."""

from __future__ import annotations

from pathlib import Path

from gateway.contract import SERVICE
from tests.fuzz import calls, web
from tests.fuzz.journal import Journal
from tests.fuzz.target import Target

SEED, EACH = 12, 5


async def test_no_http_request_breaks_the_gateway(fuzzed: Target, tmp_path: Path) -> None:
    journal = Journal(SEED, tmp_path)
    await web.run(fuzzed, journal, SEED, EACH)
    await calls.aftermath(fuzzed, journal)
    print(journal.verdict())
    assert not journal.failures, journal.verdict()
    open_to_all = {m.full_name for m in fuzzed.contract.methods if m.permission != SERVICE and not m.streams}
    assert open_to_all <= set(journal.methods)
