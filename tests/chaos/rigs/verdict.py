"""What a rig answers: what it counted, and every sentence that says what is broken."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST, LONGEST = 6, 300  # sentences shown, and letters of each: more of the same tells nothing new


@dataclass
class Verdict:
    """The outcome of one run of a rig."""

    rig: str
    seed: int
    counters: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def count(self, what: str, by: int = 1) -> None:
        """Add to a counter."""
        self.counters[what] = self.counters.get(what, 0) + by

    def find(self, sentence: str) -> None:
        """Say that something is broken."""
        self.findings.append(sentence if len(sentence) <= LONGEST else sentence[:LONGEST] + "…")

    def expect(self, what: str, found: object, wanted: object) -> None:
        """Find it broken unless both are the same."""
        if found != wanted:
            self.find(f"{what}: {found} instead of {wanted}")

    def __str__(self) -> str:
        counted = ", ".join(f"{value:,} {name}" for name, value in self.counters.items())
        head = f"{self.rig} (seed {self.seed}): {counted}"
        if not self.findings:
            return f"{head}: nothing is broken"
        more = [f"… and {len(self.findings) - MOST} more"] if len(self.findings) > MOST else []
        return "\n  ".join([f"{head}: {len(self.findings)} findings", *self.findings[:MOST], *more])
