"""An import run: verdicts that add up, nothing done twice, changes that follow, refusals that are told.

The other side is a small HTTP server of our own that answers as the platform does: it keeps records, knows
the request ids it has seen, and refuses what a test wants refused.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stack.api import Api
from stack.importer import Import, Tally
from stack.journal import CREATED, SKIPPED, UPDATED, Journal
from stack.mapping import ImportMapping

MAPPING = """
import: shop
aliases: {size: {XL: extra large}}
steps:
  - step: products
    file: products.csv
    key: "{sku}"
    unused: products nobody ordered
    calls:
      - create: /v1/products
        match: sku
        fixed: [kind]
        body: {sku: "{sku}", size: "{size|alias:size}", kind: good}
  - step: orders
    file: orders.csv
    key: "{id}"
    when: {state: [open, won]}
    otherwise: was cancelled
    notes: [{when: {product: absent}, say: without a product}]
    calls:
      - create: /v1/orders
        body:
          product: "{product|name:products}"
          lines: {$each: lines.csv, $on: order, $is: "{id}", $value: {quantity: "{quantity|whole}"}}
      - verb: win
        when: {state: won}
"""


class Platform:
    """Keeps what is created, answers a request id it knows with the answer of then."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {}
        self.calls: list[str] = []
        self.refuse: dict[str, dict[str, Any]] = {}
        self.busy = 0
        self.url = ""

    def answer(self, method: str, path: str, key: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.busy:
            self.busy -= 1
            return 503, {"reason": "UNAVAILABLE", "detail": "not now"}
        if key in self.answers:
            return self.answers[key]
        self.calls.append(f"{method} {path}")
        self.answers[key] = self._done(method, path, body)
        return self.answers[key]

    def _done(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        for part, problem in self.refuse.items():
            if part in f"{path} {json.dumps(body)}":
                return 400, problem
        plural = path.removeprefix("/v1/").partition("?")[0].partition(":")[0]
        if method == "GET":
            return 200, {plural: [r for r in self.records.values() if r["name"].startswith(plural)]}
        if method == "PATCH":
            self.records[plural] |= body
            return 200, self.records[plural]
        if ":" in path:
            self.records[plural]["state"] = path.rpartition(":")[2]
            return 200, self.records[plural]
        if any(r.get("sku") == body.get("sku", "?") for r in self.records.values()):
            return 409, {"reason": "ALREADY_EXISTS", "detail": "there is one"}
        name = f"{plural}/{len(self.records) + 1}"
        self.records[name] = {**body, "name": name}
        return 200, self.records[name]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            method, path, _ = line.decode().split()
            headers = {}
            while (header := (await reader.readline()).decode().strip()) != "":
                name, _, value = header.partition(": ")
                headers[name] = value
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            status, said = self.answer(
                method, path, headers.get("idempotency-key", path), json.loads(body or "{}")
            )
            text = json.dumps(said).encode()
            writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(text)}\r\n\r\n".encode() + text)
        writer.close()


@asynccontextmanager
async def platform() -> AsyncIterator[Platform]:
    other = Platform()
    server = await asyncio.start_server(other.serve, "127.0.0.1", 0)
    other.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield other
    server.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "products.csv").write_text("sku,size\nA,XL\nB,S\nC,S\n")
    (tmp_path / "orders.csv").write_text(
        "id,product,state\n1,A,won\n2,B,open\n3,A,lost\n4,,open\n5,Z,open\n6\n"
    )
    (tmp_path / "lines.csv").write_text("order,quantity\n1,2\n1,3\n2,1\n9,1\n2\n")
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    return tmp_path


async def bring_in(other: Platform, folder: Path) -> dict[str, Tally]:
    api, journal = Api(other.url, connections=4), Journal(folder / "journal.sqlite")
    mapping = ImportMapping.load(folder / "mapping.yaml")
    work = Import(uuid.uuid5(uuid.NAMESPACE_URL, "test"), mapping, folder, api, journal, lambda *_: None)
    tallies = await work.run()
    journal.close()
    await api.close()
    assert all(tally.adds_up for tally in tallies)
    return {tally.step: tally for tally in tallies}


