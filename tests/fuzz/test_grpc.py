"""Thousands of hostile gRPC requests over all methods, in a short form."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz import calls
from tests.fuzz.journal import Journal
from tests.fuzz.target import Target

SEED, EACH = 14, 17


async def test_no_request_breaks_a_service(fuzzed: Target, tmp_path: Path) -> None:
    journal = Journal(SEED, tmp_path)
    await calls.run(fuzzed, journal, SEED, EACH)
    await calls.aftermath(fuzzed, journal)
    print(journal.verdict())
    assert not journal.failures, journal.verdict()
    assert set(journal.methods) == {method.full_name for method in fuzzed.contract.methods}
