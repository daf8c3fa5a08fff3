"""The HTTP door under attack: requests made from the contract, and bytes whose framing could be misread."""

from __future__ import annotations

import asyncio
import random
import re
import time
from urllib.parse import urlsplit

from gateway.contract import SERVICE
from tests.fuzz.calls import AT_ONCE, watched
from tests.fuzz.journal import Case, Journal
from tests.fuzz.messages import Maker
from tests.fuzz.oracle import Answer, Oracle
from tests.fuzz.requests import KINDS, HttpMaker, framings
from tests.fuzz.target import CANARY, Target

SILENT = 30.0  # longer than any bound on a slow client


async def exchange(url: str, request: bytes, hang_up: bool = False) -> list[Answer]:
    """Send bytes, read answers until the server closes; every answer that came, none for a bare close."""
    parts = urlsplit(url)
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**22)
    try:
        writer.write(request)
        if hang_up:
            writer.write_eof()
        said = await asyncio.wait_for(reader.read(2**22), SILENT)
        while more := await asyncio.wait_for(reader.read(2**22), SILENT):
            said += more
    except ConnectionError:
        said = b""
    finally:
        writer.close()
    return answers(said, time.perf_counter() - started, bodiless=request.startswith(b"HEAD "))


def answers(said: bytes, seconds: float, bodiless: bool = False) -> list[Answer]:
    """What a server wrote, split into its answers."""
    found = []
    while said:
        head, _, rest = said.partition(b"\r\n\r\n")
        status = re.match(rb"HTTP/1\.1 (\d{3})", head)
        if not status:
            return [*found, Answer("599", said)]
        if status[1] == b"100":
            said = rest
            continue
        fields = {name.strip().lower(): value.strip() for name, _, value in
                  (line.partition(b":") for line in head.split(b"\r\n")[1:])}  # fmt: skip
        length = int(fields.get(b"content-length", b"0")) if b"transfer-encoding" not in fields else len(rest)
        kind = fields.get(b"content-type", b"").decode()
        length = 0 if bodiless else length
        found.append(Answer(status[1].decode(), rest[:length], None, "", seconds, kind))
        said = rest[length:]
    return found


async def run(target: Target, journal: Journal, seed: int, count: int, only: str = "") -> None:
    """*count* requests to each method over HTTP, then every odd framing."""
    oracle, maker = Oracle(target.contract, canaries=(CANARY.encode(),)), HttpMaker(target.contract)
    host = urlsplit(target.http).netloc
    journal.names = dict(target.names)
    places = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> None:
        async with places:
            found = await exchange(target.http, case.request)
            if found and found[0].code == "401":
                await target.sign_in_after(case.request)
            answer = found[0] if len(found) == 1 else Answer("599", repr(found).encode())
            journal.saw(case, answer, oracle.of_http(case.request, answer))

    with watched(journal):
        for number in range(count):
            batch = []
            for method in target.contract.methods:
                if method.permission == SERVICE or method.streams or only not in method.full_name:
                    continue
                rng = random.Random(f"{seed}/http/{method.full_name}/{number}")
                kind = KINDS[number % len(KINDS)]
                request = maker.request(Maker(rng, target.names), method, kind, target.token, host)
                batch.append(one(Case("http", method.full_name, number, kind, request)))
            await asyncio.gather(*batch)
            journal.progress("HTTP")
        if not only:
            await odd(target, journal, oracle, host)


async def odd(target: Target, journal: Journal, oracle: Oracle, host: str) -> None:
    """No framing may be read in two ways: at most one answer, never one to what was smuggled in."""
    for number, (name, request) in enumerate(framings(host, target.token)):
        case = Case("http", f"framing: {name}", number, "framing", request)
        found = await exchange(target.http, request, hang_up=True)
        answer = found[0] if found else Answer("444")
        faults = oracle.of_http(request, answer) if found else []
        if len(found) > 1 and b"smuggled" in request and int(found[0].code) < 400:
            faults.append(f"{len(found)} answers: the second request was smuggled in")
        journal.saw(case, answer, faults)
