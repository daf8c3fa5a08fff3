"""Two real companies' data come in through the public API, and the published figures come out."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.api import Api, eventually
from tests.journeys.conftest import Stack


def money(value: dict[str, Any]) -> Decimal:
    """google.type.Money in JSON as a decimal."""
    return Decimal(value.get("units", "0")) + Decimal(value.get("nanos", 0)) / 10**9


def cents(amount: Decimal) -> Decimal:
    """Rounded to the cent as the published figures are."""
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def bring_in(stack: Stack, mapping: str, folder: Path, report: Path) -> str:
    """What `tradewind import` says of a folder, brought into an organization of its own."""
    said = stack.command("import", mapping, str(folder), "--organization", mapping, "--report", str(report))
    assert "rows = created + updated + skipped" in said
    return said


def administrator(stack: Stack, organization: str) -> Api:
    """Its administrator, over HTTP."""
    sign_ins = json.loads((stack.home / "sign-ins.json").read_text())
    who = next(one for one in sign_ins if one["organization"] == organization)
    return stack.api("http").as_(who["email"], who["password"])


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the verdicts on every row go."""
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def maven_said(stack: Stack, data: Path, reports: Path) -> str:
    """What the import of the hardware seller printed."""
    return bring_in(stack, "crm_maven", data / "crm_maven", reports / "maven.csv")


@pytest.fixture(scope="module")
def maven(stack: Stack, maven_said: str) -> Api:
    """The hardware seller."""
    return administrator(stack, "crm_maven")


@pytest.fixture(scope="module")
def northwind(stack: Stack, data: Path, reports: Path) -> Api:
    """The importer of delicacies."""
    bring_in(stack, "northwind", data / "northwind" / "data", reports / "northwind.csv")
    return administrator(stack, "northwind")


def deals(api: Api, measure: str, *group: str, **filters: Any) -> dict[str, Any]:
    """One measure of the won deals by the titles of their groups."""
    answer = api.QueryDeals(
        groupBy=list(group), measures=["WON_COUNT", measure], filter={"states": ["WON"], **filters}, limit=200
    )
    name = re.sub(r"_(\w)", lambda m: m[1].upper(), measure.lower())
    return {
        row["keys"][0]["title"] if row.get("keys") else "": (
            int(row["wonCount"]), money(row[name])
        )
        for row in answer["rows"]
    }  # fmt: skip


@pytest.mark.req("INT-10")
def test_the_hardware_seller(maven: Api) -> None:
    eventually(lambda: int(maven.GetWinRate().get("total", 0)) == 8800, seconds=120)
    rate = eventually(lambda: (r := maven.GetWinRate()).get("won") == "4238" and r, seconds=120)
    assert (rate["lost"], rate["ofClosedPercent"]["value"], rate["ofAllPercent"]["value"]) == (
        "2473",
        "63.15",
        "48.16",
    )
    assert deals(maven, "WON_AMOUNT") == {"": (4238, Decimal(10_005_534))}
    assert deals(maven, "AVERAGE")[""][1] == Decimal("2360.91")
    assert deals(maven, "MEDIAN")[""][1] == Decimal(1117)
    assert {k: (n, round(v)) for k, (n, v) in deals(maven, "AVERAGE", "REGION").items()} == {
        "Central": (1629, 2054), "East": (1171, 2639), "West": (1438, 2482),
    }  # fmt: skip
    products = {title: amount for title, (_, amount) in deals(maven, "WON_AMOUNT", "PRODUCT").items()}
    assert [products[p] for p in ("GTX Pro", "GTX Plus Pro", "MG Advanced")] == [
        3_510_578,
        2_629_651,
        2_216_387,
    ]
    assert [amount for _, amount in deals(maven, "WON_AMOUNT", "QUARTER").values()] == [
        1_134_672, 3_086_111, 2_982_255, 2_802_496,
    ]  # fmt: skip
    assert deals(maven, "WON_AMOUNT", "OWNER")["Darcel Schlecht"] == (349, Decimal(1_153_214))
    last = deals(maven, "WON_AMOUNT", "MANAGER", closeFromDate={"year": 2017, "month": 10, "day": 1})
    assert {m: last[m][1] for m in ("Melvin Marxen", "Celia Rouche", "Dustin Brinkmann", "Cara Losch")} == {
        "Melvin Marxen": 670_788, "Celia Rouche": 430_212, "Dustin Brinkmann": 316_994, "Cara Losch": 311_148,
    }  # fmt: skip
    for state, days in (("WON", "51.78"), ("LOST", "41.48")):
        answer = maven.QueryDeals(measures=["DAYS_TO_CLOSE"], filter={"states": [state]})
        assert answer["rows"][0]["daysToClose"]["value"] == days


