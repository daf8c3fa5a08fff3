"""HTTP requests: a method's message as a client would put it, then spoiled; and bytes hardly HTTP."""

from __future__ import annotations

import json
import random
import re
from typing import Any
from urllib.parse import quote

from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from gateway.contract import Contract, Method
from gateway.transcode import Transcoder
from tests.fuzz import corpus
from tests.fuzz.messages import Maker

VARIABLE = re.compile(r"\{([a-z][\w.]*)(?:=[^{}]+)?\}")
KINDS = ("sound", "edge", "spoiled", "spoiled", "head")
ODD = (
    "", "null", "[]", "{}", '""', "0", "true", "{", "[", '"', "NaN", "Infinity", "-", "1e999", "{]",
    '{"a":1}x',
    '{"name":1,"name":2}', "[" * 40 + "]" * 40, '{"a":' * 2000 + "1" + "}" * 2000, "[" * 100_000,
    '{"\\u0000":1}', '{"name":"\\ud800"}', "\ufeff{}", "{'a':1}", '{"a":1,}', "/*x*/{}", "1" * 5000,
    '{"__proto__":{}}', '{"validateOnly":"true"}', '{"etag":1}', '{"@type":"x"}',
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 1e308, 2**31, 2**63, 2**64, 10**30, "", "1", "x", [], [None], [[]],
    {}, {"a": 1},
    {"": {}}, "NaN", "-Infinity", "2026-02-30", "9999-12-31T23:59:60Z", "0001-01-01T00:00:00-23:59",
)  # fmt: skip
HEADERS: tuple[tuple[str, bytes], ...] = (
    ("content-type", b"text/plain"), ("content-type", b""), ("content-type",
    b"application/json; charset=utf-16"),
    ("content-type", b"application/xml"), ("content-type", b"multipart/form-data; boundary=x"),
    ("content-encoding", b"gzip"), ("content-encoding", b"br, gzip"), ("if-match", b"*"), ("if-match",
    b'"x", "y"'),
    ("if-match", b"\xff"), ("if-none-match", b"W/" + b'"' * 50), ("idempotency-key", b"x" * 300),
    ("idempotency-key", b"\xe9\x00".replace(b"\x00", b"")), ("idempotency-key", b""), ("accept-language",
    b"zh;q=nan"),
    ("accept-language", b"zh," * 2000), ("x-request-timeout", b"0"), ("x-request-timeout", b"1e9"),
    ("x-request-timeout", b"-1"), ("x-request-timeout", "\u0663".encode()), ("accept", b"text/event-stream"),
    ("accept", b"image/png"), ("last-event-id", b"-1"), ("last-event-id", b"9" * 30), ("range", b"bytes=0-1"),
    ("x-forwarded-for", b"1.1.1.1, " * 500), ("traceparent", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01"),
    ("traceparent", b"\xff" * 60), ("x-http-method-override", b"DELETE"), ("authorization", b"Bearer "),
    ("authorization", b"Basic eDp5"), ("authorization", b"Bearer " + b"a" * 9000), ("expect",
    b"100-continue"),
    ("x-internal-peer", b"10.0.0.1"), ("te", b"trailers"), ("upgrade", b"h2c"), ("host", b"evil.example"),
)  # fmt: skip


class HttpMaker:
    """Makes the bytes of one HTTP/1.1 request of a method."""

    def __init__(self, contract: Contract) -> None:
        self.contract, self.transcoder = contract, Transcoder(contract.pool)

    def request(self, maker: Maker, method: Method, kind: str, token: str, host: str) -> bytes:
        """A request of one of KINDS, with a bearer token."""
        rng = maker.rng
        message = GetMessageClass(method.input)()
        try:
            message.ParseFromString(maker.request(method, "edge" if kind == "edge" else "sound"))
            shown = json.loads(self.transcoder.write(method.input)(message))
        except (DecodeError, OverflowError, ValueError):
            shown = {}
        route = rng.choice(method.routes)
        path, rest = _fill(route.template, message, shown, rng)
        if kind == "spoiled":
            rest = _spoil(rest, rng)
        body = self._body(route.body, rest, kind, rng)
        if route.verb in ("get", "delete") or (route.body not in ("", "*")):
            path += _query({k: v for k, v in rest.items() if k != _camel(route.body)}, rng)
        if kind == "head" and rng.random() < 0.3:
            path = rng.choice((path + "/", path + "?%", path + "?a=%ff", path + "?" + "a=1&" * 300,
            "//" + path[1:],
                               path.replace("/v1", "/v1/./", 1), path + "%00", path + "?name=a%0d%0ab",
                               path + ":x",
                               path + "?pageSize=1&pageSize=2", path + "?filter=" + "(" * 3000,
                               quote(path, safe=""), path + ";a=b", path.upper(), path + "?__x"))  # fmt: skip
        head = {
            "host": host.encode(),
            "authorization": f"Bearer {token}".encode(),
            "content-type": b"application/json",
        }
        if kind == "head":
            name, value = rng.choice(HEADERS)
            head[name] = value
        verb = route.verb if kind != "head" or rng.random() < 0.8 else rng.choice(
            ("get", "post", "put", "patch", "delete", "options", "head", "trace", "propfind"))  # fmt: skip
        lines = [f"{verb.upper()} {path} HTTP/1.1".encode("utf-8", "replace")]
        lines += [name.encode() + b": " + value for name, value in head.items()]
        lines += [b"connection: close", b"content-length: %d" % len(body)] if body else [b"connection: close"]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def _body(self, where: str, rest: dict[str, Any], kind: str, rng: random.Random) -> bytes:
        if not where and kind != "spoiled":
            return b""
        if kind == "spoiled" and rng.random() < 0.3:
            return rng.choice(
                (rng.choice(ODD).encode("utf-8", "surrogatepass"), rng.randbytes(40), b"\xff\xfe{\x00}\x00")
            )
        held = rest if where == "*" else rest.get(_camel(where), {})
        return json.dumps(held, ensure_ascii=rng.random() < 0.5).encode("utf-8", "replace")


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)


