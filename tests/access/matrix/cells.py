"""Every cell of the matrix asked for: which door it came to, and what stood on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import grpc
from google.rpc import status_pb2
from grpc_status import rpc_status

from chassis.reasons import reason_of
from gateway.contract import Contract, Method
from tests.access.matrix import asked
from tests.access.matrix.company import Fellows
from tests.access.matrix.table import HANDS, PASSED, REACH, Row, expected, rows

AT_ONCE = 24
RENEW_SECONDS = 60.0
# What was sent was found wrong, not who sent it: the door was passed.
WRONG_SECRET = frozenset(
    {"SIGN_IN_REFUSED", "SESSION_ENDED", "CHALLENGE_ENDED", "CODE_REFUSED", "SIGN_IN_THROTTLED"}
)
NOBODY = "UNAUTHENTICATED"


@dataclass(frozen=True)
class Cell:
    """One question: this method, asked by this column, about a record in these hands ("": about none)."""

    method: Method
    column: str
    hands: str
    letter: str

    @property
    def expected(self) -> frozenset[str]:
        """PASSED, or the codes that may refuse it."""
        if self.column == "any":
            return frozenset({"PASSED" if self.letter == "+" else NOBODY})
        if self.hands and asked.hands_over(self.method):
            reached = self.letter != "-" and self.hands in REACH[self.letter]
            return frozenset({"PASSED" if reached else "PERMISSION_DENIED"})
        return expected(self.letter, self.hands, self.method.name)

    def __str__(self) -> str:
        return f"{long(self.method)} {self.column} {self.hands}".strip()


@dataclass(frozen=True)
class Answer:
    """What a call came to: PASSED or a code, and the whole refusal, its record's name made unknowable."""

    door: str
    status: status_pb2.Status = field(default_factory=status_pb2.Status)


def short(method: Method) -> str:
    """CustomerService.GetCustomer."""
    return f"{method.service.rpartition('.')[2]}.{method.name}"


def long(method: Method) -> str:
    """customer.EventsService.WatchEvents: where several services have it."""
    return f"{method.home}.{short(method)}"


@cache
def table() -> Mapping[str, Row]:
    """The rows by the methods' full names; one that names no single method stands under its own word."""
    found, methods = {}, Contract.load().methods
    for row in rows():
        named = [method for method in methods if row.method in (short(method), long(method))]
        found[named[0].full_name if len(named) == 1 else row.method] = row
    return found


def cells(method: Method, row: Row, fellows: Fellows) -> Iterator[Cell]:
    """The cells of one method: its row of callers, each with the hands in which a record may be."""
    _, collection = asked.about(method)
    for column, letter in row.letters.items():
        standing = fellows.callers[column]
        if collection:  # one that nobody here has a record of is a mistake of the world, not of the table
            there = [hands for hands in HANDS if collection in standing.sets.get(hands, {})]
        elif asked.hands_over(method):
            there = [hands for hands in ("own", "team", "subtree", "other") if hands in standing.people]
        else:
            there = [""]
        if not there:
            raise LookupError(f"the company has no {collection}: give everybody one, or name it in NONE")
        for hands in there:
            yield Cell(method, column, hands, letter)


class Asking:
    """Asks cells, as the gateway would pass the calls on."""

    def __init__(self, fellows: Fellows) -> None:
        self.fellows = fellows
        self._tokens: dict[str, tuple[float, str]] = {}
        own = fellows.sets["me"]
        self._given = {word: own[collection] for word, collection in asked.COLLECTIONS.items()}
        self._given |= {"pipeline": fellows.pipeline, "owner": "users/x"}

    def token(self, column: str) -> str:
        """A principal token that is good for a while yet."""
        born, token = self._tokens.get(column, (0.0, ""))
        if not token or time.monotonic() - born > RENEW_SECONDS:
            token = self.fellows.token(column)
            self._tokens[column] = time.monotonic(), token
        return token

    def request(self, cell: Cell) -> tuple[Any, str]:
        """What is sent, and the name of the record it is about."""
        standing = self.fellows.callers[cell.column]
        _, collection = asked.about(cell.method)
        name = standing.sets[cell.hands][collection] if collection else ""
        made = asked.request(cell.method, name, self._given)
        if cell.hands and not collection:
            record = getattr(made, asked.resource(cell.method))
            record.owner, record.team = standing.people[cell.hands]
            if asked.writable(record, "customer"):
                record.customer = self._given["customer"]
            if asked.writable(record, "collaborators"):
                record.collaborators.append(standing.people["own"][0])  # helping with it opens no door
        if "until_now" in cell.method.input.fields_by_name:
            made.until_now = True
        return made, name

    async def one(self, cell: Cell) -> Answer:
        """Ask one."""
        request, name = self.request(cell)
        service = self.fellows.services[cell.method.home]
        return await answer_of(service.method(cell.method.name, self.token(cell.column))(request), name)

    async def all(self, questions: Iterable[Cell]) -> list[tuple[Cell, Answer]]:
        """Ask all of them, many under way at once."""
        waiting, answered = iter(questions), list[tuple[Cell, Answer]]()

        async def work() -> None:
            for cell in waiting:
                answered.append((cell, await self.one(cell)))

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
        return answered


async def answer_of(call: Any, *names: str) -> Answer:
    """What became of a call; *names* are blotted out of its refusal."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                break
        else:
            await call
        return Answer("PASSED")
    except grpc.aio.AioRpcError as no:
        code, reason = no.code().name, reason_of(no)[0]
        whole = rpc_status.from_call(no) or status_pb2.Status(message=no.details() or "")
        for name in names:
            blot(whole, name)
        return Answer("PASSED" if code in PASSED or reason in WRONG_SECRET else code, whole)


def blot(status: status_pb2.Status, name: str) -> None:
    """Leave a name out of a refusal: what is left must not depend on whose it is."""
    if name:
        data = status.SerializeToString()
        id = name.rpartition("/")[2].encode()
        status.ParseFromString(data.replace(id, b"*" * len(id)))
