"""A load of so many requests a second over HTTP, and what became of each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

GIVES_UP = 30.0  # seconds; longer than any answer of the gateway takes
PAUSE = 0.5
LONGEST_PAUSE = 4.0  # as it doubles: thousands who wait for one gateway are not to be its load
AGAIN_FOR = 120.0  # seconds in which a request that nobody took is sent again


class NotTaken(Exception):
    """The connection ended before the first byte of an answer."""


class Line:
    """One connection; one question at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.open, self.last = True, False  # last: the gateway said that it closes
        self.later = 0.0  # seconds: when it said to come back

    async def ask(self, question: bytes) -> tuple[int, bytes]:
        """Send a request; its status and body."""
        try:
            self._writer.write(question)
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            self.last = b"connection: close" in head
            self.later = float(head.partition(b"retry-after:")[2].partition(b"\r\n")[0] or 0)
            body = await self._reader.readexactly(length)
        except asyncio.IncompleteReadError as ended:
            self.close()
            if ended.partial:
                raise ConnectionError("half an answer") from ended
            raise NotTaken from ended
        except ConnectionError as ended:
            self.close()
            raise NotTaken from ended
        if self.last:
            self.close()
        return int(head[9:12]), body

    def close(self) -> None:
        """Let go."""
        self.open = False
        self._writer.close()


class Client:
    """Keeps connections to one gateway, and the tokens of the people in whose names it asks."""

    def __init__(self, port: int) -> None:
        self.port, self._free, self.tokens = port, deque[Line](), deque[str]()
        self.goodbyes = 0  # answers that said they were the last of their connection

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One request, its status and what was said; NotTaken when nobody knows if it was carried out."""
        status, answer, _ = await self.told(method, path, body, **headers)
        return status, answer

    async def told(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, float]:
        """The same, with the seconds after which to come back."""
        line = await self._line()
        text = json.dumps(body).encode() if body is not None else b""
        said = {"host": "gateway", "content-length": str(len(text)), **headers}
        if text:
            said["content-type"] = "application/json"
        if self.tokens:
            said.setdefault("authorization", f"Bearer {self.tokens[0]}")
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in said.items())
        try:
            async with asyncio.timeout(GIVES_UP):
                status, answer = await line.ask(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + text)
        except BaseException:
            line.close()
            raise
        self.goodbyes += line.last
        if line.open:
            self._free.append(line)
        return status, json.loads(answer) if answer else None, line.later

    async def _line(self) -> Line:
        while self._free:
            line = self._free.popleft()
            if line.open:
                return line
        try:
            return Line(*await asyncio.open_connection("127.0.0.1", self.port))
        except OSError as refused:
            raise NotTaken from refused

    async def sign_in(self, email: str, password: str) -> None:
        """Become that person."""
        said = await self._done("/v1/sessions", {"email": email, "password": password})
        self.tokens = deque([said["accessToken"]])

    async def hire(self, more: int) -> None:
        """Ask in the names of so many colleagues as well: one person may have few requests under way."""
        tokens = deque(self.tokens)
        for _ in range(more):
            email, password = f"{uuid.uuid4()}@example.com", str(uuid.uuid4())
            role = ["roles/administrator"]
            user = await self._done("/v1/users", {"displayName": "One more", "email": email, "roles": role})
            code = {"invitationCode": user["invitationCode"], "password": password}
            await self._done("/v1/users:activate", code)
            said = await self._done("/v1/sessions", {"email": email, "password": password})
            tokens.append(said["accessToken"])
        self.tokens = tokens

    def turn(self) -> dict[str, str]:
        """Whose turn it is, as a header. What is sent again says the same: a key is of one person."""
        token = self.tokens[0]
        self.tokens.rotate(-1)
        return {"authorization": f"Bearer {token}"}

    async def _done(self, path: str, body: dict[str, Any]) -> Any:
        status, said = await self.ask("POST", path, body)
        assert status == 200, said
        return said

    def close(self) -> None:
        """Let go of every connection."""
        while self._free:
            self._free.popleft().close()


@dataclass
class Load:
    """Reads and idempotent writes at a fixed rate; one in three is a write.

    With *again* a request that nobody took is sent again under its key, as a person's program would when
    the only gateway restarts.
    """

    client: Client
    rate: float
    seed: int = 1
    timeout: float = 10.0  # of each request, as its caller says
    again: bool = False
    what: str = ""  # it is about, in the name of each record: another load's are others
    sent: int = 0
    resent: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    made: dict[str, str] = field(default_factory=dict)  # title → record, as acknowledged
    asked: set[str] = field(default_factory=set)  # every title that was sent
    waits: list[tuple[float, float, str]] = field(
        default_factory=list
    )  # (when sent, how long, what went wrong)

    async def run(self, until: asyncio.Event) -> None:
        """Send on schedule until told to stop; then wait for what is under way."""
        chance, under_way, began = random.Random(self.seed), set[asyncio.Task[None]](), time.monotonic()
        await self._write("first of all")
        while not until.is_set():
            title = f"{self.what} {self.seed}-{self.sent}"
            work = self._write(title) if chance.random() < 1 / 3 else self._read(chance)
            task = asyncio.create_task(work)
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            ahead = began + self.sent / self.rate - time.monotonic()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), max(0.0, ahead))
        await asyncio.gather(*under_way)
        self.took = time.monotonic() - began

    took: float = 0.0

    async def _write(self, title: str) -> None:
        self.asked.add(title)
        key = str(uuid.uuid5(uuid.NAMESPACE_URL, title))
        body = {"displayName": f"Company {title}"}
        answer = await self._one("POST", "/v1/customers", body, idempotency_key=key)
        if answer is not None:
            self.made[title] = answer["name"]

    async def _read(self, chance: random.Random) -> None:
        if chance.random() < 0.8 and self.made:
            name = chance.choice(list(self.made.values())[-500:])
            await self._one("GET", f"/v1/{name}")
        else:
            await self._one("GET", "/v1/customers?page_size=5")

    async def _one(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        self.sent += 1
        began, give_up, pause = time.monotonic(), time.monotonic() + AGAIN_FOR, PAUSE
        headers |= {"x_request_timeout": f"{self.timeout:g}", **self.client.turn()}
        while True:
            later = 0.0
            try:
                status, answer, later = await self.client.told(method, path, body, **headers)
                problem = "" if status < 400 else f"{status} {answer.get('reason')} {answer.get('facts')}"
                tried_again = status in (429, 503)
            except NotTaken:
                problem, tried_again = "no answer", True
            except (ConnectionError, TimeoutError) as broken:
                problem, tried_again = f"{type(broken).__name__} {broken}", False
            if not (self.again and tried_again and time.monotonic() < give_up):
                break
            self.resent += 1
            await asyncio.sleep(max(later, pause * random.uniform(0.5, 1.5)))
            pause = min(2 * pause, LONGEST_PAUSE)
        self.waits.append((began, time.monotonic() - began, problem))
        if problem:
            self.failed[problem] += 1
            return None
        return answer

    def verdict(self) -> str:
        """The counters in one line."""
        rate = self.sent / self.took if self.took else 0.0
        slowest = max((took for _, took, _ in self.waits), default=0.0)
        return (
            f"{self.sent} sent at {rate:.0f}/s (asked: {self.rate:g}/s),"
            f" {len(self.made)} writes acknowledged, {self.resent} sent again,"
            f" {self.failed.total()} failed {dict(self.failed)},"
            f" slowest {slowest:.2f} s"
        )
