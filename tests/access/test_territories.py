"""Territories: where customers lie and why, who reaches them by that, and how soon a change is felt."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from tradewind.access.v1 import role_pb2
from tradewind.analytics.v1 import deals_pb2, revenue_pb2
from tradewind.customer.v1 import customer_pb2
from tradewind.type.v1 import share_pb2

from chassis.call import Call, new_id
from chassis.resync import EVER, Loss, repairs_of
from services.customer.domain.customer import Customer
from services.customer.domain.territory import BY_HAND, Criteria, Market, Territory
from services.customer.jobs import settle_territories
from services.customer.rpc import territories
from tests.access.conftest import Company, Person
from tests.platform import Platform, Running, refused, settle
from tests.world import SERVICES, trade

READS = (
    "customers", "contacts", "opportunities", "quotes", "contracts", "invoices", "payments", "orders",
    "shipments", "reservations", "reports",
)  # fmt: skip
# What a trade leaves behind that names the customer: collection → (service, noun).
NOUNS = {
    "customers": ("customer", "Customer"), "contacts": ("customer", "Contact"),
    "opportunities": ("opportunity", "Opportunity"), "quotes": ("contract", "Quote"),
    "contracts": ("contract", "Contract"), "invoices": ("contract", "Invoice"),
    "payments": ("contract", "Payment"), "orders": ("inventory", "Order"),
    "shipments": ("inventory", "Shipment"), "reservations": ("inventory", "Reservation"),
}  # fmt: skip
PLURAL = {"Opportunity": "Opportunities"}
SHORE = {"regions": ["华东"], "country_codes": ["CN"]}


class Trading:
    """A company that has traded with one customer, and somebody who reaches what lies in their territory."""

    def __init__(self, company: Company, services: dict[str, Running]) -> None:
        self.company, self.services, self.names = company, services, dict[str, str]()

    async def begin(self) -> Trading:
        self.boss: Person = await self.company.administrator()
        tenant = self.company.tenant
        self.at = {name: one.as_(tenant=tenant, user=self.boss.name) for name, one in self.services.items()}
        self.names["teams"] = (await self.boss.CreateTeam(team={"display_name": "x"})).name
        await self.settle()
        async for _ in trade(self.at, self.names, new_id(), reader=self.boss.name):
            await self.settle()
        grants = [{"permission": f"{noun}.read", "scope": "TERRITORY"} for noun in READS]
        role = await self.boss.CreateRole(role={"display_name": "Territory", "grants": grants})
        self.who = await self.company.person(role.name)
        return self

    async def settle(self) -> None:
        await settle(*self.services.values())

    async def token(self) -> str:
        self.company.identify.forget()
        return (await self.company.identify(f"Bearer {self.who.sign_in.access_token}", "192.0.2.1")).token

    async def reached(self) -> set[str]:
        """The collections whose record of the trade is there for them, by itself and in the list alike."""
        found, token = set[str](), await self.token()
        for collection, (home, noun) in NOUNS.items():
            one = self.services[home]
            page = await one.method(f"List{PLURAL.get(noun, noun + 's')}", token)(page_size=200)
            listed = {each.name for each in getattr(page, page.DESCRIPTOR.fields[0].name)}
            try:
                await one.method(f"Get{noun}", token)(name=self.names[collection])
                found.add(collection)
            except Exception:
                assert self.names[collection] not in listed, collection
            else:
                assert self.names[collection] in listed, collection
        return found

    async def figures(self) -> tuple[int, int]:
        """How many deals and orders count for them."""
        ask, token = self.services["analytics"], await self.token()
        deals = await ask.method("QueryDeals", token)(measures=[deals_pb2.QueryDealsRequest.COUNT])
        orders = await ask.method("QueryRevenue", token)(measures=[revenue_pb2.QueryRevenueRequest.ORDERS])
        return sum(row.count for row in deals.rows), sum(row.orders for row in orders.rows)

    async def run_the_job(self) -> None:
        store = self.services["customer"].store
        async with store.begin(Call(tenant=self.company.tenant, user="services/customer")) as tx:
            await settle_territories(tx)
        await self.settle()

    async def customer(self) -> customer_pb2.Customer:
        return await self.at["customer"].GetCustomer(name=self.names["customers"])


@pytest.fixture
async def trading(platform: Platform, company: Company) -> Trading:
    return await Trading(company, {name: await platform.service(name) for name in SERVICES}).begin()


@pytest.mark.req("X-10")
async def test_who_works_a_territory_reaches_its_customers_and_all_that_names_them(trading: Trading) -> None:
    boss, customers = trading.boss, trading.at["customer"]
    east = await boss.CreateTerritory(territory={"display_name": "East", "members": [trading.who.name]})
    shore = await boss.CreateTerritory(
        territory={"display_name": "Shore", "parent": east.name, "criteria": SHORE}
    )
    await trading.settle()
    assert await trading.reached() == set() and await trading.figures() == (0, 0)
    home = {"name": trading.names["customers"], "region": "华东/上海", "country_code": "CN"}
    moved = await customers.UpdateCustomer(customer=home)
    assert (moved.territory, moved.territory_reason) == (shore.name, "country_code CN, region 华东")
    await trading.settle()
    assert await trading.reached() == set(NOUNS) and await trading.figures() == (1, 1)
    # Versions of a contract name no customer: they are reached with their contract.
    token, contract = await trading.token(), trading.services["contract"]
    versions = contract.method("ListContractVersions", token)
    (version,) = (await versions()).contract_versions
    assert await contract.method("GetContractVersion", token)(name=version.name) == version
    told = await boss.ExplainAccess(user=trading.who.name, record=version.name)
    assert (told.allowed, told.territory) == (True, shore.name)
    assert list(told.relations) == [share_pb2.Reach.TERRITORY]
    # Why, and who else.
    told = await boss.ExplainAccess(user=trading.who.name, record=trading.names["invoices"])
    assert (told.allowed, told.scope, told.territory) == (True, role_pb2.Role.TERRITORY, shore.name)
    assert list(told.relations) == [share_pb2.Reach.TERRITORY]
    viewers = (await boss.WhoCanSee(record=trading.names["orders"])).viewers
    assert {one.user: list(one.relations) for one in viewers}[trading.who.name] == [share_pb2.Reach.TERRITORY]
    # New papers of the customer lie where it does, and those of others do not.
    for customer, seen in ((trading.names["customers"], True), (await other_customer(trading), False)):
        deal = {"title": "x", "customer": customer, "currency": "CNY", "amount": {"currency_code": "CNY"}}
        made = await trading.at["opportunity"].CreateOpportunity(opportunity=deal)
        listed = await trading.services["opportunity"].method("ListOpportunities", await trading.token())()
        assert (made.name in [one.name for one in listed.opportunities]) == seen
    # By hand: no criteria move it; its reach follows at once everywhere.
    west = await boss.CreateTerritory(territory={"display_name": "West"})
    await trading.settle()
    placed = await customers.PlaceCustomer(name=home["name"], territory=west.name)
    assert (placed.territory, placed.territory_reason) == (west.name, BY_HAND)
    await trading.settle()
    assert await trading.reached() == set() and await trading.figures() == (0, 0)
    assert (await customers.UpdateCustomer(customer=home)).territory == west.name
    assert (await customers.PlaceCustomer(name=home["name"])).territory == shore.name
    await refused(customers.PlaceCustomer(name=home["name"], territory=f"territories/{new_id()}"),
                  "REFERENCE_UNKNOWN")  # fmt: skip


async def test_after_a_restoration_records_lie_where_their_customers_do_again(trading: Trading) -> None:
    """Of what a customer service told that was then restored, nothing is left in those who had heard it."""
    boss, home = trading.boss, trading.names["customers"]
    kept = await boss.CreateTerritory(territory={"display_name": "Kept", "members": [trading.who.name]})
    await trading.settle()
    await trading.at["customer"].PlaceCustomer(name=home, territory=kept.name)
    await trading.settle()
    assert await trading.reached() == set(NOUNS)
    tenant = trading.company.tenant
    for name in ("opportunity", "contract", "inventory"):
        service = trading.services[name]
        lost = "UPDATE customer_territories SET territory = 'territories/lost' WHERE tenant_id = %s"
        gone = "INSERT INTO customer_territories VALUES (%s, 'customers/gone', 'territories/lost')"
        with psycopg.connect(service.owner_url) as db:
            db.execute(lost, [tenant])
            db.execute(gone, [tenant])
    assert await trading.reached() == {"customers", "contacts"}
    for name in ("opportunity", "contract", "inventory"):
        service = trading.services[name]
        call = Call(tenant=tenant, user=f"services/{name}", clients=service.runtime.clients)
        loss = Loss("customer", "the next", EVER, service.store, call)
        for repair in repairs_of(service.runtime.service.repairs)["customer"]:
            await repair(loss)
        with psycopg.connect(service.owner_url) as db:
            rows = db.execute("SELECT customer, territory FROM customer_territories WHERE tenant_id = %s AND"
                              " territory <> ''", [tenant]).fetchall()  # fmt: skip
        assert rows == [(home, kept.name)]
    assert await trading.reached() == set(NOUNS)


async def test_a_territory_moves_with_all_below_it_and_never_below_itself(trading: Trading) -> None:
    boss = trading.boss
    made = [
        await boss.CreateTerritory(territory={"display_name": name}) for name in ("East", "Shore", "Harbour")
    ]
    east, shore, harbour = (one.name for one in made)
    assert (await boss.MoveTerritory(name=harbour, parent=shore)).parent == shore
    assert (await boss.MoveTerritory(name=shore, parent=east)).parent == east
    facts = await refused(boss.MoveTerritory(name=east, parent=harbour), "TERRITORY_CYCLE")
    assert facts == {"territory": east, "parent": harbour}
    await refused(boss.MoveTerritory(name=east, parent=f"territories/{new_id()}"), "REFERENCE_UNKNOWN")
    above = {"name": east, "members": [trading.who.name]}
    await boss.UpdateTerritory(territory=above, update_mask={"paths": ["members"]})
    await trading.settle()
    await trading.at["customer"].PlaceCustomer(name=trading.names["customers"], territory=harbour)
    await trading.settle()
    assert await trading.reached() == set(NOUNS), "who works a territory works those below it"
    await boss.MoveTerritory(name=shore, parent="")
    await trading.settle()
    assert await trading.reached() == set()


async def other_customer(trading: Trading) -> str:
    made = await trading.at["customer"].CreateCustomer(customer={"display_name": new_id()})
    await trading.settle()
    return str(made.name)


async def test_a_change_of_members_or_criteria_is_felt(trading: Trading) -> None:
    boss = trading.boss
    shore = await boss.CreateTerritory(territory={
        "display_name": "Shore", "criteria": SHORE, "members": [trading.who.name]})  # fmt: skip
    await trading.settle()
    home = {"name": trading.names["customers"], "region": "华东", "country_code": "CN"}
    await trading.at["customer"].UpdateCustomer(customer=home)
    await trading.settle()
    assert await trading.reached() == set(NOUNS)
    changed = {"name": shore.name, "members": []}
    await boss.UpdateTerritory(territory=changed, update_mask={"paths": ["members"]})
    assert await trading.reached() == set()
    changed = {"name": shore.name, "members": [trading.who.name], "criteria": {"regions": ["华南"]}}
    await boss.UpdateTerritory(territory=changed, update_mask={"paths": ["members", "criteria"]})
    await trading.settle()
    await trading.run_the_job()
    assert await trading.reached() == set() and not (await trading.customer()).territory
    done = await trading.at["customer"].GetTerritorySettlement()
    assert (done.state, done.settled, done.moved) == (done.DONE, done.total, 1)
    changed["criteria"] = {"regions": ["华东"]}
    await boss.UpdateTerritory(territory=changed, update_mask={"paths": ["criteria"]})
    await trading.settle()
    await trading.run_the_job()
    assert await trading.reached() == set(NOUNS)
    await boss.DeleteTerritory(name=shore.name)
    await trading.settle()
    await trading.run_the_job()
    assert await trading.reached() == set() and not (await trading.customer()).territory


async def test_many_customers_are_settled_in_pieces_that_go_on_where_they_stopped(
    company: Company, access: Running, customer: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    boss = await company.administrator()
    sales = customer.as_(tenant=company.tenant, user=boss.name)
    for _ in range(5):
        await sales.CreateCustomer(customer={"display_name": new_id(), "industry": "Steel"})
    steel = await boss.CreateTerritory(territory={
        "display_name": "Steel", "criteria": {"industries": ["Steel"]}})  # fmt: skip
    await settle(access, customer)
    monkeypatch.setattr(territories, "MOVED", 2)
    seen = []
    for _ in range(4):
        told = await sales.GetTerritorySettlement()
        seen.append((told.state == told.DONE, told.total, told.settled, told.moved))
        async with customer.store.begin(Call(tenant=company.tenant, user="services/customer")) as tx:
            await settle_territories(tx)
    assert seen == [(False, 5, 0, 0), (False, 5, 2, 2), (False, 5, 4, 4), (True, 5, 5, 5)]
    listed = (await sales.ListCustomers(filter=f'territory = "{steel.name}"')).customers
    assert [one.territory_reason for one in listed] == ["industry Steel"] * 5


def a_customer(**more: Any) -> Customer:
    return Customer(id="1", display_name="x", **more)


def test_the_deepest_then_the_narrowest_then_the_eldest_takes_a_customer() -> None:
    cn = Criteria(country_codes=("CN",))
    top = Territory(name="territories/1", criteria=cn)
    narrow = Territory(name="territories/2", criteria=Criteria(country_codes=("CN",), industries=("Steel",)))
    low = Territory(name="territories/3", parent="territories/1", criteria=Criteria(regions=("华东",)))
    market = Market([low, narrow, top, Territory(name="territories/4", criteria=cn)])
    placed = [market.settle(a_customer(country_code="CN", **more)).territory for more in (
        {}, {"industry": "Steel"}, {"industry": "Steel", "region": "华东/上海"}, {"region": "华东北"},
    )]  # fmt: skip
    assert placed == ["territories/1", "territories/2", "territories/3", "territories/1"]
    assert market.settle(a_customer(country_code="DE", territory="territories/1")).territory == ""


def test_by_hand_stands_as_long_as_the_territory_does() -> None:
    market = Market([Territory(name="territories/1"), Territory(name="territories/2")])
    placed = market.place(a_customer(), "territories/2")
    assert market.settle(placed) == placed and market.place(placed, "").territory == ""
    assert Market([]).settle(placed).territory == ""


@pytest.mark.parametrize(
    ("employees", "taken"), [(0, False), (49, False), (50, True), (99, True), (100, False)]
)
def test_a_size_class_has_two_bounds_and_takes_no_unknown_size(employees: int, taken: bool) -> None:
    sized = Territory(name="territories/1", criteria=Criteria(min_employees=50, below_employees=100))
    assert bool(Market([sized]).settle(a_customer(employees=employees)).territory) is taken
