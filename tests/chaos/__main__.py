"""`python -m tests.chaos`: a run of one seed; exit code 1 and the command that replays it on a finding."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.chaos import controls
from tests.chaos.faults import KINDS, SCENARIOS
from tests.chaos.long import Long
from tests.chaos.rig import SHORT, run


def parser() -> argparse.ArgumentParser:
    """What can be asked for."""
    top = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    top.add_argument("--seed", type=int, default=1, help="of all that is drawn: faults, orders, decisions")
    top.add_argument("--seconds", type=float, help="how long the platform is hurt: 90; --long: 300 by seed")
    top.add_argument(
        "--orders", type=int, default=0, help="stop after so many; 0: as many as the time allows"
    )
    top.add_argument("--faults", default=",".join(SHORT), help=f"which, of {','.join(KINDS)}; none: empty")
    top.add_argument("--scenario", choices=SCENARIOS, default="", help="instead of drawn faults")
    top.add_argument("--pause", type=float, default=1.3, help="seconds between two faults, on average")
    top.add_argument("--clients", type=int, default=24, help="how many tell stories at once")
    top.add_argument("--long", action="store_true", help="seed after seed, until enough has happened")
    top.add_argument("--state", type=Path, default=Path(".chaos.json"), help="where --long remembers")
    top.add_argument("--planted", nargs="?", const="", metavar="NAME",
                     help="instead: plant bugs whose name has this, and let the rigs find them")  # fmt: skip
    return top


def main() -> int:
    """Run; 0 when everything holds."""
    asked = parser().parse_args()
    if asked.planted is not None:
        return controls.main(["--seed", str(asked.seed), "--planted", asked.planted])
    wanted = {
        "seconds": asked.seconds or (300.0 if asked.long else 90.0),
        "orders": asked.orders,
        "faults": tuple(filter(None, asked.faults.split(","))),
        "scenario": asked.scenario,
        "pause": asked.pause,
        "clients": asked.clients,
    }
    if asked.long:
        try:
            return Long(asked.state).go_on(asked.seed, _say, **wanted)
        except KeyboardInterrupt:
            _say("Interrupted: the same command goes on, with the seed that was under way.")
            return 130
    verdict = run(asked.seed, say=_say, **wanted)
    print(verdict)
    return 0 if verdict.ok else 1


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
