"""Generated pages are true, and every document's links and commands lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stack import docs

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "services").glob("*/*.md")]


@pytest.mark.parametrize("name", ["api.md", "events.md", "reasons.md", "permissions.md", "settings.md"])
def test_a_generated_page_is_what_the_contract_says(name: str) -> None:
    assert (ROOT / "docs" / name).read_text("utf-8") == docs.pages()[name], f"docs/{name} is stale: make docs"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_that_are_there(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_every_module_of_the_chassis_stands_in_its_readme() -> None:
    rows = [
        line for line in (ROOT / "chassis/README.md").read_text("utf-8").splitlines() if line[:3] == "| `"
    ]
    told = {word.rstrip("/").rpartition("/")[2] for row in rows for word in re.findall(r"`([a-z_/]+)`", row)}
    modules = [path for path in (ROOT / "chassis").rglob("*.py") if "kernel" not in path.parts]
    assert {path.stem for path in modules} - told - {"__init__"} == set()
