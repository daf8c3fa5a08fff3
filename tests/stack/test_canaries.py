"""What people entrust to an installation, looked for byte by byte in all that the installation writes."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from stack import layout, programs
from stack.api import Api
from tests.installation import Installation, installed

PASSWORD = "a long enough passphrase"
SKU = "SEED-1"
HOUSE = "Voliere GmbH"
BOTH = ["roles/administrator", "roles/sales_manager"]
# Each stands in one field, and nowhere else in the world.
CANARIES = {
    "contact": "Zibeline Kanarienvogel", "given": "Zibelinchen", "salutation": "Dr. Quetzalfeder",
    "contact mail": "zibeline.kanari@voliere.example", "contact phone": "+49 451 770 04711",
    "note": "füttert nur Sonnenblumenkerne 葵花籽", "lead": "金丝雀小姐",
    "lead mail": "jinsique@voliere.example", "lead phone": "021-5555 04712",
    "customer mail": "haus@voliere.example",
    "customer phone": "+49 451 770 04713",
    "street": "Vogelsangweg 4714", "recipient": "Pirol Zwitscher",
    "receiver": "Empfänger Stieglitz", "receiver phone": "+86 139 0000 4715", "way": "Nachtigallenstieg 4716",
    "accepter": "Akzeptantin Girlitz", "signer": "Unterzeichner Gimpel",
    "user mail": "benutzer.zeisig@voliere.example",
    "device": "Rotkehlchenfon 4717", "changed": "Zibeline Umbenannt",
    "private customer": "Wendehals Ahlbeck", "as registered": "Nepomuk Wendehals", "tax id": "DE136695976",
    "site": "wendehals-ahlbeck.example", "told of them": "sammelt Wachteleier 鹌鹑蛋",
    "wished for": "Steinkauzröhre 4720", "happened": "zog 2024 nach Sperlingslust",
}  # fmt: skip


@pytest.fixture(scope="module")
def told() -> Iterator[Installation]:
    """An installation that was entrusted with every canary, over HTTP."""
    with installed("--empty") as found:
        yield found


def forms(canary: str) -> list[bytes]:
    """How a text may lie somewhere: as it is, folded, its digits, in JSON, base64 or hexadecimal."""
    digits = "".join(c for c in canary if c.isdigit())
    plain = [canary, canary.casefold(), canary.encode("unicode_escape").decode()]
    plain += [digits] if len(digits) > 8 else []
    found = [text.encode() for text in plain]
    for shift in range(3):  # wherever it begins in what was encoded
        found.append(base64.b64encode(b"\0" * shift + canary.encode())[4 if shift else 0 : -4])
    return [*dict.fromkeys([*found, canary.encode().hex().encode()])]


async def entrust(installation: Installation) -> Api:
    """Say every canary where it belongs, and change one, ask one twice, and have one refused."""
    api = await installation.api()
    c = CANARIES
    address = {"use": "OFFICE", "recipient": c["recipient"], "street": c["street"], "city": "Lübeck"}
    house = await api.post("/v1/customers", {
        "displayName": HOUSE, "emails": [c["customer mail"]], "phones": [c["customer phone"]],
        "addresses": [address],
    })  # fmt: skip
    person = {
        "customer": house["name"], "displayName": c["contact"], "givenName": c["given"],
        "salutation": c["salutation"], "emails": [c["contact mail"]], "phones": [c["contact phone"]],
        "note": c["note"],
    }  # fmt: skip
    contact = await api.post("/v1/contacts", person)
    await api.patch(f"/v1/{contact['name']}", {"displayName": c["changed"]})
    assert (await api.get(f"/v1/{contact['name']}"))["note"] == c["note"]
    private = await api.post("/v1/customers", {
        "kind": "PERSON", "displayName": c["private customer"], "legalName": c["as registered"],
        "countryCode": "DE", "taxId": c["tax id"], "website": c["site"], "description": c["told of them"],
        "needs": [{"text": c["wished for"]}],
        "history": [{"date": {"year": 2024, "month": 5, "day": 1}, "text": c["happened"]}],
    })  # fmt: skip
    await api.patch(f"/v1/{private['name']}", {"industry": "Ornithology"})
    assert await api.get("/v1/customers", filter='display_name : "wendehals"')
    lead = await api.post(
        "/v1/leads",
        {
            "companyName": "Aviary Ltd.",
            "person": c["lead"],
            "email": c["lead mail"],
            "phone": c["lead phone"],
        },
    )
    await api.post(f"/v1/{lead['name']}:qualify", {})
    await api.post(f"/v1/{lead['name']}:convert", {})
    await api.get("/v1/contacts", filter=f'emails : "{c["contact mail"]}"')
    user = {"displayName": "Somebody", "email": c["user mail"], "roles": BOTH}
    code = (await api.post("/v1/users", user))["invitationCode"]
    await api.post("/v1/users:activate", {"invitationCode": code, "password": PASSWORD})
    await api.post("/v1/sessions", {"email": c["user mail"], "password": PASSWORD, "device": c["device"]})
    other = await Api(installation.http).sign_in(c["user mail"], PASSWORD)
    await _sell(api, other, house["name"])
    await other.close()
    return api


async def _sell(api: Api, other: Api, customer: str) -> None:
    """A quote that somebody accepts, a contract that somebody signs, an order that somebody receives."""
    goods = await api.post("/v1/products", {
        "sku": SKU, "displayName": "Seeds", "unit": "bag", "kind": "SERVICE",
        "listPrice": {"currencyCode": "EUR", "units": "10"},
    })  # fmt: skip
    line = {"product": goods["name"], "description": "Seeds", "quantity": {"value": "1"},
            "unitPrice": {"currencyCode": "EUR", "units": "10"}}  # fmt: skip
    quote = await api.post("/v1/quotes", {"customer": customer, "currency": "EUR", "lines": [line]})
    for verb, said in (("submit", {}), ("send", {}), ("accept", {"accepter": CANARIES["accepter"]})):
        quote = await api.post(f"/v1/{quote['name']}:{verb}", said)
    contract = await api.post("/v1/contracts", {
        "customer": customer, "title": "Seeds", "currency": "EUR", "lines": [line],
        "startDate": {"year": 2026, "month": 1, "day": 1}, "endDate": {"year": 2027, "month": 1, "day": 1},
    })  # fmt: skip
    await api.post(f"/v1/{contract['name']}:submit", {})
    await other.post(f"/v1/{contract['name']}:approve", {})
    await api.post(f"/v1/{contract['name']}:sign", {
        "signers": [{"person": CANARIES["signer"], "party": "Voliere"}], "fileHash": "ab" * 32,
    })  # fmt: skip
    there = {
        "recipient": CANARIES["receiver"],
        "phone": CANARIES["receiver phone"],
        "street": CANARIES["way"],
    }
    await api.post("/v1/orders", {"customer": customer, "currency": "EUR", "lines": [line], "shipTo": there})


def written(installation: Installation) -> Iterator[tuple[str, bytes]]:
    """Everything on disk: databases, write-ahead log, broker, logs; and a dump of every database."""
    for folder in ("postgres", "nats", "logs"):
        for place, _, names in os.walk(installation.home / folder):
            for name in names:
                path = Path(place) / name
                if path.is_file():
                    yield str(path.relative_to(installation.home)), path.read_bytes()
    yield "supervisor.log", (installation.home / "supervisor.log").read_bytes()
    with installation.servers() as servers:
        for process in layout.PROCESSES:
            owner = servers.urls(process)[0]
            where, env = programs.told(owner)
            tool = programs.program("pg_dump", "")
            dump = [tool, "--enable-row-security", "--no-password", f"--dbname={where}"]
            dumped = subprocess.run(dump, env=env, capture_output=True, check=True)
            yield f"dump of {process}", dumped.stdout


@pytest.mark.req("SEC-05")
async def test_nothing_personal_lies_anywhere_in_plain(told: Installation) -> None:
    api = await entrust(told)
    await api.close()
    wanted = [(what, form) for what, canary in CANARIES.items() for form in forms(canary)]
    found: dict[str, Any] = {}
    seen = dict.fromkeys(("wal", "dump", "nats", "logs", HOUSE), 0)
    for where, content in written(told):
        for what, form in wanted:
            if form in content:
                found.setdefault(what, []).append((where, form))
        seen["wal"] += len(content) if "pg_wal" in where else 0
        for kind in ("dump", "nats", "logs"):
            seen[kind] += len(content) if where.startswith(kind) else 0
        seen[HOUSE] += content.count(HOUSE.encode())
    assert found == {}, found
    # That it was looked for where things do lie: what is not personal is found in every kind of place.
    assert all(seen.values()), seen


PRIVATE = {
    "name": "Privatier Ziegenmelker", "legal": "Hieronymus Ziegenmelker", "wish": "Wendehalskasten 4718",
    "home": "Kuckucksweg 4719",
}  # fmt: skip


async def _finished(api: Api, request: dict[str, Any]) -> dict[str, Any]:
    """The request once its saga has ended."""
    for _ in range(300):
        request = await api.get(f"/v1/{request['name']}")
        if request["state"] == "DONE":
            break
        await asyncio.sleep(0.2)
    return request


def _below(installation: Installation, process: str, *statements: str) -> list[Any]:
    """Asked of a database, as the one who may everything."""
    rows: list[Any] = []
    with installation.servers() as servers:
        assert servers.postgres
        url = servers.postgres.url(layout.database_of(process))
        with psycopg.connect(url, autocommit=True) as db:
            for statement in statements:
                done = db.execute(statement)
                rows += done.fetchall() if done.description else []
    return rows


def _lying(installation: Installation, wanted: dict[str, list[bytes]]) -> dict[str, set[str]]:
    """What of it is found, and where."""
    found: dict[str, set[str]] = {what: set() for what in wanted}
    for where, content in written(installation):
        for what, texts in wanted.items():
            if any(text in content for text in texts):
                found[what].add(where)
    return found


async def test_who_was_erased_lies_nowhere_but_in_the_write_ahead_log(told: Installation) -> None:
    """Nor does the salt of their key: what is sealed in a copy of before opens no more."""
    api = await told.api()
    person = await api.post("/v1/customers", {
        "kind": "PERSON", "displayName": PRIVATE["name"], "legalName": PRIVATE["legal"],
        "emails": ["ziegenmelker@voliere.example"], "needs": [{"text": PRIVATE["wish"]}],
        "addresses": [{"street": PRIVATE["home"], "city": "Lübeck"}],
    })  # fmt: skip
    asked = f"SELECT person_key FROM customers WHERE id = '{person['name'].partition('/')[2]}'"
    ((key,),) = _below(told, "customer", asked)
    wanted = {what: forms(text) for what, text in PRIVATE.items()}
    wanted["salt"] = [bytes(key)[4:], bytes(key)[4:].hex().encode()]
    before = _lying(told, wanted)
    # Of all this only the salt lies there as it is, without which nobody can open the rest.
    assert "dump of customer" in before.pop("salt") and before == {what: set() for what in PRIVATE}
    request = await api.post("/v1/personalDataRequests", {
        "kind": "ERASURE", "subject": person["name"], "reason": "asked by letter",
    })  # fmt: skip
    await api.post(f"/v1/{request['name']}:erase", {})
    assert (await _finished(api, request))["state"] == "DONE"
    await api.close()
    for process in layout.PROCESSES:
        _below(told, process, "VACUUM (FULL, ANALYZE)", "CHECKPOINT")
    after = _lying(told, wanted)
    assert {where for found in after.values() for where in found if "pg_wal" not in where} == set()
