"""The long form: `python -m tests.fuzz --seed 7 --cases 200`; says its seed, its counters and a verdict."""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.fuzz import calls, installed, schema, web
from tests.fuzz.journal import Journal, written
from tests.fuzz.oracle import Answer, Oracle
from tests.fuzz.target import CANARY, Target, in_process
from tests.platform import Platform
from tests.servers import Servers, running

KEPT = Path(".tradewind/fuzz")


async def attack(servers: Servers, said: argparse.Namespace, journal: Journal) -> None:
    """Build the target in this process and send everything."""
    with tempfile.TemporaryDirectory(prefix="tradewind-fuzz-") as home:
        platform = Platform(servers, Path(home))
        try:
            async with in_process(platform) as target:
                if said.replay:
                    await replay(target, said.replay, journal)
                else:
                    await everything(target, said, journal)
        finally:
            await platform.exit.aclose()


async def everything(target: Target, said: argparse.Namespace, journal: Journal) -> None:
    """All doors, then what must hold afterwards."""
    if said.door in ("all", "grpc"):
        await calls.run(target, journal, said.seed, said.cases, said.method)
    if said.door in ("all", "http"):
        await web.run(target, journal, said.seed, max(1, said.cases // 3), said.method)
    if said.door in ("all", "schema"):
        await schema.run(target, journal, said.seed, max(1, said.cases // 3), said.method)
    await calls.aftermath(target, journal)


async def replay(target: Target, path: Path, journal: Journal) -> None:
    """Ask a written case again, with the names of the records that are there now in place of those then."""
    case, then = written(path)
    request = case.request
    for collection, names in then.items():
        for old, new in zip(names, target.names.get(collection, ()), strict=False):
            request = request.replace(old.encode(), new.encode())
    case = replace(case, request=request)
    if case.door in ("http", "schema"):
        old_token = re.search(rb"Bearer (\S+)", request)
        if old_token:
            request = request.replace(old_token[1], target.token.encode())
        answer = (await web.exchange(target.http, request, hang_up=True) or [Answer("444")])[0]
        faults = Oracle(target.contract, (CANARY.encode(),)).of_http(request, answer)
        if case.door == "schema":
            faults += (await schema.Description.published(target.http)).faults_of(case, answer)
        journal.saw(case, answer, faults)
        return
    method = next(m for m in target.contract.methods if m.full_name == case.method)
    await calls.send(target, Oracle(target.contract, (CANARY.encode(),)), journal, case, method)


def main() -> None:
    """Run and say the verdict; exits 1 when something does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--cases", type=int, default=100, help="for each method")
    parser.add_argument("--method", default="", help="only methods whose name has this in it")
    parser.add_argument("--door", choices=("all", "grpc", "http", "schema"), default="all")
    parser.add_argument(
        "--installed", action="store_true", help="a whole installation with a demo company, by its two doors"
    )
    parser.add_argument("--replay", type=Path, help="a written case, to be asked again")
    said = parser.parse_args()
    journal = Journal(said.seed, KEPT)
    print(f"seed {said.seed}", file=sys.stderr)
    if said.installed:
        installed.attack(journal, said.seed, lambda target: everything(target, said, journal))
    else:
        with running() as servers:
            asyncio.run(attack(servers, said, journal))
    print(journal.verdict())
    sys.exit(1 if journal.failures else 0)


if __name__ == "__main__":
    main()
