"""CPU seconds of processes, as the kernel counts them."""

from __future__ import annotations

import os
import resource
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
LOOKS = 100  # at a family that changes while it is looked at


def own_cpu() -> float:
    """CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def machine() -> tuple[int, int]:
    """(ticks that others on the same host were given while a processor here was wanted, all ticks) so far."""
    path = Path("/proc/stat")
    ticks = list(map(int, path.read_text().split("\n", 1)[0].split()[1:9])) if path.exists() else [0] * 8
    return ticks[7], sum(ticks)


def since(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """What was spent between two looks."""
    return {name: after[name] - before[name] for name in before}


def spent(pid: int) -> float:
    """CPU seconds of a process, which must not have ended, and of those of its children that have."""
    try:
        cells = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} has ended") from None
    return sum(map(int, cells[11:15])) / TICKS


def spent_by_all(pid: int) -> float:
    """CPU seconds of a process and all its children, those that have ended and those that live.

    From its end a child is counted by its parent. So that none is counted twice, or not at all, all who were
    looked at must still be there once the parent has been.
    """
    for _ in range(LOOKS):
        living = _children(pid)
        try:
            of_children = sum(spent(child) for child in living)
        except ProcessLookupError:
            continue
        found = spent(pid) + of_children
        if living <= _children(pid):
            return found
    raise RuntimeError(f"the children of process {pid} end faster than they can be counted")


def _children(pid: int) -> set[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for task in tasks for child in task.read_text().split()}
