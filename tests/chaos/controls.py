"""`python -m tests.chaos.controls`: the focused rigs at length, or planted bugs and the rigs for them."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

from tests import servers
from tests.chaos.planted.bugs import BUGS, Bug
from tests.chaos.rigs.bench import LONG, SHORT, Rigs, rigs

SEEDS = 3  # within so many a planted bug has to be found


def parser() -> argparse.ArgumentParser:
    """What can be asked for."""
    top = argparse.ArgumentParser(prog="python -m tests.chaos.controls", description=__doc__)
    top.add_argument("--seed", type=int, default=1, help="of everything that is drawn")
    top.add_argument("--rig", choices=sorted(LONG), action="append", help="only this one; may be repeated")
    top.add_argument("--short", action="store_true", help="as in `make test`")
    top.add_argument("--planted", nargs="?", const="", metavar="NAME", help="plant bugs whose name has this")
    return top


async def _at_length(found: Rigs, asked: argparse.Namespace) -> int:
    broken = 0
    for rig in asked.rig or sorted(LONG):
        sizes = (SHORT if asked.short else LONG)[rig]
        print(f"{rig}: {sizes} …", flush=True)
        began = time.monotonic()
        verdict = await found.run(rig, asked.seed, **sizes)
        print(f"{verdict}\n  {time.monotonic() - began:.0f} s", flush=True)
        if verdict.findings:
            broken += 1
            short = " --short" if asked.short else ""
            print(
                f"  replay: python -m tests.chaos.controls --rig {rig} --seed {asked.seed}{short}", flush=True
            )
    return broken


async def _planted(found: Rigs, bug: Bug, first: int) -> bool:
    """Whether it is found within three seeds, and its rig finds nothing in the same ones without it."""
    for seed in range(first, first + SEEDS):
        clean = await bug.look(found, seed, planted=False)
        print(f"without it: {clean}", flush=True)
        verdict = await bug.look(found, seed, planted=True)
        print(f"{bug.name}: {verdict}", flush=True)
        if clean.findings:
            return False
        if verdict.findings:
            return True
    return False


async def _run(asked: argparse.Namespace, found_servers: servers.Servers) -> int:
    with tempfile.TemporaryDirectory(prefix="tradewind-rigs-") as home:
        async with rigs(found_servers, Path(home)) as found:
            if asked.planted is None:
                return await _at_length(found, asked)
            wanted = [bug for bug in BUGS if asked.planted in bug.name]
            missed = [bug.name for bug in wanted if not await _planted(found, bug, asked.seed)]
            print(f"{len(wanted) - len(missed)} of {len(wanted)} planted bugs found.", *missed, sep="\n  ")
            return len(missed)


def main(arguments: list[str] | None = None) -> int:
    """Run; 0 when everything holds, or when every planted bug is found."""
    asked = parser().parse_args(arguments)
    logging.getLogger().addHandler(logging.NullHandler())  # what is cut off complains, as it should
    with servers.running() as found:
        return 1 if asyncio.run(_run(asked, found)) else 0


if __name__ == "__main__":
    sys.exit(main())
