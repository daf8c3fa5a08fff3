"""Descriptor-made and raw-byte requests to every method, by the services' own ports and through the edge."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.contract import SERVICE, Method
from tests.fuzz.journal import Case, Journal
from tests.fuzz.messages import KINDS, Maker
from tests.fuzz.oracle import Oracle
from tests.fuzz.target import CANARY, Target

AT_ONCE = 8
# Of so many cases one goes through the gateway, which adds its own checks and nothing else.
EDGE_SHARE = 4


class Defects(logging.Handler):
    """Every error that the product logs while it is attacked: there must be none."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it with its traceback."""
        self.seen.append(logging.Formatter().format(record)[-3000:])


def cases(target: Target, seed: int, count: int, only: str = "") -> Iterator[tuple[Case, Method]]:
    """*count* cases for each method in turn, each from its own seed."""
    methods = [m for m in target.contract.methods if only in m.full_name]
    for number in range(count):
        for method in methods:
            rng = random.Random(f"{seed}/{method.full_name}/{number}")
            kind = KINDS[number % len(KINDS)]
            inside = method.permission == SERVICE or rng.randrange(EDGE_SHARE)
            request = Maker(rng, target.names).request(method, kind)
            yield Case("service" if inside else "edge", method.full_name, number, kind, request), method


async def send(target: Target, oracle: Oracle, journal: Journal, case: Case, method: Method) -> None:
    """Ask one case and judge the answer."""
    token = target.token
    answer = await target.ask(case.door, method, case.request)
    if answer.code == "UNAUTHENTICATED" and case.door == "edge":
        await target.sign_in(token)  # the case before has ended every session, as it asked to
        answer = await target.ask(case.door, method, case.request)
    trusted = method.permission == SERVICE
    journal.saw(case, answer, oracle.of_grpc(case.request, answer, trusted))


async def run(target: Target, journal: Journal, seed: int, count: int, only: str = "") -> None:
    """Send all cases, some at once."""
    oracle = Oracle(target.contract, canaries=(CANARY.encode(),))
    journal.names = dict(target.names)
    places = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case, method: Method) -> None:
        try:
            await send(target, oracle, journal, case, method)
        finally:
            places.release()

    with watched(journal):
        async with asyncio.TaskGroup() as group:
            for done, (case, method) in enumerate(cases(target, seed, count, only)):
                await places.acquire()
                group.create_task(one(case, method))
                if done % 500 == 499:
                    journal.progress("gRPC")


@contextmanager
def watched(journal: Journal) -> Iterator[None]:
    """Whatever error the product logs meanwhile is a failure of the run."""
    defects = Defects()
    logging.getLogger().addHandler(defects)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(defects)
        for said in defects.seen[:20]:
            journal.fault(f"an error was logged: {said}")


async def aftermath(target: Target, journal: Journal) -> None:
    """Every event arrives; then the laws hold, and the organization beside is as it was."""
    journal.progress("events")
    with watched(journal):
        await target.rest()
    for law in await target.broken_laws():
        journal.fault(f"a law is broken: {law}")
    after = await target.snapshot()
    for method, before in target.before.items():
        if after[method] != before:
            journal.fault(f"{method} of another organization answers differently")
