"""Lists as files, at the doors before real services: which columns, how they end, and what is on record."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
import zipfile
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import httpx
import pytest
from tradewind.access.v1 import export_pb2

from chassis.kernel.refusals import Refused
from gateway.bounds import Rate
from gateway.limits import Buckets
from gateway.rpc.export import MOST_EACH, ExportRpc
from tests.access.conftest import Company, Person
from tests.access.doors import Doors
from tests.access.test_audit_entries import Auditor
from tests.platform import Running

EXPORT = "/tradewind.access.v1.ExportService/ExportRecords"
PATIENCE = (
    20.0  # of these tests; that what changes is felt within five seconds is measured by test_revocation
)


async def exported(
    doors: Doors, token: str, collection: str, accept: str = "", **asked: Any
) -> httpx.Response:
    """What GET /v1/<collection>:export answers."""
    headers = {"Authorization": f"Bearer {token}"} | ({"Accept": accept} if accept else {})
    return await doors.client.get(f"/v1/{collection}:export", params=asked, headers=headers)


def rows_of(answer: httpx.Response) -> list[dict[str, str]]:
    """The rows of a CSV file that came whole."""
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.content.decode())))


async def customers(doors: Doors, who: Person, count: int, **fields: Any) -> list[dict[str, Any]]:
    """So many customers of somebody."""
    made = []
    for n in range(count):
        status, said = await doors.ask(
            "POST", "/v1/customers", who.sign_in.access_token, {"displayName": f"Acme {n}", **fields}
        )
        assert status == 200, said
        made.append(said)
    return made


async def soon(ask: Callable[[], Awaitable[httpx.Response]], status: int) -> httpx.Response:
    """The answer, once what was changed is felt."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if (answer := await ask()).status_code == status:
                return answer
            await asyncio.sleep(0.3)


@pytest.fixture
async def boss(company: Company) -> Person:
    """The administrator."""
    return await company.administrator()


async def test_a_list_comes_as_a_file_with_its_filter_its_order_and_its_columns(
    doors: Doors, boss: Person
) -> None:
    await customers(doors, boss, 3, creditLimit={"currencyCode": "CNY", "units": "500", "nanos": 250_000_000})
    token = boss.sign_in.access_token
    answer = await exported(
        doors, token, "customers", filter='display_name != "Acme 1"', orderBy="display_name desc",
        fields="display_name,credit_limit", byteOrderMark="true",
    )  # fmt: skip
    assert answer.content.decode("utf-8") == (
        "\ufeffdisplay_name,credit_limit,credit_limit.currency\r\nAcme 2,500.25,CNY\r\nAcme 0,500.25,CNY\r\n"
    )
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="customers.csv"'


async def test_who_may_not_export_is_told_so_before_anything_comes(
    doors: Doors, company: Company, boss: Person
) -> None:
    rep = await company.person("sales_rep")
    for collection in ("customers", "products", "users", "nothing"):
        answer = await exported(doors, rep.sign_in.access_token, collection)
        assert (answer.status_code, answer.json()["reason"]) == (403, "PERMISSION_DENIED")
        assert answer.json()["facts"] == {"permission": "records.export"}
    token = boss.sign_in.access_token
    for asked, reason in (
        ({"fields": "display_nam"}, "FIELD_UNKNOWN"), ({"filter": "display_nam = 1"}, "FILTER_INVALID"),
        ({"orderBy": "x"}, "ORDER_INVALID"), ({"pageToken": "abc"}, "PAGE_TOKEN_INVALID"),
        ({"format": "XLSX", "pageToken": "abc"}, "FIELD_INVALID"), ({"size": "3"}, "FIELD_UNKNOWN"),
    ):  # fmt: skip
        said = (await exported(doors, token, "customers", **asked)).json()
        assert said["reason"] == reason, (asked, said)
    assert (await exported(doors, token, "nothing")).json()["reason"] == "FIELD_INVALID"


async def parts_of(doors: Doors, token: str, collection: str, **asked: Any) -> list[Any]:
    """The parts of a file over gRPC, up to its end."""
    call = doors.channel.unary_stream(
        EXPORT, export_pb2.ExportRecordsRequest.SerializeToString, export_pb2.ExportPart.FromString
    )
    request = export_pb2.ExportRecordsRequest(collection=collection, **asked)
    return [part async for part in call(request, timeout=30, metadata=[("authorization", f"Bearer {token}")])]


