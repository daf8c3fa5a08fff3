"""The long form: seed after seed until enough has happened; a file remembers what is done."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack import files
from tests.chaos.faults import TARGETS
from tests.chaos.rig import Say, Verdict, run

SEEDS, ORDERS, KILLS = 20, 20_000, 200  # so many seeds, orders in all, kills of each process


@dataclass
class Long:
    """What was done so far, kept in a file: seed → its orders, faults and findings."""

    path: Path

    def known(self) -> dict[str, Any]:
        """The seeds that are done."""
        return dict(files.read_json(self.path))

    def keep(self, verdict: Verdict) -> None:
        """Remember a seed."""
        done = {
            "orders": verdict.counters["orders"], "faults": dict(verdict.faults),
            "findings": sorted(verdict.names),
        }  # fmt: skip
        self.path.write_text(json.dumps(self.known() | {str(verdict.seed): done}, indent=2) + "\n")

    def missing(self) -> list[str]:
        """What is still to happen before it is enough; nothing when it is."""
        known = self.known()
        faults = Counter[str]()
        for seed in known.values():
            faults.update(seed["faults"])
        orders = sum(seed["orders"] for seed in known.values())
        least = min(faults[f"kill {target}"] for target in TARGETS)
        return [
            f"{have:,} of {wanted:,} {what}"
            for have, wanted, what in (
                (len(known), SEEDS, "seeds"), (orders, ORDERS, "orders"),
                (least, KILLS, "kills of each process"),
            )
            if have < wanted
        ]  # fmt: skip

    def go_on(self, first: int, say: Say, **wanted: Any) -> int:
        """Run seeds that are not done yet; 1 as soon as one finds something, 0 when it is enough."""
        seed = first
        while left := self.missing():
            if str(seed) not in self.known():
                say(f"Still to come: {', '.join(left)}. {self.path} remembers what is done.")
                verdict = run(seed, say=say, **wanted)
                say(str(verdict))
                if not verdict.ok:
                    return 1
                self.keep(verdict)
            seed += 1
        say(f"Enough: {SEEDS} seeds, {ORDERS:,} orders, {KILLS} kills of each process, and nothing found.")
        return 0
