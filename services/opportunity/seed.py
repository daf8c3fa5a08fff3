"""The demo company's deals, past and present, made through the public API.

The administrator enters what lies in the past; whoever owns a deal works it today.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

# Who works which region: the same people as the customers'.
REPS = {
    **dict.fromkeys(["华东", "华北", "东北"], "qin@farsail.example"),
    **dict.fromkeys(["华南", "华中", "西南", "西北"], "tang@farsail.example"),
    **dict.fromkeys(["Europe", "Americas"], "moreau@farsail.example"),
}
STAGES = ("potential", "bidding", "negotiation")
PROJECTS = {
    "displayName": "重点项目 Key projects",
    "stages": [
        {
            "key": "discovery",
            "displayName": "需求调研 Discovery",
            "successRate": {"value": "60"},
            "forecastCategory": "PIPELINE",
            "allowedDays": 30,
            "playbook": "把需求写下来，请客户确认。Write the needs down and have the customer confirm them.",
            "gate": {
                "requiredFields": ["customer", "needs"],
                "checklist": [
                    {"key": "site_visit", "displayName": "已到现场 Site visited"},
                    {"key": "decision_makers", "displayName": "决策链已明确 Decision makers known"},
                ],
            },
        },
        {
            "key": "proposal",
            "displayName": "方案 Proposal",
            "successRate": {"value": "70"},
            "forecastCategory": "BEST_CASE",
            "allowedDays": 45,
            "gate": {"requiredFields": ["solution", "amount"]},
        },
        {
            "key": "contracting",
            "displayName": "商务 Contracting",
            "successRate": {"value": "85"},
            "forecastCategory": "COMMIT",
            "allowedDays": 30,
            "gate": {"acceptedQuote": True},
        },
    ],
}


@dataclass(frozen=True)
class Past:
    """A deal that is over: which verb ended it, how many days ago, and what was learned."""

    customer: str
    title: str
    amount: int
    opened: int  # days ago
    closed: int  # days ago
    verb: str
    outcome: str
    lessons: str = ""
    winner: str = ""
    lines: tuple[tuple[str, int], ...] = ()  # (sku, quantity), instead of an amount


@dataclass(frozen=True)
class Present:
    """A deal in progress: the stage it is in, and in how many days it is expected to close."""

    customer: str
    title: str
    amount: int
    opened: int  # days ago
    stage: str
    expected: int  # days from now
    next_step: str
    competitors: tuple[str, ...] = ()
    source: str = ""
    campaign: str = ""
    lines: tuple[tuple[str, int], ...] = ()


PAST = (
    Past("云帆科技", "上海机房服务器一期", 0, 300, 231, "win", "交期最短", "备货信息要早给客户看",
         lines=(("SRV-2U-A", 28), ("SWI-48P", 8))),
    Past("云帆科技", "办公区无线改造", 0, 210, 168, "win", "老客户，直接签约",
         lines=(("APX-W6", 90), ("CAB-C6", 40))),
    Past("云帆科技（北京）", "北京办公室终端", 96_000, 190, 150, "win", "总部推荐"),
    Past("星河制造", "一号车间扫码终端", 0, 280, 226, "win", "样机在产线上连续跑了两周",
         lines=(("SCN-T1", 150), ("SVC-TRNG", 4))),
    Past("星河制造", "仓库条码打印机", 0, 220, 180, "lose", "价格高出 12%",
         "先问预算再报价", "华锐条码",
         lines=(("PRN-L4", 80),)),
    Past("杭州绿洲商贸", "门店收银设备 40 套", 0, 170, 122, "win", "月底集中采购，报价正好赶上",
         lines=(("TAB-10", 40), ("PRN-L4", 40))),
    Past("杭州绿洲商贸", "门店电子价签", 520_000, 150, 88, "lose", "客户推迟门店改造", "", "nobody"),
    Past("苏州博远医疗", "设备追溯终端", 0, 160, 104, "win", "医疗认证齐全",
         lines=(("SCN-T2", 70),)),
    Past("成都天府物流", "分拣线手持终端", 0, 200, 132, "win", "两小时内到场的服务承诺",
         lines=(("SCN-T2", 140), ("SVC-CARE", 10))),
    Past("成都天府物流", "车载定位终端", 380_000, 120, 61, "lose", "对手含三年流量",
         "流量要打包报", "蜀通科技"),
    Past("武汉长江能源", "巡检平板 80 台", 0, 260, 170, "lose", "评标技术分低",
         "提前做防爆认证", "中控仪表",
         lines=(("TAB-10", 80), ("SCN-T2", 90))),
    Past("武汉长江能源", "变电站传感器", 0, 140, 49, "win", "技术标第一",
         lines=(("SEN-VB", 320), ("SEN-PR", 160))),
    Past("青岛海之味食品", "冷库温度监测", 0, 110, 62, "win", "展会上当场试用",
         lines=(("SEN-TH", 500), ("GTW-5G", 6))),
    Past("大连北港造船", "船坞门禁", 330_000, 180, 95, "terminate", "项目取消，不再建设"),
    Past("天津新城教育", "教室投影更新", 74_000, 90, 40, "win", "报价当天回复"),
    Past("Northgate Instruments", "Calibrated sensors, first lot", 48_500, 250, 205, "win",
         "Certificates per lot", "Send a sample certificate with the offer"),
    Past("Northgate Instruments", "Calibrated sensors, second lot", 52_300, 130, 97, "win", "Reorder"),
    Past("Hafenkontor Lübeck", "Gate scanners for terminal B", 38_900, 160, 99, "win",
         "Ran in salt air without a fault"),
    Past("Ateliers du Rhône", "Torque testers", 27_400, 140, 76, "lose", "Samples came a week late",
         "Keep two demonstration sets", "Mesurex"),
    Past("Pacific Orchard Foods", "Cold-chain loggers, trial", 18_600, 120, 84, "win", "Trial worked"),
    Past("Kestrel Robotics", "Development boards", 9_800, 75, 33, "win", "In stock"),
)  # fmt: skip
PRESENT = (
    Present("云帆科技", "上海机房服务器二期", 0, 60, "negotiation", 18, "与林经理确认框架价",
            ("浪潮渠道",), "referral",
         lines=(("SRV-2U-A", 30), ("STO-48T", 3))),
    Present("云帆科技", "异地容灾方案", 2_300_000, 35, "potential", 110, "约董事会技术汇报"),
    Present("云帆科技（北京）", "会议室设备 6 套", 0, 20, "bidding", 30, "补报安装费",
         lines=(("TAB-10", 24), ("APX-W6", 30))),
    Present("星河制造", "二号车间扫码终端 120 台", 0, 45, "bidding", 40, "送样机两台",
            ("华锐条码",), "exhibition", "深圳制造业展",
         lines=(("SCN-T2", 110), ("SVC-TRNG", 3))),
    Present("杭州绿洲商贸", "新店收银设备 15 套", 0, 15, "negotiation", 12, "月底前签",
         lines=(("TAB-10", 15), ("PRN-L4", 15))),
    Present("苏州博远医疗", "手术室推车平板", 0, 28, "bidding", 55, "等设备科评审",
         lines=(("TAB-10", 60),)),
    Present("成都天府物流", "冷链车温度记录仪", 0, 50, "negotiation", 25, "确认流量打包价",
            ("蜀通科技",),
         lines=(("SEN-TH", 900), ("GTW-5G", 20))),
    Present("武汉长江能源", "防爆巡检终端招标", 0, 40, "bidding", 70, "买标书",
            ("中控仪表",), "tender",
         lines=(("SCN-T2", 200),)),
    Present("青岛海之味食品", "车间称重终端", 124_000, 18, "potential", 60, "请客户来看样"),
    Present("天津新城教育", "机房交换机", 0, 10, "potential", 45, "发两档配置",
         lines=(("SWI-48P", 4), ("FWL-E5", 1))),
    Present("Northgate Instruments", "Sensors, framework for next year", 210_000, 30, "negotiation", 33,
            "Agree call-off quantities with Ms Whitby", ("Halden Sensors",)),
    Present("Hafenkontor Lübeck", "Handhelds for the yard", 46_200, 22, "bidding", 50,
            "Demonstrate in Lübeck", (), "referral"),
    Present("Ateliers du Rhône", "Torque testers, second attempt", 31_000, 14, "potential", 80,
            "Send samples first"),
    Present("Fjordlys Energi", "Sensors for three wind farms", 640_000, 26, "bidding", 65,
            "Answer the tender's questions", (), "partner"),
    Present("Pacific Orchard Foods", "Cold-chain loggers, all plants", 96_000, 38, "bidding", 48,
            "Price per plant"),
    Present("Kestrel Robotics", "Vision sensors", 34_500, 9, "potential", 40, "Call Noah on Thursday",
            (), "social", "Robotics meetup"),
)  # fmt: skip


def _date(day: date) -> dict[str, int]:
    return {"year": day.year, "month": day.month, "day": day.day}


def _ago(days: int) -> date:
    return date.today() - timedelta(days=days)


class _Company:
    """Customers, contacts and people of the demo company, by the names the deals use."""

    def __init__(self, api: Any) -> None:
        self.api = api

    async def read(self) -> _Company:
        """Ask for all of them once."""
        api = self.api
        self.customers = {c["displayName"]: c for c in await api.all("/v1/customers", "customers")}
        self.users = {u["email"]: u for u in await api.all("/v1/users", "users")}
        self.products = {product["sku"]: product for product in await api.all("/v1/products", "products")}
        contacts = await api.all("/v1/contacts", "contacts")
        self.contacts = {contact["customer"]: contact["name"] for contact in reversed(contacts)}
        return self

    def email(self, customer: str) -> str:
        """Who works a customer."""
        return REPS[self.customers[customer]["region"].partition("/")[0]]

    def worth(self, amount: int, lines: tuple[tuple[str, int], ...], currency: str) -> dict[str, Any]:
        """What the deal is about, at list prices, or what it is thought to be worth."""
        if not lines:
            return {"amount": {"currencyCode": currency, "units": str(amount)}}
        goods = [(self.products[sku], count) for sku, count in lines]
        return {
            "lines": [
                {
                    "product": product["name"],
                    "description": product["displayName"],
                    "quantity": {"value": str(count)},
                    "unitPrice": product["listPrice"],
                }
                for product, count in goods
            ]
        }

    def deal(
        self,
        customer: str,
        title: str,
        amount: int,
        opened: int,
        lines: tuple[tuple[str, int], ...] = (),
        **more: Any,
    ) -> dict[str, Any]:
        """A deal of the customer's representative, as it is typed in."""
        known, owner = self.customers[customer], self.users[self.email(customer)]
        return {
            "title": title,
            "customer": known["name"],
            "contact": self.contacts.get(known["name"], ""),
            **self.worth(amount, lines, known["currency"]),
            "openDate": _date(_ago(opened)),
            "owner": owner["name"],
            "team": owner["team"],
            **more,
        }


