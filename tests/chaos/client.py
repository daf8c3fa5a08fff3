"""A client that never lets go: each request goes out under one key until it is answered and written down."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import grpc
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from chassis.reasons import reason_of
from stack.api import BUSY, Api, ApiRefused
from tests.journeys.api import METHODS, placed

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
ASK_WITHIN = 20.0  # one attempt; longer than the gateway's own deadline
DEFECTS = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS"})


class GaveUp(Exception):
    """A request had no answer within the client's patience."""


class Told(Exception):
    """A final no: its reason and facts."""

    def __init__(self, reason: str, facts: dict[str, Any]) -> None:
        super().__init__(f"{reason} {facts}")
        self.reason, self.facts = reason, facts


@dataclass(frozen=True)
class Entry:
    """What one request with effects was answered."""

    organization: str
    key: str
    method: str
    request: dict[str, Any]
    answer: dict[str, Any]  # {} when it was refused
    refused: str  # the reason, or ""
    attempts: int
    at: float  # seconds since the run began


@dataclass
class Journal:
    """Everything that was acknowledged, in memory for the audit and in a file for whoever looks later."""

    path: Path
    began: float = field(default_factory=time.monotonic)
    entries: list[Entry] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)  # keys that went out, answered or not
    unanswered: list[str] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)  # answers that speak of a defect, with the method
    counts: Counter[str] = field(default_factory=Counter)
    _file: IO[str] | None = None

    def keep(self, entry: Entry) -> None:
        """Note an answer; it is on disk before the client goes on."""
        self._file = self._file or self.path.open("a", encoding="utf-8")
        self.entries.append(entry)
        self.counts["refused" if entry.refused else "acknowledged"] += 1
        self.counts["attempts"] += entry.attempts
        self._file.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()

    def of(self, method: str) -> list[Entry]:
        """The acknowledged requests of a method."""
        return [entry for entry in self.entries if entry.method == method and not entry.refused]


class Client:
    """One organization's administrator, over HTTP and over gRPC."""

    def __init__(self, organization: str, http: str, edge: str, journal: Journal, patience: float) -> None:
        self.organization, self.journal, self.patience = organization, journal, patience
        self.api = OneTry(http, connections=64)
        self.channel = grpc.aio.insecure_channel(edge)

    async def sign_in(self, email: str, password: str) -> Client:
        """Become that person, however long it takes."""
        self.api.become(email, password)
        await self.read("GetMe")
        return self

    async def read(self, method: str, **request: Any) -> dict[str, Any]:
        """Ask something that has no effects."""
        answer, _ = await self._until_answered(method, request, "", "http")
        return answer

    async def do(self, method: str, key: str, request: dict[str, Any], over: str = "http") -> dict[str, Any]:
        """Have something done, once; Told when the answer is no."""
        self.journal.asked.add(key)
        try:
            answer, attempts = await self._until_answered(method, request, key, over)
            refused: Told | None = None
        except Told as no:
            answer, attempts, refused = {}, 1, no
        self.journal.keep(Entry(
            self.organization, key, method, request, answer, refused.reason if refused else "", attempts,
            round(time.monotonic() - self.journal.began, 3),
        ))  # fmt: skip
        if refused:
            raise refused
        return answer

    async def _until_answered(
        self, method: str, request: dict[str, Any], key: str, over: str
    ) -> tuple[dict[str, Any], int]:
        deadline, pause, attempts = time.monotonic() + self.patience, FIRST_PAUSE, 0
        while True:
            attempts += 1
            try:
                ask = self._http if over == "http" else self._grpc
                return await asyncio.wait_for(ask(method, request, key), ASK_WITHIN), attempts
            except Told as no:
                if no.reason in DEFECTS:
                    self.journal.defects.append(f"{method} over {over}: {no}")
                elif no.reason not in BUSY:
                    raise
                self.journal.counts[f"again: {no.reason}"] += 1
                last: Exception = no
            except (OSError, TimeoutError) as away:
                self.journal.counts[f"again: {type(away).__name__}"] += 1
                last = away
            if time.monotonic() > deadline:
                self.journal.unanswered.append(f"{method} {key}: {last!r}")
                raise GaveUp(f"{method} {request}: {last!r}") from last
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _http(self, method: str, request: dict[str, Any], key: str) -> dict[str, Any]:
        verb, url, body = placed(METHODS[method], request)
        try:
            return await self.api.call(verb, url, body, request_id=key)
        except ApiRefused as no:
            raise Told(no.reason or f"HTTP {no.status}", dict(no.facts)) from None

    async def _grpc(self, method: str, request: dict[str, Any], key: str) -> dict[str, Any]:
        known = METHODS[method]
        stub = self.channel.unary_unary(
            known.path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(known.output).FromString,
        )
        message = json_format.ParseDict(request | {"requestId": key}, GetMessageClass(known.input)())
        token = await self.api.token()
        try:
            answer = await stub(
                message, timeout=ASK_WITHIN / 2, metadata=[("authorization", f"Bearer {token}")]
            )
        except grpc.aio.AioRpcError as no:
            reason, facts = reason_of(no)
            if reason == "UNAUTHENTICATED":
                await self.api.renewed(token)
                raise ConnectionError("the token had run out") from None
            # A process that ends may break calls off; we did not.
            broken_off = no.code() is grpc.StatusCode.CANCELLED
            raise Told(reason or ("UNAVAILABLE" if broken_off else no.code().name), facts) from None
        return json_format.MessageToDict(answer)

    async def close(self) -> None:
        """Hang up."""
        await self.api.close()
        await self.channel.close()


class OneTry(Api):
    """The product's own small client without its patience: whoever uses it wants to see each attempt."""

    async def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, request_id: str = ""
    ) -> dict[str, Any]:
        """One attempt; signs in first when nobody is signed in."""
        text = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        token = await self.token()
        status, said = await self._ask(method, path, text, request_id, token)
        answer: dict[str, Any] = json.loads(said) if said else {}
        if status == 401:
            await self.renewed(token)
            raise ConnectionError("the token had run out")
        if status >= 400:
            raise ApiRefused(status, answer)
        return answer

    async def token(self) -> str:
        """The access token of whoever is signed in."""
        if not self._token:
            await self._renew("")
        return self._token

    async def renewed(self, worn: str) -> None:
        """Sign in again, unless somebody has done so since."""
        await self._renew(worn)
