"""What the benchmarks stand on: CPU that is counted once, and a table that says what it lacks."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

import bench.__main__ as running
from bench import cpu, report
from bench.harness import Bench, Measured, Sample

# Has a child that spends 100 ms and ends when it is told; then says what the child spent.
PARENT = """
import os, resource, sys, time
if os.fork() == 0:
    while time.process_time() < 0.1: pass
    print("ready", flush=True)
    sys.stdin.readline()
    os._exit(0)
os.wait()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("when", ["_children", "spent"])  # it has been listed, or looked at
def test_what_a_child_spent_is_counted_once_whenever_it_ends(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as parent:  # fmt: skip
        told, look = [parent.stdout.readline()], getattr(cpu, when)

        def and_then_it_ends(pid: int) -> Any:
            found = look(pid)
            if len(told) == 1 and (pid != parent.pid or when == "_children"):
                parent.stdin.write("\n")
                parent.stdin.flush()
                told.append(parent.stdout.readline())
            return found

        monkeypatch.setattr(cpu, when, and_then_it_ends)
        of_both = cpu.spent_by_all(parent.pid)
        monkeypatch.undo()
        # Now that all of it is the parent's. Each figure is of whole ticks, of 10 ms.
        assert of_both == pytest.approx(cpu.spent(parent.pid), abs=0.045)
        parent.stdin.close()
    assert float(told[1]) >= 0.1


def test_a_process_that_ended_is_not_one_that_spent_nothing() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with pytest.raises(ProcessLookupError):
        cpu.spent(ended.pid)


def test_the_table_says_which_benchmark_broke_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def breaks_off(_bench: Bench) -> None:
        raise ValueError("no such plug")

    async def goes_well(bench: Bench) -> None:
        bench.row("a walk", "a run", Measured((0.5,)), ("at least", 0.4))

    parts = {
        "bench.one": SimpleNamespace(measure=breaks_off),
        "bench.two": SimpleNamespace(measure=goes_well),
    }
    monkeypatch.setattr(running.importlib, "import_module", parts.__getitem__)
    bench = Bench(rounds=1)
    asyncio.run(running.measure(bench, ["one", "two"]))
    assert "Traceback" in capsys.readouterr().err
    said = report.text(bench)
    assert "`one` broke off" in said
    assert "no such plug" in said
    assert "| a walk | a run | 0.5 (0.5 – 0.5) | ≥ 0.4 | met |" in said


async def test_a_round_that_the_host_disturbed_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shares, at, count = iter([0, 0, 40, 0]), 0, 0  # of 100 ticks: of the round ahead, the first, and so on

    def machine() -> tuple[int, int]:
        nonlocal at, stolen
        at += 1
        if at % 2 == 0:  # the look at the end of a round
            stolen += next(shares)
        return stolen, at // 2 * 100

    async def work() -> Sample:
        nonlocal count
        count += 1
        return Sample(count, 1.0)

    stolen = 0
    monkeypatch.setattr("bench.harness.machine", machine)
    bench = Bench(rounds=2)
    runs = await bench.interleave(work=work)
    assert [sample.count for sample in runs.samples["work"]] == [2, 4]
    assert bench.disturbed == 1
    assert max(bench.kept) == 0