def verdicts(tally: Tally) -> tuple[int, int, int, int]:
    return tally.verdicts[CREATED], tally.verdicts[UPDATED], tally.verdicts[SKIPPED], tally.refused


async def test_every_row_has_one_verdict_and_the_report_says_why(folder):
    async with platform() as other:
        found = await bring_in(other, folder)
    assert verdicts(found["products"]) == (3, 0, 0, 0)
    assert verdicts(found["orders"]) == (3, 0, 3, 2)
    assert found["orders"].reasons["was cancelled"] == 1
    assert found["orders"].reasons["product 'Z' is none of the products that were imported"] == 1
    assert found["orders"].reasons["has 1 values where the header names 3 columns"] == 1
    assert found["orders"].notes["without a product"] == 1
    assert found["products"].notes["size 'XL' is taken as 'extra large'"] == 1
    assert found["products"].notes["products nobody ordered: C"] == 1
    assert verdicts(found["with their rows"]) == (3, 0, 2, 1)
    order = other.records["orders/4"]
    assert (order["product"], order["state"]) == ("products/1", "win")
    assert order["lines"] == [{"quantity": 2}, {"quantity": 3}]


async def test_a_second_run_calls_nothing_and_says_the_same(folder):
    async with platform() as other:
        first = await bring_in(other, folder)
        records, made = json.dumps(other.records), len(other.calls)
        again = await bring_in(other, folder)
    assert json.dumps(other.records) == records
    assert len(other.calls) == made
    assert {s: verdicts(t) for s, t in again.items()} == {s: verdicts(t) for s, t in first.items()}
    assert {s: t.notes for s, t in again.items()} == {s: t.notes for s, t in first.items()}


async def test_a_run_that_lost_its_journal_does_nothing_twice(folder):
    async with platform() as other:
        await bring_in(other, folder)
        records = json.dumps(other.records)
        for path in folder.glob("journal.sqlite*"):
            path.unlink()
        await bring_in(other, folder)
    assert json.dumps(other.records) == records


async def test_a_row_that_says_something_else_now_changes_its_record_but_not_what_is_fixed(folder):
    async with platform() as other:
        await bring_in(other, folder)
        (folder / "products.csv").write_text("sku,size\nA,XL\nB,M\nC,S\n")
        found = await bring_in(other, folder)
    assert verdicts(found["products"]) == (2, 1, 0, 0)
    assert other.records["products/2"] == {"name": "products/2", "sku": "B", "size": "M", "kind": "good"}
    assert other.calls[-1] == "PATCH /v1/products/2?updateMask=sku,size"


async def test_what_is_there_already_is_updated(folder):
    async with platform() as other:
        other.records["products/0"] = {"name": "products/0", "sku": "A", "size": "old"}
        (folder / "products.csv").write_text("sku,size\nA,XL\n")
        found = await bring_in(other, folder)
    assert verdicts(found["products"]) == (0, 1, 0, 0)
    assert other.records["products/0"]["size"] == "extra large"


async def test_a_refused_row_is_told_and_tried_again_from_where_it_stopped(folder):
    async with platform() as other:
        other.refuse[":win"] = {"reason": "STATE_FORBIDS", "detail": "Not now."}
        found = await bring_in(other, folder)
        assert found["orders"].reasons["STATE_FORBIDS: Not now."] == 1
        assert verdicts(found["orders"]) == (3, 0, 3, 3)
        other.refuse.clear()
        made = len(other.records)
        found = await bring_in(other, folder)
    assert len(other.records) == made
    assert verdicts(found["orders"]) == (3, 0, 3, 2)
    assert [r["state"] for r in other.records.values() if "lines" in r and len(r["lines"]) == 2] == ["win"]


async def test_a_service_that_is_away_for_a_moment_is_waited_for(folder):
    async with platform() as other:
        other.busy = 5
        found = await bring_in(other, folder)
    assert verdicts(found["products"]) == (3, 0, 0, 0)
