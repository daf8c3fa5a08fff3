"""JSON text, read strictly: one value, no key twice, no number that is none, no endless nest."""

from __future__ import annotations

import json
from typing import Any

DEPTH = 32
TOO_DEEP = f"it is nested deeper than {DEPTH} levels"


class NotJson(Exception):
    """The body is not one well-formed JSON value; the message says where and why."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise NotJson(f"the key {name[:80]!r} stands twice in one object")
            seen.add(name)
    return made


def _no_constant(word: str) -> Any:
    raise NotJson(f"{word} is not a JSON number")


_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant).decode
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


def parse(body: bytes) -> Any:
    """The JSON value in *body*, or NotJson."""
    try:
        value = _decode(body.decode())
        # Only a body with this many brackets can be that deep.
        if body.count(b"{") + body.count(b"[") > DEPTH:
            _measure(value, DEPTH)
        return value
    except RecursionError:
        raise NotJson(TOO_DEEP) from None
    except UnicodeDecodeError:
        raise NotJson("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except ValueError:
        raise NotJson("it holds a number of too many digits") from None


def _measure(value: Any, left: int) -> None:
    if type(value) is dict or type(value) is list:
        if not left:
            raise NotJson(TOO_DEEP)
        for item in value.values() if type(value) is dict else value:
            _measure(item, left - 1)


def render(value: Any) -> bytes:
    """The bytes of a JSON value."""
    return _encode(value).encode()