def _fill(
    template: str, message: Any, shown: dict[str, Any], rng: random.Random
) -> tuple[str, dict[str, Any]]:
    """The path with its variables filled, and what is left to be said elsewhere."""

    def value(found: re.Match[str]) -> str:
        held, parts = message, found[1].split(".")
        for part in parts:
            held = getattr(held, part)
        if len(parts) == 1:
            shown.pop(_camel(parts[0]), None)
        return quote(str(held) or "-", safe="/" if rng.random() < 0.9 else "")

    return VARIABLE.sub(value, template), shown


def _spoil(value: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """One value somewhere inside is of another kind, or a name is wrong."""
    made = dict(value)
    key = rng.choice([*made, "noSuchField", "no_such_field", "a.b", "\u0000", "constructor"])
    inner = made.get(key)
    if isinstance(inner, dict) and inner and rng.random() < 0.7:
        made[key] = _spoil(inner, rng)
    elif isinstance(inner, list) and inner and isinstance(inner[0], dict) and rng.random() < 0.5:
        made[key] = [_spoil(inner[0], rng), *inner[1:]]
    else:
        made[key] = rng.choice((*VALUES, rng.choice(corpus.TEXTS), str(inner), [inner]))
    return made


def _query(rest: dict[str, Any], rng: random.Random) -> str:
    pairs = []
    for name, value in rest.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                pairs += [(f"{name}.{key}", inner) for key, inner in item.items()]
            else:
                pairs.append((name, item))
    said = "&".join(
        f"{quote(str(k), errors='replace')}={quote(_text(v), errors='replace')}" for k, v in pairs
    )
    return f"?{said}" if said else ""


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (bool, int, float)) or value is None else str(value)


def framings(host: str, token: str) -> list[tuple[str, bytes]]:
    """Bytes whose framing could be read in two ways, or not at all; each with a name."""
    head = f"Host: {host}\r\nAuthorization: Bearer {token}\r\n".encode()
    post = b"POST /v1/customers HTTP/1.1\r\n" + head + b"Content-Type: application/json\r\n"
    get = b"GET /v1/me HTTP/1.1\r\n" + head
    return [*_bodies(post, get), *_heads(head, get), *_extremes(head, post, get)]


