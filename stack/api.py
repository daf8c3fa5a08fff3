"""A small client of the public HTTP API, for the demo company, imports and tests."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httptools

PATIENCE = 60.0  # a service that restarts is back sooner
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 3.0
SLOWEST = 30.0
BUSY = frozenset({"UNAVAILABLE", "OVERLOADED", "CONFLICT", "IN_PROGRESS", "DEADLINE_EXCEEDED"})


class ApiRefused(Exception):
    """The API said no: `reason`, `detail` (a sentence) and `facts` as its problem document has them."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.reason = str(problem.get("reason", ""))
        self.detail = str(problem.get("detail", ""))
        self.facts: dict[str, str] = problem.get("facts", {})
        super().__init__(f"{status} {self.reason}: {self.detail}")


class _Line(asyncio.Protocol):
    """One connection that is kept open; one question at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.parser = httptools.HttpResponseParser(self)
        self.body = bytearray()
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.open = transport, True

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as wrong:
            self.connection_lost(ConnectionError(str(wrong)))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.open = self.open and self.parser.should_keep_alive()
        status, body = self.parser.get_status_code(), bytes(self.body)
        self.parser, self.body = httptools.HttpResponseParser(self), bytearray()
        if self.answer and not self.answer.done():
            self.answer.set_result((status, body))

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        if self.answer and not self.answer.done():
            self.answer.set_exception(error or ConnectionError("the server closed the connection"))

    async def ask(self, question: bytes) -> tuple[int, bytes]:
        """Send one request; answer its status and body."""
        assert self.transport
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(question)
        try:
            return await asyncio.wait_for(self.answer, SLOWEST)
        except TimeoutError:
            self.close()
            raise ConnectionError(f"no answer within {SLOWEST:.0f} s") from None

    def close(self) -> None:
        self.open = False
        if self.transport:
            self.transport.close()


class Api:
    """Calls of one person. `request_ids` names a run whose calls, made again, are the same calls;
    `authority` is the file of who signed the certificate of an https address, else the machine's are."""

    def __init__(
        self,
        url: str,
        *,
        connections: int = 8,
        request_ids: str = "",
        people: dict[str, str] | None = None,
        organization: str = "",
        authority: Path | None = None,
    ) -> None:
        self.url, self._authority = url, authority
        parts = urlsplit(url)
        self._tls = ssl.create_default_context(cafile=authority) if parts.scheme == "https" else None
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or (443 if self._tls else 80)
        self._free: list[_Line] = []
        self._places = asyncio.Semaphore(connections)
        self._signing_in = asyncio.Lock()
        self._token = ""
        self._credentials: dict[str, str] = {}
        self._run, self._seen = request_ids, dict[uuid.UUID, int]()
        self._people, self._organization = people or {}, organization
        self._others: dict[str, Api] = {}
        self.me: dict[str, Any] = {}

    def become(self, email: str, password: str) -> None:
        """Call as that person from now on; they are signed in with the first call."""
        self._credentials = {"email": email, "password": password}
        if self._organization:
            self._credentials["organization"] = self._organization
        self._token = ""

    async def sign_in(self, email: str, password: str) -> Api:
        """Become that person now, and know who that is."""
        self.become(email, password)
        await self.get("/v1/me")
        return self

    def as_(self, email: str) -> Api:
        """The calls of another person of `people`; the same object when asked again."""
        if email not in self._others:
            run = f"{self._run} as {email}" if self._run else ""
            other = Api(
                self.url,
                connections=2,
                request_ids=run,
                organization=self._organization,
                authority=self._authority,
            )
            other.become(email, self._people[email])
            self._others[email] = other
        return self._others[email]

    async def _renew(self, worn: str) -> None:
        """Sign in, unless somebody has done so since *worn* was in use."""
        async with self._signing_in:
            if self._token != worn:
                return
            status, said = await self._ask(
                "POST", "/v1/sessions", json.dumps(self._credentials).encode(), "", ""
            )
            answer = json.loads(said)
            if status >= 400:
                raise ApiRefused(status, answer)
            self._token, self.me = answer["accessToken"], answer["user"]

    async def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Read something; keyword arguments become the query."""
        return await self.call("GET", f"{path}?{urlencode(query)}" if query else path)

    async def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Create something, or have a verb done: `post("/v1/customers", {...})`."""
        return await self.call("POST", path, body or {})

    async def patch(self, path: str, body: dict[str, Any], mask: str = "") -> dict[str, Any]:
        """Change the fields of *body*, or those that *mask* names."""
        return await self.call("PATCH", f"{path}?updateMask={mask or ','.join(body)}", body)

    async def all(self, path: str, field: str, **query: Any) -> list[dict[str, Any]]:
        """Every page of a list."""
        found: list[dict[str, Any]] = []
        while True:
            page = await self.get(path, **query)
            found += page.get(field, [])
            if not page.get("nextPageToken"):
                return found
            query["pageToken"] = page["nextPageToken"]

    async def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, request_id: str = ""
    ) -> dict[str, Any]:
        """One call, tried again while the other side is busy or away; its request_id makes that harmless."""
        text = b"" if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        effects = method != "GET"
        key = request_id or (str(self._request_id(method, path, text)) if effects else "")
        deadline, pause, renewed = time.monotonic() + PATIENCE, FIRST_PAUSE, False
        while True:
            try:
                if self._credentials and not self._token:
                    await self._renew("")
                token = self._token
                status, said = await self._ask(method, path, text, key, token)
                answer: dict[str, Any] = json.loads(said) if said else {}
                if status < 400:
                    return answer
                refused: Exception = ApiRefused(status, answer)
                if status == 401 and token and not renewed:
                    renewed = True
                    await self._renew(token)
                    continue
            except (ConnectionError, OSError, ApiRefused) as failed:
                refused = failed
            if (
                isinstance(refused, ApiRefused) and refused.reason not in BUSY
            ) or time.monotonic() > deadline:
                raise refused
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)

    def _request_id(self, method: str, path: str, text: bytes) -> uuid.UUID:
        if not self._run:
            return uuid.uuid4()
        same = uuid.uuid5(uuid.NAMESPACE_URL, f"{self._run} {method} {path} {text.decode()}")
        nth = self._seen[same] = self._seen.get(same, 0) + 1
        return uuid.uuid5(same, str(nth))

    async def _ask(self, method: str, path: str, text: bytes, key: str, token: str) -> tuple[int, bytes]:
        head = f"{method} {path} HTTP/1.1\r\nhost: {self._host}:{self._port}\r\naccept: application/json\r\n"
        if text:
            head += f"content-type: application/json\r\ncontent-length: {len(text)}\r\n"
        if key:
            head += f"idempotency-key: {key}\r\n"
        if token:
            head += f"authorization: Bearer {token}\r\n"
        async with self._places:
            line = await self._line()
            try:
                return await line.ask(f"{head}\r\n".encode() + text)
            finally:
                if line.open:
                    self._free.append(line)

    async def _line(self) -> _Line:
        while self._free:
            line = self._free.pop()
            if line.open:
                return line
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(_Line, self._host, self._port, ssl=self._tls)
        return line

    async def close(self) -> None:
        """Hang up."""
        for other in self._others.values():
            await other.close()
        for line in self._free:
            line.close()
        self._free.clear()
