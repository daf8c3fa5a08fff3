"""What an operator relies on: two releases side by side on one schema, and the way back to a backup."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator

import pytest

from tests.chaos.drill import Drill
from tests.chaos.versions import rehearse
from tests.installation import Installation, installed

SEED = int(os.environ.get("CHAOS_SEED", "1"))
SLOW = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """One installation for all of these, in the order of their writing."""
    with installed("--empty") as found:
        yield found


@SLOW
@pytest.mark.req("OPS-06")
def test_both_versions_serve_orders_and_the_whole_thread_on_the_migrated_schema(
    installation: Installation,
) -> None:
    said: list[str] = []
    assert rehearse(installation, SEED, orders=6, say=said.append) == [], "\n".join(said)


@SLOW
@pytest.mark.req("OPS-05")
def test_one_service_goes_back_while_the_others_run_and_nobody_contradicts_anybody(
    installation: Installation,
) -> None:
    drill = Drill(SEED, orders=40)
    asyncio.run(drill.on(installation, ["inventory"]))
    assert drill.findings == []
    report = drill.reports["inventory"]
    for said in ("RELEASED", "PUT_AWAY", "facts since the backup are gone", "0 broken"):
        assert said in report, report


@SLOW
@pytest.mark.req("OPS-05")
def test_what_is_damaged_or_newer_is_refused_and_everything_goes_back(installation: Installation) -> None:
    backup = installation.home / "backup"
    running = installation.tradewind("restore", str(backup))
    assert (running.returncode, "`tradewind down` first" in running.stderr) == (1, True)
    installation.down()
    manifest = backup / "manifest.json"
    whole = manifest.read_text()
    said = json.loads(whole)
    said["databases"]["contract"]["revision"] = "9999"
    manifest.write_text(json.dumps(said))
    newer = installation.tradewind("restore", str(backup))
    assert (newer.returncode, "is of schema 9999" in newer.stderr) == (1, True), newer.stderr
    manifest.write_text(whole)
    dump = backup / "contract.dump"
    content = dump.read_bytes()
    dump.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    damaged = installation.tradewind("restore", str(backup))
    assert (damaged.returncode, "is damaged" in damaged.stderr) == (1, True), damaged.stderr
    dump.write_bytes(content)
    done = installation.tradewind("restore", str(backup))
    assert done.returncode == 0, done.stdout + done.stderr + installation.logs()
    assert "0 broken" in done.stdout
    assert backup.stat().st_mode & 0o077 == 0
    assert {path.stat().st_mode & 0o077 for path in backup.iterdir()} == {0}