async def seed(api: Any) -> None:
    """Make them all: what is over, what is under way, and a few that show what a deal can be through."""
    company = await _Company(api).read()
    await asyncio.gather(*(_over(api, company, past) for past in PAST))
    made = await asyncio.gather(*(_under_way(api, company, deal) for deal in PRESENT))
    await _project(api, company)
    await _shared_and_resting(api, company, made)


async def _over(api: Any, company: _Company, past: Past) -> None:
    deal = company.deal(past.customer, past.title, past.amount, past.opened, past.lines)
    name = (await api.post("/v1/opportunities", deal))["name"]
    reached = STAGES if past.verb == "win" else STAGES[:2]
    span = (past.opened - past.closed) // (len(reached) + 1)
    for nth, stage in enumerate(reached[1:], start=1):
        day = _ago(past.opened - nth * span)
        await api.post(f"/v1/{name}:advance", {"stage": stage, "advanceDate": _date(day)})
    said: dict[str, Any] = {"outcome": past.outcome, "lessons": past.lessons}
    if past.verb == "lose":
        said["winningCompetitor"] = past.winner
    await api.post(f"/v1/{name}:{past.verb}", said | {"closeDate": _date(_ago(past.closed))})


async def _under_way(api: Any, company: _Company, deal: Present) -> str:
    typed = company.deal(
        deal.customer, deal.title, deal.amount, deal.opened, deal.lines,
        expectedCloseDate=_date(_ago(-deal.expected)), nextStep=deal.next_step,
        competitors=list(deal.competitors), source=deal.source, campaign=deal.campaign,
    )  # fmt: skip
    name: str = (await api.post("/v1/opportunities", typed))["name"]
    reached = STAGES[1 : STAGES.index(deal.stage) + 1]
    for nth, stage in enumerate(reached, start=1):
        day = _ago(deal.opened - nth * deal.opened // (len(reached) + 1))
        await api.post(f"/v1/{name}:advance", {"stage": stage, "advanceDate": _date(day)})
    return name


async def _project(api: Any, company: _Company) -> None:
    """A deal in a pipeline with a checklist and an accepted quote as its last gate."""
    pipeline = await api.post("/v1/pipelines", PROJECTS)
    deal = company.deal(
        "成都天府物流", "智慧仓一体化项目", 3_200_000, 40,
        pipeline=pipeline["name"], expectedCloseDate=_date(_ago(-95)), nextStep="方案评审会",
        needs="三个仓统一条码与温控，入库差错率降到千分之一以下。",
    )  # fmt: skip
    name = (await api.post("/v1/opportunities", deal))["name"]
    rep = api.as_(company.email("成都天府物流"))
    for item in ("site_visit", "decision_makers"):
        await rep.post(f"/v1/{name}:checkItem", {"item": item})
    await rep.post(f"/v1/{name}:advance", {"stage": "proposal"})


async def _shared_and_resting(api: Any, company: _Company, made: list[str]) -> None:
    """One deal whose credit is shared, one that rests, one judged better than its stage."""
    framework = made[0]
    splits = [
        {"user": company.users["qin@farsail.example"]["name"], "percent": {"value": "70"}},
        {"user": company.users["tang@farsail.example"]["name"], "percent": {"value": "30"}},
    ]
    await api.post(f"/v1/{framework}:setSplits", {"splits": splits})
    rest = company.deal("大连北港造船", "船厂视频监控", 540_000, 70, expectedCloseDate=_date(_ago(-150)))
    name = (await api.post("/v1/opportunities", rest))["name"]
    rep = api.as_(company.email("大连北港造船"))
    await rep.post(f"/v1/{name}:suspend", {"reason": "预算冻结到下个财年"})
    judged = {
        "probabilityOverride": {"value": "60"},
        "probabilityReason": "Samir Patel wants our certificates",
    }
    await api.as_("moreau@farsail.example").patch(f"/v1/{made[10]}", judged)
