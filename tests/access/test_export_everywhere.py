"""Every list of the contract as a file: what its List answers to the same caller, no more and no less."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import orjson
import pytest
from google.protobuf import json_format

from chassis.kernel.record import replace
from gateway.bounds import Rate
from gateway.export import columns
from gateway.export.columns import Listed, lists
from gateway.export.csv_file import exact
from gateway.limits import Buckets
from gateway.rpc.export import ExportRpc
from tests.access.matrix.company import Fellows
from tests.platform import role_permissions

LISTS = lists()


@pytest.fixture(autouse=True)
def at_will(fellows: Fellows) -> Iterator[None]:
    """As often as the tests like."""
    rpc = next(one for one in fellows.services["access"].runtime.rpcs if isinstance(one, ExportRpc))
    rpc._places._begun = Buckets(Rate("exports", 1e6, 10**6))
    yield
    del rpc.__dict__["_places"]


async def listed(fellows: Fellows, found: Listed, token: str, **asked: Any) -> list[Any]:
    """Every record that the List answers."""
    call = fellows.services[found.method.home].method(found.method.name, token)
    records, page = [], ""
    while True:
        answer = await call(page_size=200, page_token=page, **asked)
        records += getattr(answer, found.field)
        page = answer.next_page_token
        if not page:
            return records


async def exported(fellows: Fellows, token: str, **asked: Any) -> list[dict[str, str]]:
    """The rows of the file."""
    data, last = b"", False
    async for part in fellows.services["access"].method("ExportRecords", token)(**asked):
        data += part.data
        last = part.last
    assert last
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def as_json(record: Any, name: str) -> str:
    """The cell of a column, found in the record's JSON: by another way than the file's."""
    held: Any = json_format.MessageToDict(
        record, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    *path, last = name.split(".")
    described = record.DESCRIPTOR
    for step in path:
        field = described.fields_by_name[step]
        if step not in held and not field.is_repeated:
            return ""
        held, described = held.get(step, {}), field.message_type
        if field.is_repeated:
            return str(len(held))
        if described.name == "Money":
            return str(held.get("currency_code", ""))
    value, kind = held.get(last), described.fields_by_name[last]
    if value is None or value == [] or (kind.enum_type and value.endswith("UNSPECIFIED")):
        return ""
    if isinstance(value, dict) and kind.message_type.name == "Money":
        amount = int(value.get("units", 0)) * 10**9 + value.get("nanos", 0)
        return f"{Decimal(amount) / 10**9:.2f}" if amount % 10**7 == 0 else f"{Decimal(amount) / 10**9}"
    if isinstance(value, dict):
        if kind.message_type.name == "Decimal":
            return str(value.get("value", ""))
        return "{year:04d}-{month:02d}-{day:02d}".format(**value)
    if isinstance(value, list):
        return orjson.dumps(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


@pytest.mark.req("X-03")
@pytest.mark.parametrize("column", ["adm", "mgr", "fin"])
async def test_every_list_is_exported_as_it_is_listed(fellows: Fellows, column: str) -> None:
    token, wrong, told = fellows.token(column), [], 0
    for collection, found in LISTS.items():
        permission = found.method.permission
        if permission not in fellows.callers[column].who.permissions:
            with pytest.raises(Exception, match="This needs the permission"):
                await exported(fellows, token, collection=collection)
            continue
        records = await listed(fellows, found, token, order_by="create_time desc", show_deleted=True)
        rows = await exported(
            fellows, token, collection=collection, order_by="create_time desc", show_deleted=True
        )
        told += len(rows)
        if [row["name"] for row in rows] != [record.name for record in records]:
            wrong.append(f"{collection}: other records")
        for row, record in zip(rows, records, strict=False):
            for name, said in row.items():
                if exact(said) != as_json(record, name):
                    wrong.append(f"{collection}.{name}: {said!r} instead of {as_json(record, name)!r}")
    assert not wrong, "\n".join(wrong[:20])
    assert told > 40


@pytest.mark.req("X-03", "SEC-03")
async def test_no_role_exports_a_record_that_it_does_not_list_nor_more_than_it_may_export(
    fellows: Fellows,
) -> None:
    """A role of an organization's own may read all and export what is its own: the narrower of both holds."""
    for word in ("customers", "opportunities", "orders", "contacts", "invoices"):
        found = LISTS[word]
        whole = {record.name for record in await listed(fellows, found, fellows.token("adm"))}
        own = {record.name for record in await listed(fellows, found, fellows.token("rep"))}
        assert own < whole
        who = fellows.callers["adm"].who
        assert who
        for scope, names in (("own", own), ("all", whole)):
            narrow = replace(who, permissions={**who.permissions, "records.export": scope})
            token = fellows.signer.mint(narrow, 120)
            assert {row["name"] for row in await exported(fellows, token, collection=word)} == names
        wide = replace(
            who, permissions={**role_permissions("sales_rep"), "records.export": "all"}, fields=None
        )
        rows = await exported(fellows, fellows.signer.mint(wide, 120), collection=word)
        assert {row["name"] for row in rows} == own


def test_every_noun_that_is_listed_with_a_filter_can_be_exported_and_every_field_has_its_column() -> None:
    assert (
        len(LISTS) >= 30 and {"customers", "orders", "invoices", "users", "shares/customer"} <= LISTS.keys()
    )
    for found in LISTS.values():
        names = {column.name for column in columns.columns_of(found.noun)}
        tops = {column.top for column in columns.columns_of(found.noun)}
        assert tops == {field.name for field in found.noun.fields} and len(names) >= len(tops)
        assert "name" in names