@pytest.mark.parametrize(
    ("name", "rows"),
    [("maven", {"accounts": 85, "deals": 8800}), ("northwind", {"customers": 91, "orders": 830})],
)
def test_what_became_of_every_row(
    maven: Api, northwind: Api, reports: Path, name: str, rows: dict[str, int]
) -> None:
    with (reports / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        verdicts = list(csv.DictReader(file))
    assert {v["verdict"] for v in verdicts} <= {"created", "updated", "skipped"}
    told = Counter(v["step"] for v in verdicts)
    assert {step: told[step] for step in rows} == rows
    assert len({(v["step"], v["row"]) for v in verdicts}) == len(verdicts)
    assert [v for v in verdicts if v["verdict"] == "skipped" and not v["reason"]] == []


def test_what_the_files_hide_is_told(maven_said: str) -> None:
    for sentence in (
        "1,480 × product 'GTXPro' is taken as 'GTX Pro'",
        "12 × sector 'technolgy' is taken as 'technology'",
        "1,425 × without an account: opened without a customer",
        "500 × without an engage date",
        "2,089 × open, without a value",
        "5 × agents without a deal",
        "15 × belongs to a parent company",
    ):
        assert sentence in maven_said


def test_importing_again_changes_nothing(
    stack: Stack, maven: Api, data: Path, tmp_path: Path, reports: Path
) -> None:
    bring_in(stack, "crm_maven", data / "crm_maven", tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text("utf-8") == (reports / "maven.csv").read_text("utf-8")
    assert maven.GetWinRate()["total"] == "8800"


def test_the_importer_of_delicacies_is_equal_to_the_last_cent(northwind: Api) -> None:
    def sold(measure: str, *group: str) -> dict[str, Decimal]:
        answer = northwind.QueryRevenue(groupBy=list(group), measures=[measure], limit=200)
        rows = answer.get("rows", [])
        return {r["keys"][0]["title"] if r.get("keys") else "": money(r[measure.lower()]) for r in rows}

    eventually(lambda: sold("NET").get("") == Decimal("1265793.0395"), seconds=120)
    assert sold("GROSS")[""] == Decimal("1354458.59")
    assert sold("FREIGHT")[""] == Decimal("64942.69")
    assert {year: cents(net) for year, net in sold("NET", "YEAR").items()} == {
        "1996": Decimal("208083.97"), "1997": Decimal("617085.20"), "1998": Decimal("440623.87"),
    }  # fmt: skip
    assert sold("NET", "PRODUCT_CATEGORY")["Beverages"] == Decimal("267868.18")
    sellers, buyers = sold("NET", "OWNER"), sold("NET", "CUSTOMER")
    assert cents(next(net for who, net in sellers.items() if "Peacock" in who)) == Decimal("232890.85")
    assert cents(next(net for who, net in buyers.items() if "QUICK-Stop" in who)) == Decimal("110277.31")
    orders = eventually(lambda: northwind.GetOrderFigures(reportDate={"year": 1998, "month": 5, "day": 7}))
    assert (orders["unshipped"], orders["late"]) == ("21", "37")
    assert [(y["year"], y["orders"]) for y in orders["years"]] == [
        (1996, "152"),
        (1997, "408"),
        (1998, "270"),
    ]
    stock = northwind.GetStockFigures()
    assert (stock["belowReorderLevel"], money(stock["value"][0])) == ("18", Decimal("69598.25"))


def test_the_laws_hold_with_real_data(stack: Stack, maven: Api, northwind: Api) -> None:
    assert "✗" not in stack.command("verify")
