"""The API's description: complete, true to the contract, and readable as a page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from gateway import openapi, reference
from gateway.contract import PUBLIC, Contract
from gateway.routes import Routes
from tests.gateway.notes import NOTES, stage
from tests.gateway.small import image

REAL = Contract.load()
ROUTES = Routes(REAL)
DOCUMENT = openapi.document(REAL, ROUTES)
OPERATIONS = [
    (path, verb, operation) for path, verbs in DOCUMENT["paths"].items() for verb, operation in verbs.items()
]
SMALL = Contract(image(notes=NOTES))
NOTED = openapi.document(SMALL, Routes(SMALL))


def everything(value):
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from everything(inner)


@pytest.mark.req("INT-08")
def test_every_public_method_is_described_and_none_between_services():
    described = {operation["operationId"].partition(":")[0] for _, _, operation in OPERATIONS}
    assert described == {method.full_name for method in REAL.public.values()}
    assert len(OPERATIONS) == len(ROUTES.rules)
    assert not described & {m.full_name for m in REAL.methods if m.permission == "service"}


def test_every_reference_leads_somewhere():
    for value in everything(DOCUMENT):
        if isinstance(value, dict) and "$ref" in value:
            here = DOCUMENT
            for part in value["$ref"].removeprefix("#/").split("/"):
                here = here[part]


def test_the_variables_of_each_path_are_its_parameters():
    for path, verb, operation in OPERATIONS:
        named = [p["name"] for p in operation["parameters"] if p.get("in") == "path"]
        assert sorted(re.findall(r"\{(\w+)\}", path)) == sorted(named), f"{verb} {path}"
        given = [(p["in"], p["name"]) for p in operation["parameters"] if "$ref" not in p]
        assert len(given) == len(set(given)), f"{verb} {path}"


def test_each_schema_says_what_the_standard_knows():
    kinds = {"object", "array", "string", "integer", "number", "boolean"}
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
        for value in everything(schema):
            if isinstance(value, dict) and isinstance(value.get("type"), str) and "$ref" not in value:
                assert value["type"] in kinds or value is schema.get("properties"), (name, value)
            if isinstance(value, dict) and "pattern" in value and isinstance(value["pattern"], str):
                re.compile(value["pattern"])
        assert set(schema.get("required", ())) <= schema.get("properties", {}).keys()


def test_who_may_call_stands_at_every_operation():
    for _, _, operation in OPERATIONS:
        assert operation["x-permission"]
        assert (operation.get("security") == []) == (operation["x-permission"] == PUBLIC)
        assert operation["summary"], operation["operationId"]


def test_the_whole_document_is_json():
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
    assert (DOCUMENT["openapi"], DOCUMENT["info"]["title"]) == ("3.1.0", "Tradewind")


def test_rules_behaviours_and_comments_come_from_the_contract():
    schemas = NOTED["components"]["schemas"]
    assert schemas["NoteInput"]["required"] == ["textLine"]
    assert schemas["NoteInput"]["properties"].keys() == {"textLine", "price", "size"}
    assert schemas["NotePatch"]["properties"].keys() == {"textLine", "price", "size", "etag"}
    assert "required" not in schemas["NotePatch"]
    assert schemas["NoteInput"]["properties"]["textLine"] == {
        "type": "string",
        "minLength": 1,
        "maxLength": 80,
    }
    assert schemas["Note"]["properties"]["size"] == {
        "type": "string", "format": "int64", "minimum": 0, "exclusiveMaximum": 100,
    }  # fmt: skip
    assert schemas["Note"]["properties"]["state"] == {
        "$ref": "#/components/schemas/Note.State",
        "readOnly": True,
    }
    assert schemas["Note.State"]["description"] == "Whether it is signed.\n- OPEN: Not signed."
    assert schemas["Note"]["additionalProperties"] is False


def test_an_operation_tells_its_path_query_headers_and_refusals():
    sign = NOTED["paths"]["/v1/notes/{note}:sign"]["post"]
    assert (sign["summary"], sign["x-permission"], sign["x-scope"]) == ("Signs one.", "notes.sign", "RECORDS")
    assert sign["requestBody"]["content"]["application/json"]["schema"]["properties"].keys() == {
        "hand", "etag", "requestId",
    }  # fmt: skip
    refs = [p["$ref"].rpartition("/")[2] for p in sign["parameters"] if "$ref" in p]
    assert refs == ["IdempotencyKey", "IfMatch", "AcceptLanguage", "RequestTimeout"]
    assert sign["responses"]["400"]["x-reasons"] == ["FIELD_INVALID", "REQUEST_ID_REUSED", "STATE_FORBIDS"]
    assert sign["responses"]["412"]["x-reasons"] == ["ETAG_MISMATCH"]
    listing = NOTED["paths"]["/v1/notes"]["get"]
    names = [p["name"] for p in listing["parameters"] if "$ref" not in p]
    assert names == [
        "pageSize", "pageToken", "filter", "showDeleted", "readMask", "states",
        "range.fromSize", "range.toSize", "since",
    ]  # fmt: skip
    events = NOTED["paths"]["/v1/events/notes"]["get"]["responses"]["200"]["content"]
    assert events.keys() == {"text/event-stream", "application/x-ndjson"}


def test_every_reason_is_listed_with_both_sentences():
    for reason in DOCUMENT["x-reasons"]:
        assert reason["sentence"]["en"] and reason["sentence"]["zh"]
        assert 400 <= reason["status"] <= 599, reason["reason"]
    assert {reason["reason"] for reason in DOCUMENT["x-reasons"]} == REAL.reasons.keys()


class Page(HTMLParser):
    """What a page holds: anchors, links, and whatever it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        if "id" in told:
            self.ids.append(told["id"])
        if tag == "a":
            self.links.append(told["href"])
        if "src" in told or tag in ("link", "img", "iframe"):
            self.loaded.append(tag)
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open[-1] != tag:
            assert self.open.pop() in ("p", "td", "tr", "html")
        self.open.pop()


def test_the_page_stands_alone_and_all_its_links_lead_somewhere():
    page = Page()
    page.feed(reference.page(DOCUMENT))
    assert page.loaded == []
    assert len(page.ids) == len(set(page.ids))
    targets = {link.removeprefix("#") for link in page.links if link.startswith("#")}
    assert targets <= set(page.ids)
    assert {link for link in page.links if not link.startswith("#")} == {"/openapi.json"}
    assert {f"reason-{name}" for name in REAL.reasons} <= set(page.ids)


def test_a_comment_cannot_become_markup():
    text = "**Bold** `code` <script>alert(1)</script>"
    assert (
        reference.prose(text)
        == "<p><strong>Bold</strong> <code>code</code> &lt;script&gt;alert(1)&lt;/script&gt;</p>"
    )


@pytest.mark.req("INT-08")
async def test_document_and_page_are_served_to_anybody():
    async with stage() as running:
        answer = await running.http.get("/openapi.json", headers={"authorization": ""})
        assert (answer.status_code, answer.json()) == (
            200,
            openapi.document(running.contract, Routes(running.contract)),
        )
        again = await running.http.get("/openapi.json", headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304
        page = await running.http.get("/docs")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "script-src 'sha256-" in page.headers["content-security-policy"]
        assert (await running.http.get("/")).headers["location"] == "/docs"
        assert (await running.http.post("/docs")).status_code == 405
