"""Lists: filter, order and keyset pages whose tokens cannot be forged.

A page costs the same wherever it lies (no OFFSET, no COUNT): the token carries the last row's order
values, signed together with the query it belongs to.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import date, datetime
from typing import Any, TypeVar

from google.protobuf.message import Message

from chassis import filters
from chassis.kernel.record import Record
from chassis.kernel.refusals import Refused
from chassis.store import Tx
from chassis.tables import Collection, quoted

R = TypeVar("R", bound=Record)
DEFAULT_SIZE, LARGEST_SIZE = 50, 200


def _order(
    text: str, collection: Collection[Any], unasked: frozenset[str] = frozenset()
) -> list[tuple[str, bool]]:
    """[(column, descending)], always ending with the id; ORDER_INVALID names what is unknown."""
    order: list[tuple[str, bool]] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, direction = part.partition(" ")
        name, direction = filters.field_name(name), direction.strip().lower() or "asc"
        column = "id" if name == "name" else name
        filters.refuse_unseen(name, unasked, collection)
        field = collection.field(column)
        if column in collection.sealed:
            problem = f"{column} is kept encrypted and cannot be sorted by"
            raise Refused("ORDER_INVALID", field="order_by", problem=problem)
        nested = (
            field is None
            or column in collection.private
            or field.columns[0].type.__class__.__name__ == "JSONB"
        )
        if nested or direction not in ("asc", "desc") or len(order) >= 4:
            problem = f"{part!r} is no field with asc or desc, four at the most"
            raise Refused("ORDER_INVALID", field="order_by", problem=problem)
        order.append((column, direction == "desc"))
    if not any(column == "id" for column, _ in order):
        order.append(("id", order[-1][1] if order else False))
    return order


def _after(
    order: list[tuple[str, bool]], values: list[Any], collection: Collection[Any]
) -> tuple[str, list[Any]]:
    """The condition for rows that come after the given order values; NULLs come last, as in ORDER BY.

    An index can begin at a row of values, and at a bound of its first column, but not at a choice of
    conditions: without that the last page would read all those before it.
    """
    filled = [_filled(column, collection) for column, _ in order]
    down = {descending for _, descending in order}
    if all(filled) and len(down) == 1:
        listed, slots = ", ".join(quoted(column) for column, _ in order), ", ".join(["%s"] * len(order))
        return f" AND ({listed}) {'<' if True in down else '>'} ({slots})", list(values)
    arms, params = [], []
    for i, (column, descending) in enumerate(order):
        equal, equal_params = [], []
        for (earlier, _), value in zip(order[:i], values, strict=False):
            equal.append(f"{quoted(earlier)} IS NOT DISTINCT FROM %s")
            equal_params.append(value)
        if values[i] is None:
            continue  # nothing comes after NULL in this column; a later column decides among its equals
        sign = "<" if descending else ">"
        arms.append(" AND ".join([*equal, f"{quoted(column)} {sign} %s" if filled[i] else
                                  f"({quoted(column)} {sign} %s OR {quoted(column)} IS NULL)"]))  # fmt: skip
        params += [*equal_params, values[i]]
    text = f" AND ({' OR '.join(arms)})"
    if filled[0]:
        return f" AND {quoted(order[0][0])} {'<=' if order[0][1] else '>='} %s{text}", [values[0], *params]
    return text, params


def _filled(column: str, collection: Collection[Any]) -> bool:
    """Whether every row has a value there; the times are missing only until a record is kept."""
    return column in ("create_time", "update_time") or not collection.table.c[column].nullable


def _sort(column: str, descending: bool, collection: Collection[Any]) -> str:
    """One term of ORDER BY; an index read backwards has its NULLs first, so only who has any may say so."""
    nulls = "" if _filled(column, collection) else " NULLS LAST"
    return f"{quoted(column)}{' DESC' if descending else ''}{nulls}"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, (datetime, date)) else value


class Tokens:
    """Page tokens: the last row's place, signed with the query and the organization they belong to."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def _sign(self, place: bytes, query: str) -> bytes:
        return hmac.new(self.key, place + b"\0" + query.encode(), hashlib.sha256).digest()[:12]

    def make(self, values: list[Any], query: str) -> str:
        """The token of the page after a row with these order values."""
        place = json.dumps([_plain(value) for value in values], ensure_ascii=False).encode()
        return base64.urlsafe_b64encode(self._sign(place, query) + place).decode().rstrip("=")

    def read(self, token: str, query: str) -> list[Any]:
        """The order values of a token, or PAGE_TOKEN_INVALID when it is not one of ours for this query."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raw = b""
        signature, place = raw[:12], raw[12:]
        if not place or not hmac.compare_digest(signature, self._sign(place, query)):
            raise Refused("PAGE_TOKEN_INVALID", field="page_token")
        values: list[Any] = json.loads(place)
        return values


def page_size(asked: int) -> int:
    """How many rows a page has: 50 unless asked, 200 at the most; a negative wish is refused."""
    if asked < 0:
        raise Refused("FIELD_INVALID", field="page_size", problem="must not be negative")
    return min(asked or DEFAULT_SIZE, LARGEST_SIZE)


async def page(
    tx: Tx, collection: Collection[R], request: Any, tokens: Tokens, where: str = "", params: Any = (),
    unasked: frozenset[str] = frozenset(),
) -> tuple[list[R], str]:  # fmt: skip
    """One page of a List request and the token of the next; *where* narrows it further, and nobody asks by
    the fields *unasked*."""
    size = page_size(request.page_size)
    order = _order(request.order_by, collection, unasked)
    ring = tx.seals.ring if collection.found_by else None
    condition, values = filters.condition(request.filter, collection, unasked, ring)
    if not request.show_deleted:
        condition += " AND delete_time IS NULL"
    condition, values = condition + where, [*values, *params]
    scope_text, scope_params = tx.store.reach(collection, tx.call)
    condition, values = condition + scope_text, [*values, *scope_params]
    query = "\n".join([tx.call.tenant, tx.call.user, collection.name, request.filter, request.order_by,
                       str(request.show_deleted), where, repr(params)])  # fmt: skip
    if request.page_token:
        after, after_params = _after(order, tokens.read(request.page_token, query), collection)
        condition, values = condition + after, [*values, *after_params]
    sort = ", ".join(_sort(column, descending, collection) for column, descending in order)
    asked = tx.pipe.ask(
        f"{collection.select}{condition} ORDER BY {sort} LIMIT {size + 1}", [tx.call.tenant, *values]
    )
    found = await asked.rows()
    records = await tx.seals.loaded(collection, found[:size])
    if len(found) <= size:
        return records, ""
    last = dict(zip(collection.columns, found[size - 1], strict=True))
    return records, tokens.make([last[column] for column, _ in order], query)


def trim(message: Message, mask: Any) -> Message:
    """Only the fields a read_mask names (AIP-157), each whole; no mask or "*" keeps everything."""
    if not mask.paths:
        return message
    wanted = {path.partition(".")[0] for path in mask.paths}
    if not wanted or "*" in wanted:
        return message
    names = {field.name for field in message.DESCRIPTOR.fields}
    for name in sorted(wanted - names):
        raise Refused("FIELD_UNKNOWN", field=f"read_mask: {name}")
    for name in names - wanted:
        message.ClearField(name)
    return message
