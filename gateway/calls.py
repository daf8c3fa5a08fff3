"""One method reached over HTTP: the request becomes its message, the service's answer becomes JSON."""

from __future__ import annotations

import re
import time
import uuid
from typing import Any
from urllib.parse import parse_qsl

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor

from chassis.kernel.refusals import Refused, invalid
from gateway import jsontext
from gateway.caller import Identity, metadata_for
from gateway.contract import BEHAVIOR
from gateway.cookies import Cookies
from gateway.exchange import Answer, Exactly, Request, too_large
from gateway.limits import STRANGERS, Limits
from gateway.routes import Query, Rule, apply_path
from gateway.scalars import Wrong
from gateway.transcode import Transcoder
from gateway.upstream import Upstream

DEFAULT_TIMEOUT = 10.0
LONGEST_TIMEOUT = 60.0
# A stream ends after this long; whoever listens asks again from where it was.
LONGEST_STREAM = 900.0
MOST_PARAMETERS = 200
LONGEST_KEY = 255
KINDS = ("application/json", "application/merge-patch+json")
ETAGS = re.compile(r'(?:W/)?"?([^",\s]{1,64})"?', re.ASCII)
# Idempotency keys that are no UUID become one of this space.
KEYS = uuid.UUID("6f0c2c1e-7f5b-5d0e-9a53-4f3f6b1f9a10")
VIEW = "~"
_NOT_CHANGED = ("name", "etag")
# Sent back as they were read, these say nothing.
_FIXED = {field_behavior_pb2.OUTPUT_ONLY, field_behavior_pb2.IMMUTABLE}


class Endpoint:
    """A rule with everything that can be prepared before the first request."""

    def __init__(
        self, rule: Rule, transcoder: Transcoder, upstream: Upstream, cookies: Cookies | None = None
    ) -> None:
        self.rule, self.method = rule, rule.method
        self._cookies = cookies if cookies and cookies.concern(rule.method) else None
        self._upstream = upstream
        self._make = transcoder.message_class(rule.method.input)
        self._fill = transcoder.fill(rule.method.input)
        output = transcoder.message_class(rule.method.output)
        self._read: Any = output.FromString  # type: ignore[attr-defined]
        self._write = transcoder.write(rule.method.output)
        self._etagged = "etag" in rule.method.output.fields_by_name
        self._query = Query(rule)
        fields = rule.method.input.fields_by_name
        self._held = fields[rule.body].message_type if rule.body in fields else None
        self._fill_held = transcoder.fill(self._held) if self._held else None
        self._keyed = rule.method.effects and "request_id" in fields
        self._etag = _etag_holder(rule) if rule.method.effects else None
        self._masked = rule.verb == "PATCH" and "update_mask" in fields and self._held is not None

    async def message(self, request: Request, segments: list[str], mint: bool) -> Any:
        """The request's message; *mint* a request_id when the caller gave none."""
        message = self._make()
        body = await self._body(request)
        if request.query:
            self._fill(message, self._query.read(_pairs(request.query)))
        if self.rule.body == "*":
            self._fill(message, {} if body is None else body)
        elif self._fill_held and self._held:
            self._fill_part(message, {} if body is None else body)
        apply_path(self.rule, segments, message)
        if self._keyed:
            _apply_key(message, request.header(b"idempotency-key"), mint)
        if self._etag is not None and b"if-match" in request.headers:
            _apply_etag(message, self._etag, request.header(b"if-match"))
        return message

    def _fill_part(self, message: Any, body: Any) -> None:
        """The body is one field of the request; a PATCH without a mask means the fields that it holds."""
        name = self.rule.body
        part = getattr(message, name)
        part.SetInParent()
        try:
            assert self._fill_held and self._held
            self._fill_held(part, body)
        except Wrong as wrong:
            raise wrong.under(name) from None
        if self._masked and not message.HasField("update_mask"):
            message.update_mask.paths.extend(_named(self._held, body))

    async def _body(self, request: Request) -> Any:
        if request.method in ("GET", "HEAD"):
            if (
                request.headers.get(b"content-length", b"0") != b"0"
                or b"transfer-encoding" in request.headers
            ):
                raise Refused("BODY_INVALID", problem="a GET takes none")
            return None
        body = await request.body()
        if not body:
            return None
        if not self.rule.body:
            raise Refused(
                "BODY_INVALID", problem="it takes none; what it needs stands in the path and the query"
            )
        _check_kind(request)
        try:
            return jsontext.parse(body)
        except jsontext.NotJson as problem:
            raise Refused("BODY_INVALID", problem=str(problem)) from None

    async def ask(
        self, request: Request, segments: list[str], identity: Identity | None, limits: Limits
    ) -> Answer:
        """Call the service once, when it is the caller's turn, and say what it said."""
        timeout = timeout_of(request.header(b"x-request-timeout"))
        message = await self.message(request, segments, mint=identity is not None)
        if self._cookies:
            self._cookies.check(request, message)
        until = time.monotonic() + timeout
        who = identity.tenant if identity else STRANGERS
        await limits.take_turn(who, timeout)
        try:
            answer = await self._call()(
                message.SerializeToString(),
                timeout=max(0.001, until - time.monotonic()),
                metadata=self._metadata(request, identity),
            )
        finally:
            limits.give_turn(who)
        said = self._read(answer)
        if self._cookies:
            cookies = await self._cookies.headers(request, message, said)
            return Answer(200, self._write(said).encode(), headers=cookies)
        if not self._etagged or not said.etag:
            return Answer(200, self._write(said).encode())
        quoted = f'"{said.etag}{_as_seen(identity)}"'.encode()
        headers = ((b"etag", quoted),)
        if request.method == "GET" and request.headers.get(b"if-none-match") == quoted:
            return Answer(304, b"", headers=headers)
        return Answer(200, self._write(said).encode(), headers=headers)

    async def open(self, request: Request, segments: list[str], identity: Identity | None) -> tuple[Any, Any]:
        """Begin a stream; the call, and the message that began it."""
        message = await self.message(request, segments, mint=identity is not None)
        after = request.header(b"last-event-id")
        if after and "after_position" in self.method.input.fields_by_name:
            if not after.isascii() or not after.isdigit() or len(after) > 18:
                raise invalid("Last-Event-ID", "must be the id of an event of this stream")
            message.after_position = int(after)
        call = self._call()(
            message.SerializeToString(), timeout=LONGEST_STREAM, metadata=self._metadata(request, identity)
        )
        return call, message

    def read(self, answer: bytes) -> tuple[Any, bytes]:
        """One message of a stream, and its JSON."""
        message = self.message_of(answer)
        return message, self.spelled(message)

    def message_of(self, answer: bytes) -> Any:
        """One message of a stream."""
        return self._read(answer)

    def spelled(self, message: Any) -> bytes:
        """Its JSON."""
        return self._write(message).encode()

    def _call(self) -> Any:
        try:
            return self._upstream.call(self.method)
        except KeyError:
            raise Refused("UNAVAILABLE", what=f"the {self.method.home} service") from None

    def _metadata(self, request: Request, identity: Identity | None) -> Any:
        return metadata_for(
            identity,
            locale=request.locale,
            traceparent=request.traceparent,
            peer=request.peer,
            agent=request.header(b"user-agent"),
        )


