"""The demo company: a trading house in Shanghai with people of every role, made through the public API.

Beside it stands a second organization, small, for looking at the first from outside: it sees nothing of it.

Each service then adds its part (`services/<service>/seed.py`). Every call carries a request id derived from
what it says, so a demo that was interrupted is finished by making it again.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from stack import files, layout, people
from stack.api import Api

COMPANY = "远帆贸易 Farsail Trading"
DOMAIN = "farsail.example"
SETTINGS = {
    "currency": "CNY",
    "locale": "zh-CN",
    "time_zone": "Asia/Shanghai",
    "administrator": "沈静 Shen Jing",
}
ADMINISTRATOR = f"admin@{DOMAIN}"
NEIGHBOUR = "Bergland Werkzeuge GmbH"
NEIGHBOURS = {"currency": "EUR", "locale": "en", "time_zone": "Europe/Zurich", "administrator": "Urs Gerber"}
ORDER = ("customer", "inventory", "opportunity", "contract", "analytics")


@dataclass(frozen=True)
class Team:
    """A team: its key here, its name, the key of the team above it, its region, its manager's mailbox."""

    key: str
    title: str
    above: str
    region: str
    manager: str


@dataclass(frozen=True)
class Person:
    """Somebody of the company: mailbox, name, role, key of the team, language."""

    mailbox: str
    title: str
    role: str
    team: str
    locale: str = "zh-CN"

    @property
    def email(self) -> str:
        """What they sign in with."""
        return f"{self.mailbox}@{DOMAIN}"


TEAMS = (
    Team("company", "远帆贸易 Farsail", "", "", "gao"),
    Team("sales", "销售部 Sales", "company", "", "liang"),
    Team("east", "华东区 East China", "sales", "华东", "liang"),
    Team("south", "华南区 South China", "sales", "华南", "fang"),
    Team("overseas", "海外部 Overseas", "sales", "海外", "hughes"),
    Team("office", "财务与仓储 Finance and Warehouse", "company", "", "gao"),
)
PEOPLE = (
    Person("gao", "高远 Gao Yuan", "executive", "company"),
    Person("liang", "梁宏 Liang Hong", "sales_manager", "sales"),
    Person("fang", "方敏 Fang Min", "sales_manager", "south"),
    Person("hughes", "Clare Hughes", "sales_manager", "overseas", "en"),
    Person("qin", "秦悦 Qin Yue", "sales_rep", "east"),
    Person("tang", "唐磊 Tang Lei", "sales_rep", "south"),
    Person("moreau", "Hugo Moreau", "sales_rep", "overseas", "en"),
    Person("qian", "钱芳 Qian Fang", "finance", "office"),
    Person("shi", "石勇 Shi Yong", "warehouse", "office"),
    Person("audit", "Ingrid Solberg", "auditor", "office", "en"),
    Person("lindqvist", "Eva Lindqvist, Norrsken AB", "partner", "", "en"),
)
# Parts of the market, each below the one before; who works the second reaches its customers and all that
# names them, beside what their own team has.
MARKET = (
    ("中国 China", {"countryCodes": ["CN"]}, ()),
    ("长三角 Yangtze Delta", {"countryCodes": ["CN"], "regions": ["华东"]}, ("fang",)),
)
REACHED = ("customers.read", "contacts.read", "opportunities.read", "orders.read", "reports.read")


def make(servers: layout.Servers, http: str) -> str:
    """Found the company, its people and its business; a few words on what there is."""
    home = servers.home
    administrator = people.found(servers, COMPANY, ADMINISTRATOR, **SETTINGS)
    for person in PEOPLE:
        people.keep(home, COMPANY, person.role, person.email)
    asyncio.run(_fill(servers, http, administrator))
    neighbour = people.found(servers, NEIGHBOUR, "admin@bergland.example", **NEIGHBOURS)
    asyncio.run(_next_door(servers, http, neighbour))
    files.write_private(home / people.MADE, '{"made": "demo"}\n')
    return f"{len(PEOPLE) + 1} people in {len(TEAMS)} teams, and a neighbour"


def make_empty(servers: layout.Servers) -> str:
    """An organization with an administrator and nothing else."""
    people.found(servers, "My company", "admin@company.example")
    files.write_private(servers.home / people.MADE, '{"made": "empty"}\n')
    return "My company"


async def _fill(servers: layout.Servers, http: str, administrator: dict[str, str]) -> None:
    here = [person for person in people.sign_ins(servers.home) if person["organization"] == COMPANY]
    passwords = {person["email"]: person["password"] for person in here}
    api = Api(
        http,
        request_ids=f"demo of {COMPANY}",
        people=passwords,
        organization=COMPANY,
        authority=servers.authority,
    )
    api.become(administrator["email"], administrator["password"])
    await _people(api, passwords)
    for service in ORDER:
        if importlib.util.find_spec(f"services.{service}.seed"):  # who only listens has nothing to add
            await importlib.import_module(f"services.{service}.seed").seed(api)
    await api.close()


async def _next_door(servers: layout.Servers, http: str, administrator: dict[str, str]) -> None:
    """A customer and a deal of an organization of its own."""
    api = Api(
        http, request_ids=f"demo of {NEIGHBOUR}", organization=NEIGHBOUR, authority=servers.authority
    )  # fmt: skip
    api.become(administrator["email"], administrator["password"])
    customer = await api.post("/v1/customers", {"displayName": "Alpensägewerk AG", "currency": "EUR"})
    deal = {"title": "Sägeblätter 2027", "customer": customer["name"], "currency": "EUR"}
    await api.post("/v1/opportunities", deal)
    await api.close()


async def _people(api: Api, passwords: dict[str, str]) -> None:
    teams: dict[str, str] = {}
    for team in TEAMS:
        body: dict[str, Any] = {"displayName": team.title, "region": team.region}
        if team.above:
            body["parent"] = teams[team.above]
        teams[team.key] = (await api.post("/v1/teams", body))["name"]
    users: dict[str, str] = {}
    for person in PEOPLE:
        user = await api.post(
            "/v1/users",
            {
                "displayName": person.title,
                "email": person.email,
                "roles": [f"roles/{person.role}"],
                "team": teams.get(person.team, ""),
                "locale": person.locale,
            },
        )
        users[person.mailbox] = user["name"]
        await api.post(
            "/v1/users:activate",
            {"invitationCode": user["invitationCode"], "password": passwords[person.email]},
        )
    for team in TEAMS:
        await api.patch(f"/v1/{teams[team.key]}", {"manager": users[team.manager]})
    await _market(api, users)


async def _market(api: Api, users: dict[str, str]) -> None:
    """Territories, a role that reaches as far as one's own, and those who work them."""
    grants = [{"permission": name, "scope": "TERRITORY"} for name in REACHED]
    role = await api.post("/v1/roles", {"displayName": "区域负责人 Territory lead", "grants": grants})
    above = ""
    for title, criteria, mailboxes in MARKET:
        members = [users[mailbox] for mailbox in mailboxes]
        body = {"displayName": title, "criteria": criteria, "members": members, "parent": above}
        above = (await api.post("/v1/territories", body))["name"]
        for person in PEOPLE:
            if person.mailbox in mailboxes:
                roles = [f"roles/{person.role}", role["name"]]
                await api.patch(f"/v1/{users[person.mailbox]}", {"roles": roles})
