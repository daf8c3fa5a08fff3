"""Alternatives measured in turn, in one run, and told as ratios: a busy machine slows both sides alike."""

from __future__ import annotations

import math
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bench.cpu import machine

MOST_STOLEN = 0.03  # of the processors' time in a round; beyond it the round tells of the neighbours
Value = Callable[["Sample"], float]
Alternative = Callable[[], Awaitable["Sample"]]


@dataclass(frozen=True)
class Sample:
    """One alternative in one round: how often it did its work, in which time, at whose expense."""

    count: int
    seconds: float
    cpu: dict[str, float] = field(default_factory=dict)  # "gateway", "service", "postgres", … → CPU seconds
    times: list[float] = field(default_factory=list)  # seconds each, where they were taken

    @property
    def rate(self) -> float:
        """How often per second."""
        return self.count / self.seconds

    def cost(self, *parts: str) -> float:
        """CPU microseconds each, of these parts together; of all of them when none is named."""
        return sum(self.cpu[part] for part in parts or self.cpu) / self.count * 1e6

    def quantile(self, share: float) -> float:
        """The time, in seconds, within which this share of the work was done."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True)
class Measured:
    """A number that came out of every round: its median, and how far the rounds lay apart."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(min(self.values))} – {_short(max(self.values))})"


class Runs:
    """What the rounds gave, by alternative."""

    def __init__(self, samples: dict[str, list[Sample]]) -> None:
        self.samples = samples

    def of(self, name: str, value: Value = lambda sample: sample.rate) -> Measured:
        """A number of one alternative."""
        return Measured(tuple(value(sample) for sample in self.samples[name]))

    def ratio(
        self, name: str, other: str, value: Value = lambda sample: sample.rate, against: Value | None = None
    ) -> Measured:
        """*name* over *other*, round by round: what slowed a round slowed both."""
        pairs = zip(self.samples[name], self.samples[other], strict=True)
        return Measured(tuple(value(mine) / (against or value)(theirs) for mine, theirs in pairs))


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    work: str
    against: str
    measured: Measured
    aim: tuple[str, float]  # ("at least" | "at most", ratio)
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the median is as it should be."""
        word, bound = self.aim
        return self.measured.median >= bound if word == "at least" else self.measured.median <= bound


class Bench:
    """A run: how many rounds, how long each, and what came out."""

    def __init__(self, rounds: int = 5, quick: bool = False) -> None:
        self.rounds, self.quick = rounds, quick
        self.rows: list[Row] = []
        self.costs: list[tuple[str, dict[str, Measured]]] = []
        self.failed: dict[str, str] = {}  # benchmark → why it gave nothing
        self.disturbed, self.kept = 0, list[float]()  # rounds done again; what was stolen in those that count

    def seconds(self, usual: float) -> float:
        """How long one alternative runs in one round."""
        return usual / 4 if self.quick else usual

    async def interleave(self, **alternatives: Alternative) -> Runs:
        """Every alternative once per round, each second round backwards, after one that does not count.

        A round in which the host gave the processors to others is done again, as often as there are rounds.
        """
        samples: dict[str, list[Sample]] = {name: [] for name in alternatives}
        number, again = 0, self.rounds
        while number <= self.rounds:
            names, before = list(alternatives), machine()
            found = {}
            for name in names if number % 2 else reversed(names):
                found[name] = await alternatives[name]()
            stolen = _share(before, machine())
            told = ", ".join(f"{name} {_short(found[name].rate)}/s" for name in names)
            if number and stolen > MOST_STOLEN and again:
                again, self.disturbed = again - 1, self.disturbed + 1
                print(f"  once more, as the host took {stolen:.0%}: {told}", flush=True)
                continue
            if number:
                self.kept.append(stolen)
                for name in names:
                    samples[name].append(found[name])
                print(f"  round {number}: {told}", flush=True)
            number += 1
        return Runs(samples)

    def row(
        self, work: str, against: str, measured: Measured, aim: tuple[str, float], note: str = ""
    ) -> None:
        """Put a line into the table."""
        self.rows.append(Row(work, against, measured, aim, note))
        print(f"  {work}: {measured}, {aim[0]} {aim[1]:g}", flush=True)

    def cost(self, what: str, sample_costs: dict[str, Measured]) -> None:
        """Put a line into the table of CPU microseconds by part."""
        self.costs.append((what, sample_costs))

    def costs_of(self, what: str, runs: Runs, name: str) -> None:
        """The CPU of one alternative, per piece of work, by part."""

        def of(part: str) -> Measured:
            return runs.of(name, lambda sample: sample.cost(part))

        self.cost(what, {part: of(part) for part in runs.samples[name][0].cpu})


def _share(before: tuple[int, int], after: tuple[int, int]) -> float:
    """What was stolen between two looks, of all time."""
    return (after[0] - before[0]) / max(1, after[1] - before[1])


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
