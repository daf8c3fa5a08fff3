"""`python -m bench [--only orders,store] [--rounds 5] [--quick]`: measures, prints the table, keeps it."""

from __future__ import annotations

import argparse
import importlib
import time
import traceback

import uvloop

from bench import report
from bench.harness import Bench

# In this order; each is bench/<name>.py with `async def measure(bench)`.
BENCHMARKS = ("orders", "store", "pages", "around", "guarded", "events", "stock", "lists", "reports")


async def measure(bench: Bench, names: list[str]) -> None:
    """All of these, one after the other; one that fails is told and the others go on."""
    for name in names:
        began = time.monotonic()
        print(f"{name}", flush=True)
        try:
            await importlib.import_module(f"bench.{name}").measure(bench)
        except Exception as problem:
            traceback.print_exc()
            bench.failed[name] = f"{type(problem).__name__}: {problem}"
        print(f"  {name} took {time.monotonic() - began:.0f} s", flush=True)


def main() -> int:
    """Whether everything that was asked for could be measured; a missed aim is told, not punished."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="which, with commas between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a quarter of the time, and nothing is kept")
    wishes = parser.parse_args()
    bench = Bench(wishes.rounds, wishes.quick)
    names = wishes.only.split(",")
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    uvloop.run(measure(bench, names))
    said = report.text(bench)
    print("\n" + said)
    if not wishes.quick and names == list(BENCHMARKS):
        report.RESULTS.write_text(said, "utf-8")
    return 1 if bench.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
