"""The demo company's goods, prices, stock, and a year of its orders, made through the public API."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Any

WAREHOUSES = (
    {
        "code": "SHA",
        "displayName": "上海外高桥仓 Shanghai",
        "region": "华东",
        "address": "上海市浦东新区富特西一路 88 号",
    },
    {
        "code": "SZX",
        "displayName": "深圳前海仓 Shenzhen",
        "region": "华南",
        "address": "深圳市南山区妈湾大道 16 号",
    },
)

# sku, name, category, unit, list price and cost in CNY, reorder level, stock in SHA and SZX
GOODS = (
    ("SRV-2U-A", "机架服务器 2U Rack server", "服务器 Servers", "台", 38_600, 27_900, 10, 64, 20),
    ("SRV-1U-S", "边缘服务器 1U Edge server", "服务器 Servers", "台", 21_800, 15_200, 10, 48, 12),
    ("STO-48T", "存储阵列 48 TB Storage array", "服务器 Servers", "台", 96_000, 71_000, 4, 9, 3),
    ("SWI-48P", "万兆交换机 48-port switch", "网络 Network", "台", 12_400, 8_300, 12, 40, 18),
    ("FWL-E5", "防火墙 E5 Firewall", "网络 Network", "台", 18_900, 12_600, 6, 14, 5),
    ("APX-W6", "无线接入点 Access point", "网络 Network", "个", 1_680, 980, 60, 260, 140),
    ("SCN-T1", "扫码终端 T1 Scanning terminal", "终端 Terminals", "台", 2_350, 1_490, 80, 320, 240),
    ("SCN-T2", "防爆扫码终端 T2 Rugged terminal", "终端 Terminals", "台", 4_280, 2_760, 40, 120, 90),
    ("TAB-10", "工业平板 10″ Industrial tablet", "终端 Terminals", "台", 3_460, 2_210, 40, 150, 75),
    ("PRN-L4", "标签打印机 Label printer", "终端 Terminals", "台", 1_980, 1_240, 30, 110, 60),
    ("SEN-TH", "温湿度传感器 Climate sensor", "传感 Sensors", "个", 268, 142, 400, 2_600, 1_400),
    ("SEN-VB", "振动传感器 Vibration sensor", "传感 Sensors", "个", 860, 495, 150, 700, 380),
    ("SEN-PR", "压力传感器 Pressure sensor", "传感 Sensors", "个", 1_120, 690, 120, 420, 95),
    ("GTW-5G", "5G 工业网关 5G gateway", "传感 Sensors", "台", 5_600, 3_720, 30, 88, 41),
    ("UPS-6K", "不间断电源 6 kVA UPS", "电源 Power", "台", 8_750, 6_100, 10, 26, 8),
    ("BAT-LF", "锂电池组 Battery pack", "电源 Power", "组", 3_150, 2_240, 20, 17, 0),
    ("CAB-C6", "六类网线 305 m Cable reel", "配件 Accessories", "箱", 640, 410, 50, 230, 160),
)
SERVICES = (
    ("SVC-INST", "上门安装调试 Installation on site", "服务 Services", "次", 1_800),
    ("SVC-CARE", "三年延保 Three-year care", "服务 Services", "份", 2_600),
    ("SVC-TRNG", "操作培训 Training day", "服务 Services", "天", 4_500),
)

# customer, days ago, days until it is wanted, what became of it, discount on the whole, lines
ORDERS: tuple[tuple[str, int, int, str, str, tuple[tuple[str, int], ...]], ...] = (
    ("杭州绿洲商贸", 352, 20, "delivered", "", (("SCN-T1", 40), ("PRN-L4", 12))),
    ("青岛海之味食品", 331, 25, "delivered", "", (("SEN-TH", 300), ("GTW-5G", 4))),
    ("成都天府物流", 305, 14, "delivered", "5", (("SCN-T2", 30), ("APX-W6", 24))),
    ("云帆科技", 284, 30, "delivered", "", (("SRV-2U-A", 6), ("SWI-48P", 4), ("SVC-INST", 2))),
    ("星河制造", 262, 21, "delivered", "", (("SCN-T1", 120), ("SVC-TRNG", 2))),
    ("大连北港造船", 240, 35, "delivered", "", (("SEN-VB", 90), ("SEN-PR", 60), ("GTW-5G", 6))),
    ("苏州博远医疗", 214, 18, "delivered", "", (("UPS-6K", 4), ("SEN-TH", 160))),
    ("天津新城教育", 189, 20, "delivered", "", (("TAB-10", 30),)),
    ("云帆科技", 160, 28, "delivered", "3", (("SRV-1U-S", 10), ("FWL-E5", 2), ("SVC-CARE", 10))),
    ("成都天府物流", 133, 12, "late", "", (("SCN-T2", 24), ("CAB-C6", 30))),
    ("武汉长江能源", 109, 40, "delivered", "8", (("SEN-PR", 120), ("SEN-VB", 150), ("GTW-5G", 10))),
    ("杭州绿洲商贸", 84, 20, "delivered", "", (("SCN-T1", 60), ("SVC-TRNG", 1))),
    ("星河制造", 58, 30, "shipped", "", (("TAB-10", 40), ("APX-W6", 36))),
    ("云帆科技", 41, 35, "shipped", "", (("STO-48T", 3), ("SWI-48P", 6))),
    ("Northgate Instruments", 33, 40, "shipped", "", (("SEN-TH", 400), ("SEN-PR", 20))),
    ("武汉长江能源", 24, 45, "partly", "8", (("SEN-VB", 200), ("BAT-LF", 8))),
    ("苏州博远医疗", 15, 30, "confirmed", "", (("SEN-TH", 500),)),
    ("青岛海之味食品", 9, 21, "confirmed", "", (("GTW-5G", 8), ("SVC-INST", 1))),
    ("大连北港造船", 6, 30, "held", "", (("SRV-1U-S", 4),)),
    ("成都天府物流", 4, 14, "short", "", (("BAT-LF", 30), ("SCN-T2", 10))),
    ("天津新城教育", 3, 30, "cancelled", "", (("TAB-10", 10),)),
    ("杭州绿洲商贸", 1, 25, "draft", "", (("SCN-T1", 80), ("PRN-L4", 20))),
)
CARRIERS = ("顺丰速运 SF Express", "德邦快递 Deppon", "中远海运 COSCO")


def _money(amount: float, currency: str = "CNY") -> dict[str, Any]:
    cents = round(amount * 100)
    return {"currencyCode": currency, "units": str(cents // 100), "nanos": cents % 100 * 10_000_000}


def _decimal(value: object) -> dict[str, str]:
    return {"value": str(value)}


def _date(day: date) -> dict[str, int]:
    return {"year": day.year, "month": day.month, "day": day.day}


async def seed(api: Any) -> None:
    """Make them all, as the administrator, in the names of those who look after the customers."""
    today = date.today()
    warehouses = {each["code"]: (await api.post("/v1/warehouses", dict(each)))["name"] for each in WAREHOUSES}
    products = await _products(api, warehouses)
    customers = {each["displayName"]: each for each in await api.all("/v1/customers", "customers")}
    await _price_lists(api, products, customers, today)
    for index, order in enumerate(ORDERS):
        await _order(api, order, customers, products, warehouses, today, CARRIERS[index % len(CARRIERS)])


async def _products(api: Any, warehouses: dict[str, str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for sku, title, category, unit, price, cost, level, in_shanghai, in_shenzhen in GOODS:
        made = await api.post("/v1/products", {
            "sku": sku, "displayName": title, "category": category, "unit": unit, "taxPercent": _decimal(13),
            "listPrice": _money(price), "cost": _money(cost), "reorderLevel": _decimal(level),
        })  # fmt: skip
        names[sku] = made["name"]
        for code, quantity in (("SHA", in_shanghai), ("SZX", in_shenzhen)):
            if quantity:
                await api.post("/v1/stock:receive", {
                    "product": made["name"], "warehouse": warehouses[code], "quantity": _decimal(quantity),
                    "reason": "期初库存 Opening stock",
                })  # fmt: skip
    for sku, title, category, unit, price in SERVICES:
        made = await api.post("/v1/products", {
            "sku": sku, "displayName": title, "category": category, "unit": unit, "kind": "SERVICE",
            "taxPercent": _decimal(6), "listPrice": _money(price),
        })  # fmt: skip
        names[sku] = made["name"]
    return names


async def _price_lists(api: Any, products: dict[str, str], customers: dict[str, Any], today: date) -> None:
    def entries(*breaks: tuple[str, int, float], currency: str = "CNY") -> list[dict[str, Any]]:
        return [
            {"product": products[sku], "minQuantity": _decimal(least), "unitPrice": _money(price, currency)}
            for sku, least, price in breaks
        ]

    await api.post("/v1/priceLists", {
        "displayName": "批量价 Volume prices", "currency": "CNY",
        "entries": entries(("SEN-TH", 500, 239), ("SEN-TH", 1000, 219), ("SCN-T1", 50, 2_180),
                           ("SCN-T1", 100, 2_050), ("APX-W6", 100, 1_520)),
    })  # fmt: skip
    await api.post("/v1/priceLists", {
        "displayName": "出口价 Export prices", "currency": "EUR",
        "entries": entries(("SEN-TH", 0, 38.5), ("SEN-VB", 0, 121), ("SEN-PR", 0, 158), ("GTW-5G", 0, 780),
                           ("SCN-T2", 0, 595), currency="EUR"),
    })  # fmt: skip
    await api.post("/v1/priceLists", {
        "displayName": "Northgate 2-year frame", "currency": "GBP",
        "customer": customers["Northgate Instruments"]["name"],
        "startDate": _date(today - timedelta(days=365)), "endDate": _date(today + timedelta(days=365)),
        "entries": entries(("SEN-TH", 0, 32.4), ("SEN-TH", 250, 30.15), ("SEN-PR", 0, 131), currency="GBP"),
    })  # fmt: skip
    await api.post("/v1/priceLists", {
        "displayName": "云帆框架协议价 Yunfan frame", "currency": "CNY",
        "customer": customers["云帆科技"]["name"],
        "entries": entries(("SRV-2U-A", 0, 36_200), ("SRV-1U-S", 0, 20_400), ("SWI-48P", 5, 11_300)),
    })  # fmt: skip


async def _order(
    api: Any, order: Any, customers: dict[str, Any], products: dict[str, str], warehouses: dict[str, str],
    today: date, carrier: str,
) -> None:  # fmt: skip
    customer, ago, wanted, fate, discount, lines = order
    buyer, ordered = customers[customer], today - timedelta(days=ago)
    south = buyer.get("region", "").startswith("华南")
    made = await api.post("/v1/orders", {
        "customer": buyer["name"], "currency": buyer["currency"],
        "owner": buyer["owner"], "team": buyer["team"],
        "warehouse": warehouses["SZX" if south else "SHA"], "orderDate": _date(ordered),
        "requiredDate": _date(ordered + timedelta(days=wanted)), "discountPercent": _decimal(discount or 0),
        "shipTo": {"recipient": customer, "region": buyer.get("region", "")},
        "freight": _money(120 + 15 * len(lines), buyer["currency"]), "allowBackorder": fate == "short",
        "lines": [{"product": products[sku], "quantity": _decimal(count)} for sku, count in lines],
    })  # fmt: skip
    if fate == "draft":
        return
    name = made["name"]
    await api.post(f"/v1/{name}:confirm")
    await _until_confirmed(api, name)
    if fate == "held":
        await api.post(
            f"/v1/{name}:hold", {"reason": "等待客户确认交货地址 Waiting for the delivery address"}
        )
    elif fate == "cancelled":
        await api.post(f"/v1/{name}:cancel", {"reason": "客户预算取消 The customer's budget was cut"})
    elif fate in ("delivered", "late", "shipped", "partly"):
        left = ordered + timedelta(days=wanted + 9 if fate == "late" else min(wanted // 2, ago - 1))
        await _ship(api, name, carrier, left, arrives=fate in ("delivered", "late"), partly=fate == "partly")


async def _until_confirmed(api: Any, order: str) -> None:
    """As a rule it is already; a service that is still starting may need a moment for the credit."""
    for _ in range(100):
        found = await api.get(f"/v1/{order}")
        if found["state"] not in ("DRAFT", "CONFIRMING"):
            return  # also when an earlier run took it further: a demo that was interrupted is made again
        if found["state"] == "DRAFT":
            raise RuntimeError(f"{found['number']} was refused: {found['confirmation'][-1].get('reason')}")
        await asyncio.sleep(0.2)
    raise TimeoutError(f"{order} is not confirmed")


async def _ship(api: Any, order: str, carrier: str, left: date, *, arrives: bool, partly: bool) -> None:
    body: dict[str, Any] = {"order": order, "carrier": carrier}
    if partly:
        body["lines"] = [{"orderLine": 1, "quantity": _decimal(100)}]
    name = (await api.post("/v1/shipments", body))["name"]
    sent = {"dispatchDate": _date(left), "trackingNumber": f"FS{left:%Y%m%d}{name[-4:].upper()}"}
    await api.post(f"/v1/{name}:dispatch", sent)
    if arrives:
        await api.post(f"/v1/{name}:deliver", {"deliveryDate": _date(left + timedelta(days=3))})
