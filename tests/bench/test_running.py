"""The benchmarks that speak SQL of their own still fit the tables: they run, in a short form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_orders_and_the_store_are_measured_beside_pgbench() -> None:
    asked = [sys.executable, "-m", "bench", "--quick", "--rounds", "1", "--only", "store,orders"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| the store alone" in done.stdout and "| orders of 3 lines per second" in done.stdout
