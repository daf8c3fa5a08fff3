"""What the processes log: where to, each defect once, and nothing that a line could be made to say."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chassis import listing, telemetry
from stack import layout
from tests.access.conftest import Company
from tests.access.doors import Doors

ROOT = Path(__file__).parents[2]
HOSTILE = [
    '\n{"level": "error", "message": "forged"}', "\r\n", "\x1b[2J\x1b]0;owned\x07", "\x9b31m", "\x7f\x08\x08",
    "\u2028\u2029\x85", "\u202egnp.exe", '"}, {"', "\\", "\ud800", "%n%s%(levelname)s", "${jndi:ldap://x}",
]  # fmt: skip


def line_of(record: logging.LogRecord) -> str:
    """As a process writes it."""
    return telemetry.JsonFormatter("gateway").format(record)


@pytest.mark.parametrize("said", HOSTILE)
def test_nothing_that_is_said_ends_a_line_or_moves_a_terminal(said: str) -> None:
    try:
        raise ValueError(said)
    except ValueError:
        problem = sys.exc_info()
    record = logging.LogRecord("x", logging.INFO, "", 0, "it said %s", (said,), problem)
    record.facts = {"path": said}
    line = line_of(record)
    assert line.isprintable() and line.encode("utf-8")
    found = json.loads(line)
    assert (found["message"], found["path"], found["level"]) == (f"it said {said}", said, "info")
    assert said in found["problem"]


async def test_a_caller_writes_no_line_of_their_own(
    doors: Doors, company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asked = "/v1/customers%0A%7B%22level%22:%22error%22%7D%1B%5B2J%E2%80%A8?filter=%0A%22forged"
    headers = {
        "User-Agent": "forged {level: error}",
        "X-Forwarded-For": "forged",
        "traceparent": "00-forged-forged-00",
    }
    assert (await doors.ask("GET", asked, "forged", **headers))[0] in (400, 401, 404)
    others = ("http", "uvicorn.access")  # the client, and servers of other tests
    ours = [record for record in caplog.records if not record.name.startswith(others)]
    lines = [line_of(record) for record in ours]
    assert lines and all(line.isprintable() and isinstance(json.loads(line), dict) for line in lines)
    assert any(record.name == "gateway.access" for record in ours)
    assert not any("forged" in json.loads(line)["message"] for line in lines)


async def test_an_unexpected_error_is_logged_once_with_its_trace(
    doors: Doors, company: Company, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    boss = await company.administrator()

    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the inside")

    monkeypatch.setattr(listing, "page", broken)
    with caplog.at_level(logging.WARNING):
        status, said = await doors.ask("GET", "/v1/customers", boss.sign_in.access_token)
    assert (status, said["reason"]) == (500, "INTERNAL") and "inside" not in str(said)
    defects = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(defects) == 1 and defects[0].exc_info
    line = json.loads(line_of(defects[0]))
    assert "ZeroDivisionError: the inside" in line["problem"]
    assert line["trace_id"] == said["facts"]["trace"]


def test_a_process_logs_to_standard_error_alone_in_utc() -> None:
    tried = (
        "import logging\nfrom chassis import telemetry\ntelemetry.start_logging('gateway', 'INFO')\n"
        "assert [type(h) for h in logging.getLogger().handlers] == [logging.StreamHandler]\n"
        "made = logging.LogRecord('x', 20, '', 0, 'said', (), None)\n"
        "made.created, made.msecs = 86400.25, 250.0\n"
        "logging.getLogger().handle(made)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", tried], env=os.environ | {"TZ": "Asia/Shanghai"}, capture_output=True,
        text=True, timeout=60, check=True,
    )  # fmt: skip
    assert not done.stdout
    assert json.loads(done.stderr)["time"] == "1970-01-02T00:00:00.250Z"


def test_nothing_else_takes_lines_and_the_inventory_has_every_place() -> None:
    elsewhere = re.compile(r"\b(\w*(File|Socket|HTTP|SysLog|SMTP)Handler|addHandler)\b")
    takers = {
        str(path.relative_to(ROOT)) for folder in ("chassis", "gateway", "services")
        for path in (ROOT / folder).rglob("*.py") if elsewhere.search(path.read_text("utf-8"))
    }  # fmt: skip
    assert takers == set()
    page = (ROOT / "docs/operations.md").read_text("utf-8")
    table = page[page.index("## What is logged") :].split("\n## ")[0]
    for name in (*layout.PROCESSES, "supervisor.log", "postgres.log", "nats.log", "audit trail", "OTLP"):
        assert name in table, name
