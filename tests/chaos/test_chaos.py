"""The short form of the fault rig: a minute and a half of everything that may happen, and nothing is lost."""

from __future__ import annotations

import os

import pytest

from tests.chaos.rig import run

SEED = int(os.environ.get("CHAOS_SEED", "1"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "90"))


@pytest.mark.timeout(1500)
def test_nothing_is_lost_doubled_or_out_of_order_whatever_dies():
    verdict = run(SEED, seconds=SECONDS)
    print(verdict)
    assert verdict.ok, str(verdict)