def small(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Pages of so many records."""
    monkeypatch.setattr("gateway.rpc.export.PAGE", size)


async def test_the_parts_say_where_to_go_on_and_together_are_the_file(
    doors: Doors, boss: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch, 2)
    await customers(doors, boss, 5)
    token = boss.sign_in.access_token
    whole = (await exported(doors, token, "customers", fields="name,display_name")).content
    for accept in ("application/x-ndjson", "text/event-stream"):
        said = await exported(doors, token, "customers", accept, fields="name,display_name")
        lines = [json.loads(line.removeprefix("data: ")) for line in said.text.splitlines() if line]
        assert b"".join(base64.b64decode(part.get("data", "")) for part in lines) == whole
        assert [part["rows"] for part in lines] == ["2", "4", "5"]
        assert [part.get("last", False) for part in lines] == [False, False, True]
    parts = await parts_of(doors, token, "customers", fields=["name,display_name"])
    assert b"".join(part.data for part in parts) == whole and parts[-1].last
    for at, part in enumerate(parts[:-1]):
        rest = await exported(
            doors, token, "customers", fields="name,display_name", pageToken=part.next_page_token
        )
        assert b"".join(each.data for each in parts[: at + 1]) + rest.content == whole
    for asked in ({"fields": "name"}, {"fields": "name,display_name", "filter": "state = ACTIVE"}):
        said = await exported(doors, token, "customers", pageToken=parts[0].next_page_token, **asked)
        assert said.json()["reason"] == "PAGE_TOKEN_INVALID"  # its columns, or its rows, would be others


@pytest.mark.req("X-61", "X-03")
async def test_what_left_is_on_record_before_and_after_without_the_values_of_its_filter(
    doors: Doors, boss: Person, access: Running, customer: Running
) -> None:
    token = boss.sign_in.access_token
    await customers(doors, boss, 3)
    filter_ = 'display_name : "Acme" AND NOT (tax_id = "91310000MA1K4WXY7Q" OR employees > -5)'
    for accept in ("", "application/x-ndjson"):
        said = await exported(
            doors, token, "customers", accept, filter='display_name : "Acme"', fields="name,tax_id"
        )
        assert said.status_code == 200
    assert (await exported(doors, token, "customers", filter=filter_, format="XLSX")).status_code == 200
    auditor = Auditor(doors, token, access, customer)
    ends = await auditor.entries(outcome="EXPORTED", method="ExportRecords")
    assert [entry["export"]["state"] for entry in ends] == ["FINISHED", "BEGUN"] * 3
    end, begun = ends[2:4]
    assert (end["actor"], end["network"], end["service"]) == (boss.name, "127.0.0.1", "access")
    assert end["fields"] == begun["fields"] == ["customers.tax_id"]
    assert end["export"]["rows"] == "3" and "rows" not in begun["export"]
    assert end["export"] | {"rows": "", "state": ""} == begun["export"] | {"rows": "", "state": ""}
    told = ends[0]["export"]
    assert (told["collection"], told["format"]) == ("customers", "XLSX") and "tax_id" in told["columns"]
    assert told["filter"] == "display_name : ? AND NOT ( tax_id = ? OR employees > ? )"
    assert "91310000" not in str(ends) and "Acme" not in str(ends)


async def test_masks_stay_and_what_is_hidden_has_no_column(
    doors: Doors, company: Company, boss: Person
) -> None:
    token = boss.sign_in.access_token
    await customers(
        doors, boss, 1, taxId="91310000MA1K4WXY7Q", creditLimit={"currencyCode": "CNY", "units": "5"},
        employees=12,
    )  # fmt: skip
    role = {
        "display_name": "Takes away", "grants": [{"permission": p, "scope": "ALL"} for p in
                                                 ("customers.read", "records.export")],
        "field_rules": [{"noun": "customers", "field": field, "rule": rule} for field, rule in
                        (("tax_id", "MASKED"), ("credit_limit", "HIDDEN"), ("employees", "MASKED"),
                         ("annual_revenue", "MASKED"))],
    }  # fmt: skip
    taker = await company.person((await boss.CreateRole(role=role)).name)
    own = taker.sign_in.access_token
    (row,) = rows_of(await soon(lambda: exported(doors, own, "customers"), 200))
    assert (row["tax_id"], row["employees"], row["annual_revenue"]) == ("***", "", "")
    assert not [name for name in row if name.startswith("credit_limit")]
    for asked in ({"fields": "credit_limit"}, {"fields": "creditLimit"}, {"filter": "tax_id = 1"}):
        said = await exported(doors, own, "customers", **asked)
        assert said.json()["reason"] == "FIELD_RESTRICTED", asked
    book = await exported(doors, own, "customers", format="XLSX")
    assert b"91310000MA1K4WXY7Q" in unzipped(await exported(doors, token, "customers", format="XLSX"))
    assert b"91310000MA1K4WXY7Q" not in unzipped(book) and b"credit_limit" not in unzipped(book)


def unzipped(answer: httpx.Response) -> bytes:
    """All parts of a workbook."""
    with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
        assert book.testzip() is None
        return b"".join(book.read(name) for name in book.namelist())


class Halfway:
    """Lists that answer so many pages, and then wait until they are let go on, or are refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pages: int) -> None:
        self.on, self.reason = asyncio.Event(), ""
        small(monkeypatch, 1)
        asked, ask = 0, ExportRpc.ask

        async def pausing(rpc: ExportRpc, *about: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked > pages:
                await self.on.wait()
                if self.reason:
                    reason, self.reason = self.reason, ""
                    raise Refused(reason, what="the customer service")
            return await ask(rpc, *about)

        monkeypatch.setattr(ExportRpc, "ask", pausing)


async def broken(doors: Doors, token: str, accept: str, begun: asyncio.Semaphore) -> str:
    """What came of a file before it broke off; fails when it ends as if it were whole."""
    data = b""
    headers = {"Authorization": f"Bearer {token}", "Accept": accept}
    path = "/v1/customers:export?fields=name,display_name"
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        async with doors.client.stream("GET", path, headers=headers, timeout=20) as answer:
            assert answer.status_code == 200
            async for part in answer.aiter_bytes():
                data += part
                begun.release()
    return data.decode()


@pytest.mark.req("X-03")
@pytest.mark.parametrize("change", ["session", "role"])
async def test_a_file_breaks_off_once_its_caller_is_out_or_may_do_less(
    doors: Doors,
    company: Company,
    boss: Person,
    access: Running,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    await customers(doors, boss, 4)
    person = await company.person("finance")
    token, begun = person.sign_in.access_token, asyncio.Semaphore(0)
    Halfway(monkeypatch, 4)
    files = [
        asyncio.create_task(broken(doors, token, accept, begun)) for accept in ("*/*", "application/x-ndjson")
    ]

    async def over_grpc() -> grpc.StatusCode:
        with pytest.raises(grpc.aio.AioRpcError) as no:
            await parts_of(doors, token, "customers")
        code: grpc.StatusCode = no.value.code()
        return code

    edge = asyncio.create_task(over_grpc())
    for _ in files:
        await asyncio.wait_for(begun.acquire(), 10)
    assert not any(each.done() for each in (*files, edge))
    if change == "session":
        await person.SignOut()
    else:
        await boss.UpdateUser(
            user={"name": person.name, "roles": ["roles/warehouse"]}, update_mask={"paths": ["roles"]}
        )
    async with asyncio.timeout(PATIENCE):
        raw, lines = await asyncio.gather(*files)
        assert await edge is grpc.StatusCode.UNAVAILABLE
    assert raw.startswith("name,display_name\r\n") and "last" not in lines
    auditor = Auditor(doors, boss.sign_in.access_token, access)
    ends = await auditor.entries(outcome="EXPORTED", actor=person.name)
    states = [entry["export"]["state"] for entry in ends]
    assert sorted(states) == ["BEGUN"] * 3 + ["BROKEN_OFF"] * 3


async def test_a_file_that_broke_off_goes_on_where_it_was(
    doors: Doors, boss: Person, monkeypatch: pytest.MonkeyPatch, access: Running
) -> None:
    await customers(doors, boss, 4)
    token, begun = boss.sign_in.access_token, asyncio.Semaphore(0)
    whole = (await exported(doors, token, "customers", fields="name,display_name")).text
    halfway = Halfway(monkeypatch, 2)
    halfway.reason = "UNAVAILABLE"
    halfway.on.set()
    said = await broken(doors, token, "application/x-ndjson", begun)
    *lines, problem = [json.loads(line) for line in said.splitlines()]
    assert problem["problem"]["reason"] == "UNAVAILABLE" and len(lines) == 2
    have = b"".join(base64.b64decode(line["data"]) for line in lines).decode()
    rest = await exported(
        doors, token, "customers", fields="name,display_name", pageToken=lines[-1]["nextPageToken"]
    )
    assert have + rest.text == whole
    auditor = Auditor(doors, token, access)
    last, _, end, *_ = await auditor.entries(outcome="EXPORTED")
    assert (end["export"]["state"], end["reason"], end["export"]["rows"]) == (
        "BROKEN_OFF",
        "UNAVAILABLE",
        "2",
    )
    assert last["export"]["resumed"] and last["export"]["rows"] == "2"


async def test_no_csv_goes_where_a_broken_file_could_not_be_told_from_a_whole_one(
    doors: Doors, boss: Person
) -> None:
    await customers(doors, boss, 1)
    for asked, status in (("", b"426"), ("?format=XLSX", b"200")):
        reader, writer = await asyncio.open_connection("127.0.0.1", doors.client.base_url.port)
        head = (
            f"GET /v1/customers:export{asked} HTTP/1.0\r\nAuthorization: Bearer {boss.sign_in.access_token}"
        )
        writer.write(f"{head}\r\n\r\n".encode())
        said = await asyncio.wait_for(reader.read(), 10)
        assert said.split(b" ")[1] == status
        writer.close()


@pytest.mark.req("SEC-07")
async def test_an_export_is_asked_for_granted_for_one_list_and_ends_when_it_is_revoked(
    doors: Doors, company: Company, boss: Person
) -> None:
    rep = await company.person("sales_rep")
    own = rep.sign_in.access_token
    await customers(doors, rep, 2)
    other = await doors.ask("POST", "/v1/customers", boss.sign_in.access_token, {"displayName": "Boreal"})
    assert other[0] == 200
    for wanted, reason in (("nothing", "FIELD_INVALID"), ("movements", "NOTHING_TO_ASK")):
        said = {"export": wanted, "reason": "A mailing"}
        assert (await doors.ask("POST", "/v1/accessRequests", own, said))[1]["reason"] == reason
    said = {"export": "customers", "reason": "A mailing"}
    boss_token = boss.sign_in.access_token
    assert (await doors.ask("POST", "/v1/accessRequests", boss_token, said))[1]["reason"] == "NOTHING_TO_ASK"
    status, asked = await doors.ask("POST", "/v1/accessRequests", own, said)
    assert (status, asked["state"]) == (200, "PENDING"), asked
    assert (await exported(doors, own, "customers")).status_code == 403
    decider = {"permission": "accessRequests.decide", "scope": "ALL"}
    reading = {"permission": "accessRequests.read", "scope": "ALL"}
    narrow = await boss.CreateRole(role={"display_name": "Decides", "grants": [decider, reading]})
    peer = await company.person(narrow.name)
    grant = f"/v1/{asked['name']}:grant"

    async def granted() -> httpx.Response:
        headers = {"Authorization": f"Bearer {peer.sign_in.access_token}"}
        return await doors.client.post(grant, json={}, headers=headers)

    refused = await soon(granted, 403)
    assert refused.json()["reason"] in ("GRANT_EXCEEDS_OWN", "PERMISSION_DENIED")
    assert (await doors.ask("POST", grant, boss.sign_in.access_token, {}))[0] == 200
    answer = await soon(lambda: exported(doors, own, "customers"), 200)
    assert len(rows_of(answer)) == 2  # their own, as they list them
    assert (await exported(doors, own, "leads")).status_code == 403  # that list alone
    assert (await doors.ask("POST", f"/v1/{asked['name']}:revoke", boss.sign_in.access_token, {}))[0] == 200
    await soon(lambda: exported(doors, own, "customers"), 403)


async def test_so_many_at_once_and_so_often(
    doors: Doors, boss: Person, access: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    await customers(doors, boss, 2)
    token = boss.sign_in.access_token
    halfway = Halfway(monkeypatch, MOST_EACH)
    files = [asyncio.create_task(exported(doors, token, "customers")) for _ in range(MOST_EACH)]
    rpc = next(one for one in access.runtime.rpcs if isinstance(one, ExportRpc))
    whose = f"{boss.company.tenant}/{boss.name}"
    async with asyncio.timeout(10):
        while rpc._places._each[whose] < MOST_EACH:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    told = await exported(doors, token, "customers")
    assert (told.status_code, told.json()["reason"]) == (429, "OVERLOADED")
    halfway.on.set()
    assert [answer.status_code for answer in await asyncio.gather(*files)] == [200] * MOST_EACH
    assert rpc._places._each[whose] == 0
    rpc._places._begun = Buckets(Rate("exports", per_second=0.001, burst=1))
    assert (await exported(doors, token, "customers")).status_code == 200
    assert (await exported(doors, token, "customers")).status_code == 429
    del rpc.__dict__["_places"]


async def test_the_door_is_in_the_description_of_the_api_with_every_kind_of_answer(doors: Doors) -> None:
    status, said = await doors.ask("GET", "/openapi.json")
    assert status == 200
    for path in ("/v1/{collection}:export", "/v1/shares/{collection}:export"):
        told = said["paths"][path]["get"]["responses"]["200"]["content"]
        assert {"text/csv", "application/x-ndjson", "text/event-stream"} < told.keys() and len(told) == 4
