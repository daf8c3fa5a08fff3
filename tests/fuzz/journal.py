"""What a run has seen: counters, times, and every failing case written down so that it can be asked again."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.oracle import Answer

MOST_WRITTEN = 50


@dataclass(frozen=True)
class Case:
    """One request: over which door, to which method, and its bytes."""

    door: str  # "service", "edge" or "http"
    method: str
    number: int
    kind: str
    request: bytes


@dataclass
class Journal:
    """The record of one run."""

    seed: int
    folder: Path
    names: dict[str, list[str]] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    seconds: list[tuple[float, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    methods: Counter[str] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)

    def saw(self, case: Case, answer: Answer, faults: list[str]) -> None:
        """Count a case; write it down when something is wrong."""
        self.counters[f"{case.door} {answer.code}"] += 1
        self.methods[case.method] += 1
        self.counters[f"{case.kind}: {'granted' if answer.code in ('OK', '200') else 'refused'}"] += 1
        self.seconds.append((answer.seconds, f"{case.method} {case.number} ({case.kind})"))
        if faults:
            self.failed(case, answer, faults)

    def failed(self, case: Case, answer: Answer, faults: list[str]) -> None:
        """Keep a failing case with the one command that asks it again."""
        name = f"{self.seed}-{len(self.failures)}.json"
        told = {
            "door": case.door, "method": case.method, "number": case.number, "kind": case.kind,
            "request": base64.b64encode(case.request).decode(), "names": self.names, "faults": faults,
            "answer": {"code": answer.code, "said": answer.said[:4000]},
        }  # fmt: skip
        if len(self.failures) < MOST_WRITTEN:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(
                json.dumps(told, indent=2, ensure_ascii=False), "utf-8", "replace"
            )
        again = f"python -m tests.fuzz --replay {self.folder / name}"
        self.failures.append(
            f"{case.door} {case.method} ({case.kind}): {'; '.join(faults)[:600]}\n    {again}"
        )

    def fault(self, what: str) -> None:
        """Something is wrong that belongs to no single case."""
        self.failures.append(what)

    def progress(self, what: str) -> None:
        """One line on how far it is."""
        took = time.monotonic() - self.started
        print(
            f"{took:6.1f} s  {what}: {sum(self.methods.values())} cases, {len(self.failures)} failures",
            file=sys.stderr,
        )

    def verdict(self) -> str:
        """The counters and what they come to."""
        times = sorted(self.seconds) or [(0.0, "")]
        lines = [f"seed {self.seed}: {sum(self.methods.values())} cases over {len(self.methods)} methods"]
        lines += [f"  {name:32} {count}" for name, count in sorted(self.counters.items())]
        middle, late = times[len(times) // 2][0], times[int(len(times) * 0.99)][0]
        lines.append(f"  p50 {middle * 1000:.0f} ms · p99 {late * 1000:.0f} ms · slowest:")
        lines += [f"  {took * 1000:8.0f} ms {what}" for took, what in times[-5:]]
        lines += self.failures[:MOST_WRITTEN]
        lines.append("holds" if not self.failures else f"{len(self.failures)} FAILURES")
        return "\n".join(lines)


def written(path: Path) -> tuple[Case, dict[str, list[str]]]:
    """A case that was written down, and the names of the records that there were."""
    told: dict[str, Any] = json.loads(path.read_text("utf-8"))
    case = Case(told["door"], told["method"], told["number"], told["kind"], base64.b64decode(told["request"]))
    return case, told["names"]