def _bodies(post: bytes, get: bytes) -> list[tuple[str, bytes]]:
    """Where a body ends, told twice or never."""
    inner = b"GET /v1/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    return [
        ("two lengths", post + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}" + inner),
        ("lengths in a list", post + b"Content-Length: 2, 40\r\n\r\n{}" + inner),
        (
            "length and chunks",
            post + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
        ),
        (
            "chunks twice",
            post + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + inner,
        ),
        ("chunks not last", post + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n" + inner),
        ("odd chunks", post + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + inner),
        ("space before colon", post + b"Content-Length : 2\r\n\r\n{}" + inner),
        ("tab in the name", post + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + inner),
        ("folded line", post + b"X-A: b\r\n Content-Length: 40\r\n\r\n{}"),
        ("bare line feeds", post.replace(b"\r\n", b"\n") + b"Content-Length: 2\n\n{}"),
        ("bare carriage returns", get.replace(b"\r\n", b"\r") + b"\r\r"),
        ("negative length", post + b"Content-Length: -1\r\n\r\n{}"),
        ("plus length", post + b"Content-Length: +2\r\n\r\n{}"),
        ("hex length", post + b"Content-Length: 0x2\r\n\r\n{}"),
        ("endless length", post + b"Content-Length: 99999999999999999999999\r\n\r\n{}"),
        ("length of 4 GiB", post + b"Content-Length: 4294967298\r\n\r\n{}"),
        ("negative chunk", post + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n"),
        ("endless chunk", post + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
        (
            "chunk extension",
            post + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"a" * 20_000 + b"\r\n{}\r\n0\r\n\r\n",
        ),
        ("trailers", post + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nAuthorization: x\r\n\r\n"),
        ("good chunks", post + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"),
    ]


def _heads(head: bytes, get: bytes) -> list[tuple[str, bytes]]:
    """What is asked, and of whom, as nobody writes it."""
    return [
        ("null in a header", get + b"X-A: a\x00b\r\n\r\n"),
        ("null in the path", b"GET /v1/\x00me HTTP/1.1\r\n" + head + b"\r\n"),
        ("space in the path", b"GET /v1/me x HTTP/1.1\r\n" + head + b"\r\n"),
        ("whole URL", b"GET http://evil.example/v1/me HTTP/1.1\r\n" + head + b"\r\n"),
        ("a fragment", b"GET /v1/me#x HTTP/1.1\r\n" + head + b"\r\n"),
        ("an asterisk", b"OPTIONS * HTTP/1.1\r\n" + head + b"\r\n"),
        ("connect", b"CONNECT evil.example:443 HTTP/1.1\r\n" + head + b"\r\n"),
        ("no host", b"GET /v1/me HTTP/1.1\r\n\r\n"),
        ("two hosts", get + b"Host: evil\r\n\r\n"),
        ("two tokens", get + b"Authorization: Bearer x\r\n\r\n"),
        ("http 0.9", b"GET /v1/me\r\n\r\n"),
        ("http 1.0", b"GET /v1/me HTTP/1.0\r\n" + head + b"\r\n"),
        ("http 2 over 1", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("http 9.9", b"GET /v1/me HTTP/9.9\r\n" + head + b"\r\n"),
    ]


def _extremes(head: bytes, post: bytes, get: bytes) -> list[tuple[str, bytes]]:
    """Too much, too little, and something else."""
    return [
        ("a long verb", b"X" * 9000 + b" /v1/me HTTP/1.1\r\n" + head + b"\r\n"),
        ("a long path", b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + head + b"\r\n"),
        ("a long query", b"GET /v1/me?" + b"a" * 20_000 + b" HTTP/1.1\r\n" + head + b"\r\n"),
        ("a long header", get + b"X-A: " + b"a" * 60_000 + b"\r\n\r\n"),
        ("many headers", get + b"".join(b"X-%d: a\r\n" % i for i in range(3000)) + b"\r\n"),
        ("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)),
        ("noise", bytes(range(256)) * 4),
        ("a body with a get", get + b"Content-Length: 2\r\n\r\n{}"),
        ("upgrade", get + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n\r\n"),
        ("expect", post + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}"),
        (
            "gzip bomb",
            post + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + b"\x1f\x8b" + bytes(18),
        ),
        ("a cut head", get[:-5]),
        ("a cut body", post + b"Content-Length: 200\r\n\r\n{}"),
    ]
