"""`tradewind check`: what can be said about the source tree without running it."""

from __future__ import annotations

import ast
import csv
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from rich.markup import escape

from stack import protos
from stack.terminal import complaints, console, show_columns

ROOT = Path(__file__).resolve().parents[1]


def catalogue() -> dict[str, str]:
    """Every requirement by its id; empty where the catalogue is not at hand."""
    data = Path(os.environ.get("TRADEWIND_DATA", ROOT.parent / "shared/data"))
    path = data.parent / "design/requirements.tsv"
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["id"]: row["requirement"] for row in csv.DictReader(file, delimiter="\t")}


def claims(folder: Path) -> dict[str, list[str]]:
    """Which tests claim which requirement: `@pytest.mark.req("OPP-13")`, read without running them."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        tree = ast.parse(path.read_text("utf-8"), str(path))
        for name, marks in _marked(tree):
            for mark in marks:
                found[mark].append(f"{path.relative_to(folder)}::{name}")
    return dict(found)


def _marked(tree: ast.Module) -> list[tuple[str, list[str]]]:
    everywhere = [
        mark
        for node in tree.body
        if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "pytestmark" for t in node.targets)
        for mark in _requirements(node.value)
    ]
    tests = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")
    ]
    return [
        (test.name, everywhere + [m for d in test.decorator_list for m in _requirements(d)]) for test in tests
    ]


def _requirements(tree: ast.expr) -> list[str]:
    return [
        argument.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "req"
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


def _layers() -> bool:
    """Whether imports only go down: the contracts of pyproject.toml."""
    program = Path(sys.executable).parent / "lint-imports"
    answer = subprocess.run([program], cwd=ROOT, capture_output=True, text=True)
    if answer.returncode:
        complaints.print(answer.stdout + answer.stderr, markup=False)
    return answer.returncode == 0


def _compiled() -> bool:
    stamp = ROOT / "gen" / protos.STAMP
    return stamp.exists() and stamp.read_text() == protos.fingerprint(ROOT)


def main(*, requirements: bool) -> int:
    """Print what holds and what does not; 1 when something does not."""
    known, claimed = catalogue(), claims(ROOT / "tests")
    unknown = sorted(set(claimed) - set(known)) if known else []
    holds = {
        "imports only go down": _layers(),
        "gen/ is the image of proto/": _compiled(),
        f"requirements claimed by tests exist ({len(claimed)} claimed)": not unknown,
    }
    for sentence, true in holds.items():
        console.print(f"{'[green]✓[/]' if true else '[red]✗[/]'} {sentence}")
    for name in unknown:
        complaints.print(f"There is no requirement {name}; claimed by {', '.join(claimed[name])}.")
    if requirements:
        _matrix(known, claimed)
    return 0 if all(holds.values()) else 1


def _matrix(known: dict[str, str], claimed: dict[str, list[str]]) -> None:
    rows = [
        [name, known.get(name, ""), ", ".join(claimed.get(name, [])) or "—"]
        for name in sorted({*known, *claimed})
    ]
    show_columns(["id", "requirement", "claimed by"], [[escape(cell) for cell in row] for row in rows])
    met = len(set(known) & set(claimed))
    console.print(
        f"{met} of {len(known)} requirements are claimed." if known else f"{len(claimed)} are claimed."
    )
