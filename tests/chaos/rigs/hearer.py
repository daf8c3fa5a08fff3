"""A listening service as a process: `python -m tests.chaos.rigs.hearer`, several of them on one database."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path

from chassis.bus import Bus
from chassis.clients import Clients
from chassis.database import Database
from chassis.events import Consumer
from chassis.identity import Signer
from chassis.service import run
from tests.chaos.planted import code
from tests.chaos.rigs.facts import Heard
from tests.chassis.notes import NoteStore

READY = "hears"


async def _hear() -> None:
    store = NoteStore(Database(os.environ["DATABASE_URL"], 8))
    signer = Signer.load(Path(os.environ["TRADEWIND_KEYS"]), "inventory")
    clients = Clients("inventory", signer, {"inventory": os.environ["TRADEWIND_ADDRESS_INVENTORY"]})
    bus = Bus(os.environ["NATS_URL"])
    await bus.connect()
    print(READY, flush=True)
    await Consumer("listener", store, Heard(0.01), clients).run(bus)  # type: ignore[arg-type]


def main(planted: str = "") -> None:
    """Hear until the process is ended, with the bug of that name where one is named."""
    logging.basicConfig(level=logging.WARNING)
    patch = getattr(code, planted)() if planted else contextlib.nullcontext()
    with patch, contextlib.suppress(asyncio.CancelledError):
        run(_hear())


if __name__ == "__main__":
    main(*sys.argv[1:])
