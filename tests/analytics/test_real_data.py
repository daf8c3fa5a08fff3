"""The published figures of two real data sets, from their files as facts through the consumer."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
from google.protobuf.message import Message
from tradewind.analytics.v1 import deals_pb2, revenue_pb2
from tradewind.type.v1 import feed_pb2

from chassis.call import new_id
from chassis.events import ZERO
from chassis.outbox import part_of
from tests.analytics import facts
from tests.analytics.facts import day, shown
from tests.platform import EPOCH

Deals, Revenue = deals_pb2.QueryDealsRequest, revenue_pb2.QueryRevenueRequest
READ = {"reports.read": "all"}
USD = "USD"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return list(csv.DictReader(file))


async def pour(analytics, tenant: str, events: Iterable[Message]) -> None:
    """Many facts at once, in the batches that a consumer applies."""
    part, sources = part_of(tenant), {}
    for event in events:
        sources.setdefault(event.DESCRIPTOR.full_name.split(".")[1], []).append(event)
    consumer = analytics.runtime.consumer
    for source, told in sources.items():
        epoch, at = await consumer.cursor(source, part)
        run = []
        for position, event in zip(count(at + 1), told, strict=False):
            first = getattr(event, event.DESCRIPTOR.fields[0].name)
            fact = feed_pb2.FeedEvent(
                event_id=new_id(), partition=part, position=position, organization=tenant,
                type=event.DESCRIPTOR.full_name, record=first.name, epoch=EPOCH if epoch == ZERO else epoch,
                record_version=int(first.etag), actor="users/tester",
            )  # fmt: skip
            fact.payload.Pack(event)
            run.append(fact)
        assert await consumer.apply(source, part, run) == at + len(told)


def maven(folder: Path) -> Iterable[Message]:
    """The hardware seller's year: agents in their managers' teams, and every deal as it ended."""
    agents = {}
    for row in rows(folder / "sales_teams.csv"):
        team, manager = f"teams/{row['manager']}", f"users/{row['manager']}"
        agents[row["sales_agent"]] = team
        yield facts.team(team, row["manager"], manager=manager, region=row["regional_office"])
        yield facts.user(manager, row["manager"])
        yield facts.user(f"users/{row['sales_agent']}", row["sales_agent"], team=team)
    for row in rows(folder / "products.csv"):
        yield facts.product(
            f"products/{row['product']}", row["product"], category=row["series"], currency=USD
        )
    states = {"Won": "WON", "Lost": "LOST"}
    for row in rows(folder / "sales_pipeline.csv"):
        of = row["product"].replace("GTXPro", "GTX Pro")
        state, value = states.get(row["deal_stage"], "OPEN"), row["close_value"] or "0"
        yield facts.deal(
            f"opportunities/{row['opportunity_id']}", state=state, stage=row["deal_stage"].lower(),
            amount=value, currency=USD, opened=row["engage_date"],
            closed=row["close_date"] if state != "OPEN" else "",
            owner=f"users/{row['sales_agent']}", team=agents[row["sales_agent"]],
            customer=f"customers/{row['account']}" if row["account"] else "",
            lines=[(f"products/{of}", value)],
        )  # fmt: skip


def net_of(price: str, quantity: str, discount: str) -> str:
    from decimal import Decimal

    return str(Decimal(price) * Decimal(quantity) * (1 - Decimal(discount)))


def northwind(folder: Path) -> Iterable[Message]:
    """The importer's orders; of their file, with its unquoted commas, the columns before the addresses."""
    for row in rows(folder / "products.csv"):
        yield facts.product(
            f"products/{row['productID']}", row["productName"], category=row["categoryID"],
            price=row["unitPrice"], reorder=row["reorderLevel"], currency=USD,
            discontinued=row["discontinued"] == "1",
        )  # fmt: skip
        yield facts.stock(f"stock/{row['productID']}", f"products/{row['productID']}", row["unitsInStock"])
    lines: dict[str, list[tuple[str, str, str, str]]] = {}
    for row in rows(folder / "order-details.csv"):
        worth = net_of(row["unitPrice"], row["quantity"], row["discount"])
        line = (f"products/{row['productID']}", row["unitPrice"], row["quantity"], worth)
        lines.setdefault(row["orderID"], []).append(line)
    for text in (folder / "orders.csv").read_text(encoding="utf-8", errors="replace").splitlines()[1:]:
        number, buyer, seller, ordered, required, sent, _, freight, *_ = text.split(",")
        shipped = sent[:10] if sent[:1].isdigit() else ""
        yield facts.order(
            f"orders/{number}", lines[number], state="SHIPPED" if shipped else "CONFIRMED", currency=USD,
            ordered=ordered[:10], required=required[:10], shipped=shipped, freight=freight,
            customer=f"customers/{buyer}", owner=f"users/{seller}",
        )  # fmt: skip


@pytest_asyncio.fixture(scope="module")
async def seller(analytics, data):
    tenant = new_id()
    await pour(analytics, tenant, maven(data / "crm_maven"))
    return analytics.as_(permissions=READ, tenant=tenant)


@pytest_asyncio.fixture(scope="module")
async def importer(analytics, data):
    tenant = new_id()
    await pour(analytics, tenant, northwind(data / "northwind" / "data"))
    return analytics.as_(permissions=READ, tenant=tenant)


