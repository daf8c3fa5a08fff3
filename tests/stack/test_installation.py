"""An installation as its owner lives with it: started, hurt, ended, started again, thrown away."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
import psycopg
import pytest

from stack import files, layout, people
from stack.api import Api
from stack.postgres import Postgres
from stack.running import runner
from tests.deploy import promql
from tests.installation import Installation, installed
from tests.servers import Servers

PATIENCE = 120.0


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with installed("--empty") as found:
        yield found


def until(true: Callable[[], bool]) -> None:
    """Wait for something that comes by itself."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def superuser(installation: Installation, database: str) -> str:
    """A way into a database that no row-level security stands before."""
    cluster = Postgres(installation.home)
    cluster.port = files.held(installation.home, "postgres")
    return cluster.url(database)


async def teams(api: Api) -> set[str]:
    return {team["displayName"] for team in await api.all("/v1/teams", "teams")}


async def test_it_runs_and_says_where_and_who(installation: Installation):
    assert set(installation.state()) == {"postgres", "nats", *layout.PROCESSES}
    said = installation.tradewind("status")
    assert said.returncode == 0
    assert installation.http in said.stdout
    listed = installation.home / people.SIGN_INS
    assert stat.S_IMODE(listed.stat().st_mode) == 0o600
    person = installation.sign_in()
    assert set(person) == {"organization", "role", "email", "password"}
    api = await installation.api()
    assert (await api.get("/v1/me"))["user"]["email"] == person["email"]
    await api.post("/v1/teams", {"displayName": "Kept"})
    await api.close()


@pytest.mark.req("OPS-13")
async def test_rules_and_dashboards_speak_of_what_the_processes_export(installation: Installation):
    """Once something was asked at both doors and facts have gone round, every metric and label is there."""
    api = await installation.api()
    with grpc.insecure_channel(installation.grpc) as door, pytest.raises(grpc.RpcError):
        door.unary_unary("/tradewind.customer.v1.LeadService/ListLeads")(b"", timeout=10)
    await api.close()

    def pages() -> dict[str, promql.Exported]:
        found = {}
        for process in layout.PROCESSES:
            at = f"{files.HERE}:{files.held(installation.home, f'{process}/metrics')}"
            found[process] = promql.exported(httpx.get(f"http://{at}/metrics").text)
        return found

    applied, laws = "tradewind_event_delay_seconds_bucket", "tradewind_law_broken"
    until(lambda: applied in pages()["analytics"] and all(laws in page for page in pages().values()))
    known = promql.recorded() | promql.ENCRYPTED | {"up": set()}
    for page in pages().values():
        for name, labels in page.items():
            known[name] = known.get(name, set()) | labels
    assert [
        (where, said) for where, asked in promql.expressions() for said in promql.wrong(asked, known)
    ] == []
    everywhere = set.intersection(*(set(page) for page in pages().values()))
    assert {
        "process_cpu_seconds_total",
        "tradewind_outbox_position",
        "tradewind_pool_connections",
    } <= everywhere


@pytest.mark.parametrize("name", ["customer", "gateway", "nats", "postgres"])
async def test_a_process_that_is_killed_comes_back_and_nothing_is_lost(installation: Installation, name: str):
    before = installation.state()[name]
    os.kill(before, signal.SIGKILL)
    until(lambda: installation.state()[name] != before)
    api = await installation.api()
    assert "Kept" in await teams(api)
    await api.post("/v1/customers", {"displayName": f"Made after {name} was killed"})
    await api.close()


def test_a_frozen_process_is_not_called_healthy(installation: Installation):
    pid = installation.state()["inventory"]
    os.kill(pid, signal.SIGSTOP)
    try:
        said = installation.tradewind("status")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert said.returncode == 1
    silent = [line.split()[0] for line in said.stdout.splitlines() if "does not answer" in line]
    assert silent == ["inventory"]


def test_the_laws_hold_and_a_broken_one_is_named(installation: Installation):
    said = installation.tradewind("verify")
    assert said.returncode == 0, said.stdout
    assert " 0 broken." in said.stdout
    for service in layout.DATABASES:
        assert service in said.stdout
    with psycopg.connect(superuser(installation, "customer"), autocommit=True) as db:
        db.execute(
            "INSERT INTO parked_events (tenant_id, source, part, pos, record, event, problem)"
            " SELECT id, 'inventory', 0, 7, 'orders/1', '', 'no such customer' FROM tenants"
        )
        said = installation.tradewind("verify")
        db.execute("DELETE FROM parked_events")
    assert said.returncode == 1
    assert "inventory 7 of orders/1: no such customer" in said.stdout
    assert " 1 broken." in said.stdout


async def test_read_models_that_were_hurt_are_counted_again_from_the_first_fact(installation: Installation):
    api = await installation.api()
    await api.post("/v1/customers", {"displayName": "Counted", "industry": "Paper"})

    async def checksum() -> str:
        return str((await api.get("/v1/reports/readModelChecksum"))["checksum"])

    with psycopg.connect(superuser(installation, "analytics"), autocommit=True) as db:

        def counted() -> bool:
            found = db.execute("SELECT count(*) FROM customers WHERE title = 'Counted'").fetchone()
            return found == (1,)

        until(counted)
        before = await checksum()
        db.execute("DELETE FROM customers WHERE title = 'Counted'")
        assert await checksum() != before
        assert installation.tradewind("rebuild", "analytics").returncode == 0
        until(counted)
        deadline = time.monotonic() + PATIENCE
        while await checksum() != before:
            assert time.monotonic() < deadline
    await api.close()


async def test_down_ends_everything_and_a_second_start_finds_everything(installation: Installation):
    pids = installation.state()
    installation.down()
    assert not [name for name, pid in pids.items() if alive(pid)]
    assert installation.tradewind("status").returncode == 3
    installation.up()
    api = await installation.api()
    assert "Kept" in await teams(api)
    await api.close()


def test_a_killed_supervisor_takes_all_along_and_ctrl_c_ends_the_next_cleanly(
    installation: Installation,
):
    left = installation.state()
    os.kill(runner(installation.home), signal.SIGKILL)
    with subprocess.Popen(
        [sys.executable, "-m", "stack", "up"], env=installation.env, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, said + installation.logs()
            said += line
        assert not [name for name, pid in left.items() if alive(pid)]
        pids = installation.state()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert "its data are kept" in rest
    assert not [name for name, pid in pids.items() if alive(pid)]
    log = (installation.home / "logs/postgres.log").read_text()
    assert "database system is shut down" in log.splitlines()[-1]


async def test_fresh_starts_over(installation: Installation):
    before = installation.sign_in()
    installation.tradewind("down")
    installation.up("--fresh", "--empty")
    assert installation.sign_in()["password"] != before["password"]
    api = await installation.api()
    assert "Kept" not in await teams(api)
    await api.close()


async def test_servers_of_your_own_are_used_and_nothing_is_embedded(servers: Servers):
    env = {"NATS_URL": servers.nats_url}
    for process in layout.PROCESSES:
        name = f"own_{layout.database_of(process)}"
        owner, app = servers.database(name)
        suffix = layout.database_of(process).upper()
        env |= {f"DATABASE_OWNER_URL_{suffix}": owner, f"DATABASE_URL_{suffix}": app}
    with installed("--empty", **env) as found:
        assert set(found.state()) == set(layout.PROCESSES)
        assert not (found.home / "postgres").exists() and not (found.home / "nats").exists()
        api = await found.api()
        assert (await api.post("/v1/customers", {"displayName": "Kept elsewhere"}))["name"]
        await api.close()
