"""Compiles the contract in proto/ into gen/ when the distribution is built or installed in place."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompileProtos(BuildHookInterface):
    """Runs the same compiler as `tradewind protos`, before anything is packed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile unless gen/ is already the image of this proto/."""
        path = Path(self.root) / "stack" / "protos.py"
        spec = importlib.util.spec_from_file_location("tradewind_protos", path)
        assert spec and spec.loader
        protos = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(protos)
        root = Path(self.root)
        protos.compile_all(root)
        if self.target_name == "wheel" and version == "standard":
            # Only a real wheel carries a copy; in place, gen/ itself is on the path.
            for package in ("tradewind", "buf"):
                build_data["force_include"][str(root / "gen" / package)] = package
