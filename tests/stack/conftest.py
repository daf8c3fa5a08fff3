"""Fixtures of the stack's own tests: a folder that an unprivileged PostgreSQL may enter."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty TRADEWIND_HOME."""
    folder = Path(tempfile.mkdtemp(prefix="tradewind-home-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