def _etag_holder(rule: Rule) -> str | None:
    """Where If-Match goes: "" is the request's own etag, a name the resource's, None nowhere."""
    if "etag" in rule.method.input.fields_by_name:
        return ""
    held = rule.method.input.fields_by_name.get(rule.body)
    inside = held.message_type.fields_by_name if held and held.message_type else {}
    return rule.body if "etag" in inside else None


def _as_seen(identity: Identity | None) -> str:
    """What an ETag ends in: who is shown a record with its fields kept back has another one than who is not,
    and another than before when that changes."""
    return f"{VIEW}{identity.view}" if identity and identity.view else ""


def _apply_etag(message: Any, where: str, header: str) -> None:
    if header.strip() == "*":
        return
    found = ETAGS.fullmatch(header.strip())
    if not found:
        raise invalid("If-Match", "must be one etag")
    holder = getattr(message, where) if where else message
    etag = found[1].partition(VIEW)[0]
    if holder.etag not in ("", etag):
        raise invalid("If-Match", "must be the same etag as in the body")
    holder.etag = etag


def _apply_key(message: Any, key: str, mint: bool) -> None:
    if not key:
        if mint and not message.request_id:
            message.request_id = str(uuid.uuid4())
        return
    key = key.strip().strip('"')
    if not 0 < len(key) <= LONGEST_KEY:
        raise invalid("Idempotency-Key", f"must be 1 to {LONGEST_KEY} characters")
    try:
        known = str(uuid.UUID(key)) if len(key) == 36 else ""
    except ValueError:
        known = ""
    known = known or str(uuid.uuid5(KEYS, key))
    if message.request_id not in ("", key, known):
        raise invalid("Idempotency-Key", "must be the same as the request_id in the body")
    message.request_id = known


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS
        )
    except UnicodeDecodeError:
        raise invalid("query", "must be percent-encoded UTF-8") from None
    except ValueError:
        raise too_large("the query", f"{MOST_PARAMETERS} parameters", 414) from None


def _check_kind(request: Request) -> None:
    kind, _, rest = request.header(b"content-type").lower().partition(";")
    charset = rest.strip().removeprefix("charset=").strip('" ')
    if kind.strip() not in KINDS or charset not in ("", "utf-8", "utf8"):
        problem = "send it as application/json in UTF-8"
        raise Exactly(Refused("BODY_INVALID", problem=problem), 415, ((b"accept", b"application/json"),))
    if request.header(b"content-encoding").lower() not in ("", "identity"):
        raise Exactly(Refused("BODY_INVALID", problem="send it without Content-Encoding"), 415)


def _named(descriptor: Descriptor, body: Any) -> list[str]:
    """The fields that a JSON object names and that may change: null and 0 empty them."""
    known, camel = descriptor.fields_by_name, descriptor.fields_by_camelcase_name
    fields = [known.get(key) or camel[key] for key in body]
    return [
        f.name
        for f in fields
        if f.name not in _NOT_CHANGED and not _FIXED & set(f.GetOptions().Extensions[BEHAVIOR])
    ]


def timeout_of(header: str) -> float:
    """How long the caller will wait, in seconds."""
    if not header:
        return DEFAULT_TIMEOUT
    found = re.fullmatch(r"(\d{1,4}(?:\.\d{1,6})?)s?", header.strip(), re.ASCII)
    seconds = float(found[1]) if found else 0.0
    if not 0.05 <= seconds <= LONGEST_TIMEOUT:
        raise invalid("X-Request-Timeout", f"must be seconds from 0.05 to {LONGEST_TIMEOUT:g}")
    return seconds
