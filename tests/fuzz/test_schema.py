"""What the gateway answers to requests made from its own description, in a short form."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz import calls, schema
from tests.fuzz.journal import Journal
from tests.fuzz.target import Target

SEED, EACH = 16, 2


async def test_every_answer_is_as_the_description_says(fuzzed: Target, tmp_path: Path) -> None:
    journal = Journal(SEED, tmp_path)
    await schema.run(fuzzed, journal, SEED, EACH)
    await calls.aftermath(fuzzed, journal)
    print(journal.verdict())
    assert not journal.failures, journal.verdict()
    assert journal.counters["described: granted"] > len(journal.methods) / 2
