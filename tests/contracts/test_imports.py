"""The architecture checks itself: imports only go down, services never meet, domain code is pure."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = sorted(path.name for path in (ROOT / "services").iterdir() if (path / "service.py").exists())
PURE = [*(ROOT / "chassis" / "kernel").glob("*.py"), *(ROOT / "gateway" / "domain").glob("*.py"),
        *(ROOT / "services").glob("*/domain/*.py")]  # fmt: skip
# Where time, chance or the machine could creep in: they come as arguments instead.
IMPURE = {
    "time",
    "random",
    "os",
    "uuid",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "asyncio",
    "pathlib",
}
FILES = {"__init__.py", "__main__.py", "service.py", "store.py", "reactions.py", "repairs.py", "jobs.py",
         "sagas.py", "laws.py", "seed.py", "README.md"}  # fmt: skip


@pytest.mark.req("OPS-07")
def test_imports_only_go_down() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(ROOT)))
def test_domain_code_takes_time_ids_and_chance_as_arguments(path: Path) -> None:
    allowed = ("chassis.kernel", "gateway.domain", "services.")
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            root = name.partition(".")[0]
            assert root not in IMPURE, f"{path.name} imports {name}"
            ours = root in ("chassis", "gateway", "services", "stack", "tradewind")
            assert not ours or name.startswith(allowed), f"{path.name} imports {name}"
            assert ours or root in sys.stdlib_module_names, f"{path.name} imports {name}"


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_same_files(service: str) -> None:
    folder = ROOT / "services" / service
    names = {path.name for path in folder.iterdir() if path.is_file()}
    assert names <= FILES, f"{service} has files of other names: {names - FILES}"
    assert names >= {"__init__.py", "__main__.py", "service.py", "store.py", "README.md"}
    folders = {path.name for path in folder.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == {"domain", "rpc", "migrations"}


@pytest.mark.parametrize("service", SERVICES)
def test_one_noun_has_one_file_name(service: str) -> None:
    nouns = {path.stem for path in (ROOT / "proto" / "tradewind" / service / "v1").glob("*.proto")}
    for path in (ROOT / "services" / service / "rpc").glob("*.py"):
        if re.search(r'^    service = "tradewind\.', path.read_text("utf-8"), re.MULTILINE):
            assert path.stem in nouns, f"{path.name} serves a noun that has no proto of that name"
