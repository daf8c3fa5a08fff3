"""The demo company's customers, their people and its leads, made through the public API.

Names are invented, telephone numbers are of ranges kept free for fiction, addresses end in .example.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any


def _customer(
    display_name: str, legal_name: str, country: str, region: str, industry: str, **more: Any
) -> dict[str, Any]:
    return {
        "displayName": display_name, "legalName": legal_name, "countryCode": country, "region": region,
        "industry": industry, "currency": "CNY" if country == "CN" else "EUR", "paymentTermsDays": 30,
        **more,
    }  # fmt: skip


def _address(use: str, city: str, street: str, country: str, postal_code: str = "") -> dict[str, str]:
    return {"use": use, "city": city, "street": street, "countryCode": country, "postalCode": postal_code}


def _money(amount: int, currency: str) -> dict[str, Any]:
    return {"currencyCode": currency, "units": str(amount)}


def _date(day: date) -> dict[str, int]:
    return {"year": day.year, "month": day.month, "day": day.day}


CUSTOMERS: list[dict[str, Any]] = [
    _customer(
        "云帆科技", "云帆科技（上海）有限公司", "CN", "华东/上海", "软件", taxId="91310115MA1K3X7P5T",
        employees=420,
        source="REFERRAL", website="https://yunfan.example", grade="A",
        gradeReason="近两年每季度下单，回款及时",
        priority="KEY_ACCOUNT", tags=["重点客户", "框架协议"], creditLimit=_money(2_000_000, "CNY"),
        foundingYear=2011,
        buyingPreferences=["每年签框架协议", "先看交期再看价格"], preferredChannel="VISIT",
        addresses=[_address("OFFICE", "上海", "浦东新区张江路 1000 号", "CN", "201203")],
        needs=[
            {"text": "把三个机房的服务器统一换代", "kind": "STATED"},
            {"text": "异地容灾尚无预算，但董事会已两次问起", "kind": "LATENT"},
        ],
        history=[
            {"date": {"year": 2011, "month": 5, "day": 18}, "text": "公司成立"},
            {"date": {"year": 2022, "month": 9, "day": 1}, "text": "完成 C 轮融资",
              "reference": "公司新闻稿"},
        ],
    ),
    _customer(
        "云帆科技（北京）", "云帆科技（北京）有限公司", "CN", "华北/北京", "软件",
        taxId="91110108MA01C6QE7H",
        employees=85, source="REFERRAL", tags=["子公司"], preferredChannel="PHONE",
    ),
    _customer(
        "星河制造", "深圳市星河精密制造有限公司", "CN", "华南/深圳", "制造", taxId="91440300MA5F2C8D1B",
        employees=1600,
        source="EXHIBITION", grade="B", gradeReason="订单大但不规律", priority="HIGH", tags=["制造业",
        "出口"],
        creditLimit=_money(1_500_000, "CNY"), addresses=[_address("SHIPPING", "深圳",
        "宝安区松岗街道 88 号", "CN")],
        needs=[{"text": "产线扫码终端 120 台，防尘防摔", "kind": "STATED"}],
    ),
    _customer(
        "杭州绿洲商贸", "杭州绿洲商贸有限公司", "CN", "华东/杭州", "零售", taxId="91330106MA2GX4TB91",
        employees=230,
        source="CAMPAIGN", tags=["连锁"], buyingPreferences=["月底集中采购"],
    ),
    _customer(
        "苏州博远医疗", "苏州博远医疗器械有限公司", "CN", "华东/苏州", "医疗", taxId="91320594MA1W7N3H2E",
        employees=310,
        source="WEBSITE", grade="B", gradeReason="两年四单，毛利高", tags=["医疗"],
        creditLimit=_money(800_000, "CNY"),
    ),
    _customer(
        "成都天府物流", "成都天府物流有限责任公司", "CN", "西南/成都", "物流", taxId="91510100MA6CK8R40L",
        employees=2100, source="COLD_CALL", priority="HIGH", tags=["物流"],
    ),
    _customer(
        "武汉长江能源", "武汉长江能源股份有限公司", "CN", "华中/武汉", "能源", taxId="91420100MA4KLT6J3D",
        employees=5200, source="PARTNER", tags=["国企", "招标"], buyingPreferences=["公开招标"],
        paymentTermsDays=90,
    ),
    _customer(
        "青岛海之味食品", "青岛海之味食品有限公司", "CN", "华东/青岛", "食品", taxId="91370200MA3P9E1X61",
        employees=640,
        source="EXHIBITION", tags=["食品"],
    ),
    _customer(
        "大连北港造船", "大连北港造船有限公司", "CN", "东北/大连", "制造", taxId="91210200MA0UH5Y777",
        employees=3400,
        source="RESEARCH", tags=["造船", "招标"],
    ),
    _customer(
        "天津新城教育", "天津新城教育科技有限公司", "CN", "华北/天津", "教育", taxId="91120116MA05Q2W18Y",
        employees=150,
        source="SOCIAL", priority="LOW", preferredChannel="CHAT",
    ),
    {"kind": "PERSON", "displayName": "王雪梅", "region": "华东/上海", "countryCode": "CN",
      "currency": "CNY",
     "source": "WEBSITE", "preferredChannel": "CHAT", "tags": ["设计师"]},
    _customer(
        "Northgate Instruments", "Northgate Instruments Ltd.", "GB", "Europe/United Kingdom", "Instruments",
        taxId="GB123456789", employees=260, source="EXHIBITION", grade="A",
        gradeReason="Eight orders in a year, never late",
        priority="KEY_ACCOUNT", tags=["vip"], currency="GBP", creditLimit=_money(250_000, "GBP"),
        website="https://northgate.example", preferredChannel="EMAIL",
        needs=[{"text": "Calibrated sensors with certificates per lot", "kind": "STATED"}],
    ),
    _customer(
        "Hafenkontor Lübeck", "Hafenkontor Lübeck GmbH & Co. KG", "DE", "Europe/Germany", "Logistics",
        taxId="DE811569869", employees=95, source="REFERRAL", tags=["port"], creditLimit=_money(120_000,
        "EUR"),
        addresses=[_address("BILLING", "Lübeck", "An der Untertrave 12", "DE", "23552")],
    ),
    _customer(
        "Ateliers du Rhône", "Ateliers du Rhône SAS", "FR", "Europe/France", "Manufacturing",
        taxId="FR40303265045",
        employees=180, source="WEBSITE", tags=["aerospace"], buyingPreferences=["samples before any order"],
    ),
    _customer(
        "Fjordlys Energi", "Fjordlys Energi AS", "NO", "Europe/Norway", "Energy", employees=70,
        source="PARTNER",
        currency="NOK", tags=["renewables"],
    ),
    _customer(
        "Pacific Orchard Foods", "Pacific Orchard Foods Inc.", "US", "Americas/West", "Food", employees=900,
        currency="USD", source="ADVERTISEMENT", grade="C", gradeReason="One trial order", tags=["trial"],
        creditLimit=_money(60_000, "USD"), annualRevenue=_money(48_000_000, "USD"),
    ),
    _customer(
        "Kestrel Robotics", "Kestrel Robotics LLC", "US", "Americas/East", "Robotics", employees=45,
        currency="USD",
        source="SOCIAL", priority="HIGH", foundingYear=2019,
    ),
    _customer(
        "Lusomar Conservas", "Lusomar Conservas Lda", "PT", "Europe/Portugal", "Food", taxId="PT501964843",
        employees=130, source="COLD_CALL",
    ),
]  # fmt: skip

# customer → its people: (name, job title, role, e-mail, telephone, language)
CONTACTS: dict[str, list[tuple[str, str, str, str, str, str]]] = {
    "云帆科技": [
        ("周明远", "首席信息官", "DECISION_MAKER", "zhou.mingyuan@yunfan.example", "021-5555 0101",
         "zh-CN"),
        ("林佳", "采购经理", "BUDGET_HOLDER", "lin.jia@yunfan.example", "021-5555 0102", "zh-CN"),
        ("陈立", "运维主管", "USER", "chen.li@yunfan.example", "021-5555 0103", "zh-CN"),
    ],
    "星河制造": [("郑国强", "生产副总", "DECISION_MAKER", "zheng@xinghe.example", "0755-5555 0110",
            "zh-CN")],
    "杭州绿洲商贸": [("吴倩", "采购总监", "BUDGET_HOLDER", "wu.qian@lvzhou.example", "0571-5555 0120",
            "zh-CN")],
    "苏州博远医疗": [("许志文", "设备科主任", "INFLUENCER", "xu@boyuan.example", "0512-5555 0130",
            "zh-CN")],
    "成都天府物流": [("何俊", "信息中心主任", "DECISION_MAKER", "he.jun@tianfu.example", "028-5555 0140",
            "zh-CN")],
    "Northgate Instruments": [
        ("Eleanor Whitby", "Head of Procurement", "BUDGET_HOLDER", "e.whitby@northgate.example",
         "+44 20 7946 0001", "en"),
        ("Samir Patel", "Laboratory Manager", "CHAMPION", "s.patel@northgate.example", "+44 20 7946 0002",
         "en"),
    ],
    "Hafenkontor Lübeck": [
        ("Anke Petersen", "Geschäftsführerin", "DECISION_MAKER", "petersen@hafenkontor.example",
         "+49 451 5550 100", "de"),
    ],
    "Ateliers du Rhône": [
        ("Luc Fontaine", "Acheteur", "GATEKEEPER", "l.fontaine@ateliersrhone.example", "+33 1 99 00 11 22",
         "fr"),
    ],
    "Pacific Orchard Foods": [
        ("Dana Reyes", "Plant Manager", "USER", "dana@pacificorchard.example", "+1 206 555 0100", "en"),
    ],
    "Kestrel Robotics": [("Noah Brandt", "Founder", "DECISION_MAKER", "noah@kestrel.example",
            "+1 617 555 0111", "en")],
}  # fmt: skip

# What people of these customers agreed to: purpose, channel, decision, how we know
AGREED: dict[str, list[tuple[str, str, str, dict[str, str]]]] = {
    "云帆科技": [
        ("NEWSLETTER", "EMAIL", "GIVEN", {"source": "WEB_FORM", "wording": "网站订阅表单，第 3 版"}),
        ("EVENT_INVITATION", "MESSENGER", "GIVEN", {"source": "CONVERSATION", "evidence": "拜访时口头同意"}),
    ],
    "Northgate Instruments": [
        ("MARKETING", "EMAIL", "GIVEN", {"source": "EXHIBITION", "evidence": "card 118, spring fair"}),
        ("NEWSLETTER", "EMAIL", "GIVEN", {"source": "WEB_FORM", "wording": "newsletter form, version 4"}),
        ("NEWSLETTER", "EMAIL", "WITHDRAWN", {"source": "EMAIL_MESSAGE"}),
    ],
}

# (lead, the verb that brings it where it stands)
LEADS: list[tuple[dict[str, Any], str]] = [
    ({"companyName": "重庆山城电子", "person": "冯涛", "role": "DECISION_MAKER", "phone": "023-5555 0150",
      "source": "EXHIBITION", "campaign": "西部电子展", "region": "西南/重庆", "countryCode": "CN",
      "wish": "仓库管理终端 60 台", "budget": _money(320_000, "CNY")}, "qualify"),
    ({"companyName": "厦门鹭岛旅游", "person": "蔡文静", "email": "cai@ludao.example", "source": "WEBSITE",
      "region": "华南/厦门", "countryCode": "CN", "wish": "门店收银设备"}, "start"),
    ({"companyName": "西安古都文创", "source": "SOCIAL", "region": "西北/西安", "countryCode": "CN"}, ""),
    ({"person": "罗晓燕", "phone": "010-5555 0160", "source": "WEBSITE", "region": "华北/北京",
      "countryCode": "CN",
      "wish": "工作室打印设备一套"}, ""),
    ({"companyName": "Baltic Timber Trade", "person": "Kadri Saar", "role": "BUDGET_HOLDER",
      "countryCode": "EE",
      "email": "kadri@baltictimber.example", "source": "REFERRAL", "region": "Europe/Estonia",
      "wish": "Moisture sensors for 12 drying halls", "budget": _money(86_000, "EUR")}, "qualify"),
    ({"companyName": "Silverleaf Hotels", "person": "Grace Okafor", "email": "grace@silverleaf.example",
      "source": "ADVERTISEMENT", "campaign": "Spring hospitality mailing", "region": "Europe/Ireland",
      "countryCode": "IE", "wish": "Handhelds for housekeeping"}, "start"),
    ({"companyName": "Quickprint Copy Shop", "source": "COLD_CALL", "countryCode": "US",
      "region": "Americas/West"},
     "disqualify"),
]  # fmt: skip


# Who works which region.
REPS = {
    **dict.fromkeys(["华东", "华北", "东北"], "qin@farsail.example"),
    **dict.fromkeys(["华南", "华中", "西南", "西北"], "tang@farsail.example"),
    **dict.fromkeys(["Europe", "Americas"], "moreau@farsail.example"),
}

# A reseller from outside: sees the customer that is shared with her, and registers a lead of her own.
PARTNER, SHARED = "lindqvist@farsail.example", "Fjordlys Energi"
REGISTERED = {
    "companyName": "Polarhavn Shipping", "person": "Jonas Berg", "email": "jonas@polarhavn.example",
    "source": "PARTNER", "region": "Europe/Norway", "countryCode": "NO",
    "wish": "Tank level sensors for six vessels",
}  # fmt: skip

# Switched off, as every rule is until somebody has looked at its preview.
DROPPED = {
    "displayName": "已放弃线索的个人信息", "subject": "DISQUALIFIED_LEADS", "months": 24, "warnDays": 30,
}  # fmt: skip


async def seed(api: Any) -> None:
    """Make them all, each by the representative of its region."""

    def rep(region: str) -> Any:
        return api.as_(REPS[region.partition("/")[0]])

    names: dict[str, str] = {}
    reps: dict[str, Any] = {}
    for profile in CUSTOMERS:
        name = profile["displayName"]
        reps[name] = rep(profile["region"])
        names[name] = (await reps[name].post("/v1/customers", profile))["name"]
    await reps["云帆科技"].patch(f"/v1/{names['云帆科技（北京）']}", {"parent": names["云帆科技"]})
    for customer, people in CONTACTS.items():
        for name, title, role, email, phone, language in people:
            contact = await reps[customer].post(
                "/v1/contacts",
                {"customer": names[customer], "displayName": name, "jobTitle": title, "role": role,
                 "emails": [email], "phones": [phone], "language": language},
            )  # fmt: skip
            for purpose, channel, decision, known in AGREED.get(customer, ()):
                said = {"person": contact["name"], "purpose": purpose, "channel": channel}
                await reps[customer].post("/v1/consents", said | {"decision": decision} | known)
    today = date.today()
    for days, (lead, verb) in enumerate(LEADS, start=1):
        owner = rep(lead["region"])
        made = await owner.post("/v1/leads", lead | {"nextFollowUpDate": _date(today + timedelta(days=days))})
        if verb:
            said = {"reason": "Wants a single unit; sent on to a dealer"} if verb == "disqualify" else {}
            await owner.post(f"/v1/{made['name']}:{verb}", said)
    partner = api.as_(PARTNER)
    me = (await partner.get("/v1/me"))["user"]["name"]
    about = {"record": names[SHARED], "grantee": me, "access": "READ", "reason": "Norrsken installs there"}
    await reps[SHARED].post("/v1/shares/customer", about)
    await partner.post("/v1/leads", REGISTERED)
    await api.post("/v1/retentionRules", DROPPED)
