"""The lock holds what pyproject.toml asks for, by hash, and names no host."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked() -> dict[str, set[str]]:
    versions: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", LOCK, re.MULTILINE):
        versions.setdefault(canonicalize_name(name), set()).add(version)
    return versions


def test_the_lock_names_no_host_and_no_folder():
    assert not re.search(r"://|--(?:extra-)?index-url|--find-links|^#.*/", LOCK, re.MULTILINE)


def test_every_requirement_is_locked_at_a_version_it_allows():
    extras = PROJECT["optional-dependencies"]
    asked = [*PROJECT["dependencies"], *extras["dev"], *extras["embedded"]]
    known = locked()
    for requirement in map(Requirement, asked):
        versions = known.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement.name} is not locked; `make lock` does it"
        assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_every_locked_package_has_a_hash():
    blocks = re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