async def won(boss, *dimensions, measure=Deals.WON_AMOUNT, **filters):
    answer = await boss.QueryDeals(
        group_by=dimensions, measures=[Deals.WON_COUNT, measure],
        filter=deals_pb2.DealFilter(states=["WON"], **filters), limit=1000,
    )  # fmt: skip
    name = Deals.Measure.Name(measure).lower()
    return {
        row.keys[0].title if row.keys else "": (row.won_count, shown(getattr(row, name)))
        for row in answer.rows
    }


async def test_the_hardware_sellers_rates_are_the_published_ones(seller):
    rate = await seller.GetWinRate()
    assert (rate.won, rate.lost, rate.others, rate.total) == (4238, 2473, 1589 + 500, 8800)
    assert (rate.of_closed_percent.value, rate.of_all_percent.value) == ("63.15", "48.16")


async def test_the_hardware_sellers_revenue_is_the_published_one(seller):
    assert await won(seller) == {"": (4238, "10005534")}
    assert await won(seller, measure=Deals.AVERAGE) == {"": (4238, "2360.91")}
    assert await won(seller, measure=Deals.MEDIAN) == {"": (4238, "1117")}
    products = await won(seller, Deals.PRODUCT)
    assert {p: products[p][1] for p in ("GTX Pro", "GTX Plus Pro", "MG Advanced")} == {
        "GTX Pro": "3510578", "GTX Plus Pro": "2629651", "MG Advanced": "2216387",
    }  # fmt: skip
    quarters = await won(seller, Deals.QUARTER)
    assert {quarter: amount for quarter, (_, amount) in quarters.items()} == {
        "2017-Q1": "1134672", "2017-Q2": "3086111", "2017-Q3": "2982255", "2017-Q4": "2802496",
    }  # fmt: skip


async def test_the_hardware_sellers_regions_and_managers_are_the_published_ones(seller):
    assert await won(seller, Deals.REGION, measure=Deals.AVERAGE) == {
        "Central": (1629, "2054.2"), "East": (1171, "2639.28"), "West": (1438, "2481.67"),
    }  # fmt: skip
    managers = await won(seller, Deals.MANAGER, close_from_date=day("2017-10-01"))
    assert {m: amount for m, (_, amount) in managers.items()} == {
        "Melvin Marxen": "670788", "Celia Rouche": "430212", "Dustin Brinkmann": "316994",
        "Cara Losch": "311148", "Summer Sewald": "559649", "Rocco Neubert": "513705",
    }  # fmt: skip
    assert (await won(seller, Deals.OWNER))["Darcel Schlecht"] == (349, "1153214")


@pytest.mark.parametrize(("state", "days"), [("WON", "51.78"), ("LOST", "41.48")])
async def test_the_hardware_sellers_days_to_close_are_the_published_ones(seller, state, days):
    answer = await seller.QueryDeals(
        measures=[Deals.DAYS_TO_CLOSE], filter=deals_pb2.DealFilter(states=[state])
    )
    assert answer.rows[0].days_to_close.value == days


async def sold(boss, *dimensions, measure=Revenue.NET, **filters):
    answer = await boss.QueryRevenue(
        group_by=dimensions, measures=[measure, Revenue.ORDERS],
        filter=revenue_pb2.RevenueFilter(**filters), limit=1000,
    )  # fmt: skip
    name = Revenue.Measure.Name(measure).lower()
    return {
        row.keys[0].value if row.keys else "": (shown(getattr(row, name)), row.orders) for row in answer.rows
    }


@pytest.mark.req("ANA-13")
async def test_the_importers_revenue_is_equal_to_the_last_digit(importer):
    assert await sold(importer) == {"": ("1265793.0395", 830)}
    assert await sold(importer, measure=Revenue.GROSS) == {"": ("1354458.59", 830)}
    assert await sold(importer, measure=Revenue.FREIGHT) == {"": ("64942.69", 830)}
    assert await sold(importer, Revenue.YEAR) == {
        "1996": ("208083.97", 152), "1997": ("617085.2035", 408), "1998": ("440623.866", 270),
    }  # fmt: skip
    assert (await sold(importer, Revenue.PRODUCT_CATEGORY))["1"][0] == "267868.18"
    assert (await sold(importer, Revenue.OWNER))["users/4"] == ("232890.846", 156)
    assert (await sold(importer, Revenue.CUSTOMER))["customers/QUICK"][0] == "110277.305"
    assert (await sold(importer, customers=["customers/QUICK"]))[""][0] == "110277.305"
    parts = await sold(importer, Revenue.PRODUCT, from_date=day("1996-07-04"))
    assert len(parts) == 77


async def test_the_importers_orders_and_stock_stand_as_counted(importer):
    orders = await importer.GetOrderFigures(report_date=day("1998-05-07"))
    assert (orders.unshipped, orders.late) == (21, 37)
    assert [(year.year, year.orders) for year in orders.years] == [(1996, 152), (1997, 408), (1998, 270)]
    stock = await importer.GetStockFigures()
    assert (stock.products, stock.below_reorder_level) == (77, 18)
    assert [shown(value) for value in stock.value] == ["69598.25"]
