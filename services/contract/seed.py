"""The demo company's offers, agreements, invoices and receipts, made through the public API.

Representatives offer and draft, their manager approves and signs, the bookkeeper takes the money.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

MANAGER, EXECUTIVE, BOOKKEEPER = "liang@farsail.example", "gao@farsail.example", "qian@farsail.example"
PARTY = "远帆贸易 Farsail Trading"


@dataclass(frozen=True)
class Offer:
    """A quote: whose, for what, how much is taken off, how far it came."""

    customer: str
    title: str
    lines: tuple[tuple[str, int], ...]
    discount: str
    fate: str
    answer: str = ""  # who accepted, or why not


OFFERS = (
    Offer(
        "云帆科技", "杭州机房扩容", (("SRV-2U-A", 4), ("SWI-48P", 2), ("SVC-INST", 1)), "8", "signed", "林佳"
    ),
    Offer("星河制造", "二号车间扫码终端", (("SCN-T2", 60), ("SVC-TRNG", 2)), "12", "accepted", "郑国强"),
    Offer("苏州博远医疗", "冷链监测一期", (("SEN-TH", 200), ("GTW-5G", 3)), "0", "sent"),
    Offer("成都天府物流", "入库区终端更新", (("SCN-T1", 80), ("PRN-L4", 20)), "15", "review"),
    Offer("武汉长江能源", "变电站振动监测", (("SEN-VB", 160), ("GTW-5G", 6)), "28", "escalated"),
    Offer(
        "青岛海之味食品",
        "冷库湿度监测",
        (("SEN-TH", 120),),
        "5",
        "declined",
        "预算推迟到明年 Postponed to next year",
    ),
    Offer("大连北港造船", "船坞压力监测", (("SEN-PR", 90),), "6", "revised"),
    Offer(
        "Northgate Instruments",
        "Calibrated sensors, third lot",
        (("SEN-PR", 30),),
        "5",
        "signed",
        "Eleanor Whitby",
    ),
    Offer("Kestrel Robotics", "Gateways for the pilot line", (("GTW-5G", 4),), "0", "draft"),
)
# What one unit of a currency costs in CNY, for prices in the customer's own.
RATES = {"CNY": 1.0, "EUR": 7.8, "GBP": 9.1, "USD": 7.2, "NOK": 0.68}


def _decimal(value: object) -> dict[str, str]:
    return {"value": str(value)}


def _date(day: date) -> dict[str, int]:
    return {"year": day.year, "month": day.month, "day": day.day}


def _day(said: dict[str, int]) -> date:
    return date(said["year"], said["month"], said["day"])


async def seed(api: Any) -> None:
    """Make them all."""
    today = date.today()
    users = {each["name"]: each["email"] for each in await api.all("/v1/users", "users") if each.get("email")}
    customers = {each["displayName"]: each for each in await api.all("/v1/customers", "customers")}
    products = {each["sku"]: each for each in await api.all("/v1/products", "products")}
    for offer in OFFERS:
        customer = customers[offer.customer]
        owner = customer.get("owner", "")
        rep = api.as_(users[owner]) if owner in users else api
        await _offer(api, rep, offer, customer, products, today)
    await _invoices(api, today)
    await _won(api, users)


async def _offer(
    api: Any, rep: Any, offer: Offer, customer: dict[str, Any], products: dict[str, Any], today: date
) -> None:
    currency = customer.get("currency", "CNY")
    quote = await rep.post(
        "/v1/quotes",
        {
            "customer": customer["name"],
            "title": offer.title,
            "currency": currency,
            "validUntil": _date(today + timedelta(days=30)),
            "discountPercent": _decimal(offer.discount),
            "lines": [_line(products[sku], count, currency) for sku, count in offer.lines],
        },
    )
    if offer.fate == "draft":
        return
    name = quote["name"]
    quote = await rep.post(f"/v1/{name}:submit")
    if offer.fate == "review":
        return
    if quote["state"] == "IN_REVIEW":
        await api.as_(MANAGER).post(f"/v1/{name}:approve", {"comment": "同意"})
        if offer.fate == "escalated":
            return
    await rep.post(f"/v1/{name}:send")
    if offer.fate == "declined":
        await rep.post(f"/v1/{name}:decline", {"reason": offer.answer})
    elif offer.fate == "revised":
        newer = await rep.post(f"/v1/{name}:revise")
        await rep.patch(f"/v1/{newer['name']}", {"discountPercent": _decimal(9)})
    elif offer.fate in ("accepted", "signed"):
        await rep.post(f"/v1/{name}:accept", {"accepter": offer.answer})
        await _contract(api, rep, name, offer, today)


def _line(product: dict[str, Any], count: int, currency: str) -> dict[str, Any]:
    cents = round(int(product["listPrice"]["units"]) * 100 / RATES.get(currency, 1.0))
    return {
        "product": product["name"],
        "description": product["displayName"],
        "quantity": _decimal(count),
        "unitPrice": {
            "currencyCode": currency,
            "units": str(cents // 100),
            "nanos": cents % 100 * 10_000_000,
        },
        "taxPercent": product.get("taxPercent", _decimal(0)),
    }


async def _contract(api: Any, rep: Any, quote: str, offer: Offer, today: date) -> None:
    """The agreement that follows from an accepted quote, with its plan."""
    made = await rep.post(
        "/v1/contracts",
        {
            "quote": quote,
            "startDate": _date(today),
            "endDate": _date(today + timedelta(days=365)),
            "obligations": [
                {
                    "what": "交货并签收 Deliver and have it signed for",
                    "dueDate": _date(today + timedelta(days=45)),
                    "weight": 3,
                },
                {"what": "现场培训 Train on site", "dueDate": _date(today + timedelta(days=60))},
                {
                    "what": "提供验收场地 Provide the site",
                    "who": "customer",
                    "dueDate": _date(today + timedelta(days=20)),
                },
            ],
            "paymentPlan": [
                {
                    "description": "预付款 Down payment",
                    "dueDate": _date(today + timedelta(days=10)),
                    "sharePercent": _decimal(30),
                },
                {
                    "description": "到货款 On delivery",
                    "dueDate": _date(today + timedelta(days=50)),
                    "sharePercent": _decimal(60),
                },
                {
                    "description": "质保金 Retention",
                    "dueDate": _date(today + timedelta(days=365)),
                    "sharePercent": _decimal(10),
                },
            ],
        },
    )
    name = made["name"]
    await rep.post(f"/v1/{name}:submit")
    if offer.fate == "signed":
        await _sign(api, name, offer.answer, offer.customer)
        await rep.post(f"/v1/{name}:start")
        await rep.post(
            f"/v1/{name}:fulfil", {"obligation": "3", "evidence": "现场照片 Photographs of the site"}
        )


async def _sign(api: Any, name: str, signer: str, party: str) -> None:
    manager = api.as_(MANAGER)
    await manager.post(f"/v1/{name}:approve", {"comment": "条款无异议"})
    await manager.post(
        f"/v1/{name}:sign",
        {
            "signers": [{"person": "梁宏 Liang Hong", "party": PARTY}, {"person": signer, "party": party}],
            "fileHash": name.replace("-", "").rpartition("/")[2].ljust(64, "0")[:64],
        },
    )


async def _won(api: Any, users: dict[str, str]) -> None:
    """Some of the drafts that follow from won deals are agreed on; one is changed since."""
    drafts = [c for c in await api.all("/v1/contracts", "contracts", orderBy="number") if not c.get("quote")]
    agreed = [each for each in drafts if each.get("lines")][:8]
    for index, contract in enumerate(agreed):
        name, rep = contract["name"], api.as_(users[contract["owner"]])
        await rep.post(f"/v1/{name}:submit")
        await _sign(api, name, "授权代表 Authorized representative", contract["title"])
        if index == 0:
            continue
        await rep.post(f"/v1/{name}:start")
        if index == 1:
            await rep.post(f"/v1/{name}:interrupt", {"reason": "客户场地未就绪 The site is not ready"})
        elif index == 2:
            line = contract["lines"][0]
            more = {**line, "quantity": _decimal(2)}
            amendment = {"reason": "追加一套 One more set", "lines": [more]}
            await rep.post(f"/v1/{name}:amend", {"amendment": amendment})
        elif index in (3, 4):
            await _paid_at_once(api.as_(BOOKKEEPER), name)
            await rep.post(f"/v1/{name}:complete")


async def _paid_at_once(bookkeeper: Any, contract: str) -> None:
    draft = await bookkeeper.post("/v1/invoices", {"contract": contract})
    posted = await bookkeeper.post(f"/v1/{draft['name']}:post")
    paid = {"customer": posted["customer"], "amount": posted["openAmount"], "reference": posted["number"]}
    await bookkeeper.post("/v1/payments", paid | {"allocations": [{"invoice": posted["name"]}]})


async def _invoices(api: Any, today: date) -> None:
    """What was shipped is invoiced on the day it left; older invoices are paid, one in part, one not."""
    shipments = [
        each
        for each in await api.all("/v1/shipments", "shipments")
        if each["state"] in ("DISPATCHED", "DELIVERED")
    ]
    drafts = await _drafts_for(api, {each["name"] for each in shipments})
    bookkeeper = api.as_(BOOKKEEPER)
    shipments.sort(key=lambda each: (_day(each["dispatchDate"]), each["number"]))
    for index, shipment in enumerate(shipments):
        name, left = drafts[shipment["name"]], _day(shipment["dispatchDate"])
        invoice = await api.post(f"/v1/{name}:post", {"issueDate": _date(left)})
        due = _day(invoice["dueDate"])
        if due > today or index == 6:
            continue  # not due yet; or one that is simply late
        total = invoice["totals"]["total"]
        if index == 4:
            total = {"currencyCode": total["currencyCode"], "units": str(int(total["units"]) // 2)}
        await bookkeeper.post(
            "/v1/payments",
            {
                "customer": invoice["customer"],
                "amount": total,
                "method": "BANK_TRANSFER",
                "receiveDate": _date(min(due + timedelta(days=index % 5 - 3), today)),
                "reference": f"BT{due:%Y%m%d}{index:03d}",
                "allocations": [{"invoice": name}],
            },
        )


async def _drafts_for(api: Any, shipments: set[str]) -> dict[str, str]:
    """The drafts that follow from shipments; they come a moment after the goods have left."""
    for _ in range(150):
        invoices = await api.all("/v1/invoices", "invoices")
        found = {each["shipment"]: each["name"] for each in invoices if each.get("shipment")}
        if shipments <= found.keys():
            return found
        await asyncio.sleep(0.2)
    raise TimeoutError(f"no invoices for {sorted(shipments - found.keys())}")
