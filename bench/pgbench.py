"""pgbench, PostgreSQL's own load generator in C: what a client can hardly do better."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from bench.cpu import since
from bench.harness import Sample
from bench.rig import Rig

CLIENTS = 16


async def run(
    rig: Rig, url: str, scripts: Sequence[str], *, seconds: float, clients: int = CLIENTS, threads: int = 2,
    variables: Mapping[str, str] | None = None,
) -> Sample:  # fmt: skip
    """Transactions of these scripts, chosen at random, on prepared statements; variables are parameters."""
    said = [part for name, value in (variables or {}).items() for part in ("-D", f"{name}={value}")]
    return await asyncio.to_thread(_run, rig, url, scripts, max(2, round(seconds)), clients, threads, said)


def _run(
    rig: Rig, url: str, scripts: Sequence[str], seconds: int, clients: int, threads: int, said: list[str]
) -> Sample:
    with tempfile.TemporaryDirectory() as folder:
        command = [str(rig.tools / "pgbench"), "-n", "-M", "prepared", "-c", str(clients), "-j", str(threads),
                   "-T", str(seconds), "-D", "n=0", "-D", f"base={time.time_ns() // 1_000_000}",
                   *said]  # fmt: skip
        for number, script in enumerate(scripts):
            path = Path(folder, f"{number}.sql")
            path.write_text(script, "utf-8")
            command += ["-f", str(path)]
        before = rig.cpu()
        process = subprocess.Popen(
            [*command, url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        spent = since(before, rig.cpu())
    count = re.search(r"actually processed: (\d+)", said)
    rate = re.search(r"tps = ([\d.]+)", said)
    if process.returncode or not count or not rate or "number of failed transactions: 0 " not in said:
        raise RuntimeError(f"pgbench failed:\n{said[-2000:]}")
    done = int(count[1])
    return Sample(done, done / float(rate[1]), {"pgbench": used.ru_utime + used.ru_stime, **spent})


def literal(value: Any) -> str:
    """A value as SQL text, without the colon that pgbench would take for a variable."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (bytes, memoryview)):
        return f"'\\x{bytes(value).hex()}'::bytea"
    if isinstance(value, (datetime, date)):
        value = value.isoformat()
    if isinstance(value, list):
        return "ARRAY[" + ", ".join(map(literal, value)) + "]"
    text = str(value).replace("\\", "\\\\").replace("'", "''").replace(":", "\\072")
    return f"E'{text}'"


def told(value: Any) -> str:
    """A value as the text of a parameter."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (bytes, memoryview)):
        return f"\\x{bytes(value).hex()}"
    return value.isoformat() if isinstance(value, (datetime, date)) else str(value)


def filled(statement: str, params: Sequence[Any]) -> str:
    """A statement of ours, with %s, as pgbench takes it: the parameters stand in it, on one line."""
    parts = statement.split("%s")
    cells = [param.text if isinstance(param, Raw) else literal(param) for param in params]
    made = "".join(part + cell for part, cell in zip(parts, [*cells, ""], strict=True))
    return " ".join(made.split("\n")).replace("%%", "%")


class Raw:
    """SQL text in the place of a parameter."""

    def __init__(self, text: str) -> None:
        self.text = text
