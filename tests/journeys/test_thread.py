"""One thread from lead to cash, told twice: over HTTP, and over gRPC through the gateway's port."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chassis.call import new_id
from tests.journeys.api import Api, Refusal, eventually
from tests.journeys.conftest import ROOT, Stack

PASSWORD = "a long enough passphrase"


def cny(units: int) -> dict[str, str]:
    """Whole yuan as google.type.Money in JSON."""
    return {"currencyCode": "CNY", "units": str(units)}


def invite(admin: Api, role: str, team: str) -> str:
    """Invite a person of that role, who sets a password; the e-mail."""
    email = f"{role}-{new_id()}@company.example"
    user = {"displayName": role, "email": email, "roles": [f"roles/{role}"], "team": team}
    invited = admin.CreateUser(user=user)
    admin.ActivateUser(invitationCode=invited["invitationCode"], password=PASSWORD)
    return email


def hire(admin: Api, role: str, team: str) -> Any:
    """Somebody of that role, signed in."""
    return admin.as_(invite(admin, role, team), PASSWORD)


@pytest.mark.req(
    "CUS-26", "OPP-04", "QUO-04", "CON-02", "CON-08", "CON-09", "ORD-03", "ORD-07", "INV-01", "FIN-01",
    "FIN-02", "FIN-05", "SEC-04", "ANA-01",
)  # fmt: skip
@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_a_lead_becomes_cash(stack: Stack, transport: str) -> None:
    admin = stack.api(transport).as_(stack.email, stack.password)
    team = admin.CreateTeam(team={"displayName": f"East {transport}", "region": "East"})["name"]
    rep, manager = hire(admin, "sales_rep", team), hire(admin, "sales_manager", team)
    finance, keeper = hire(admin, "finance", team), hire(admin, "warehouse", team)

    # The goods: a product, a warehouse, stock.
    sku = f"LATHE-{new_id()[-8:]}"
    lathe = admin.CreateProduct(product={
        "sku": sku, "displayName": "Precision lathe 精密车床", "unit": "piece", "kind": "STOCKED",
        "taxPercent": {"value": "13"}, "listPrice": cny(40_000),
    })  # fmt: skip
    hall = admin.CreateWarehouse(warehouse={"code": f"W-{new_id()[-6:]}", "displayName": "Shanghai 上海仓"})
    keeper.ReceiveStock(product=lathe["name"], warehouse=hall["name"], quantity={"value": "5"})

    # A lead is worked, qualified and converted: customer, contact and deal, exactly once.
    lead = rep.CreateLead(lead={
        "companyName": f"华东精密工具有限公司 {new_id()[-6:]}", "person": "王芳", "email": "wang@example.com",
        "wish": "Two lathes before spring", "budget": cny(80_000), "source": "WEBSITE",
    })  # fmt: skip
    rep.StartLead(name=lead["name"])
    rep.QualifyLead(name=lead["name"])
    converted = rep.ConvertLead(name=lead["name"], requestId=(once := new_id()))
    assert rep.ConvertLead(name=lead["name"], requestId=once) == converted
    customer = converted["customer"]["name"]
    deal = eventually(lambda: rep.GetOpportunity(name=converted["opportunity"]))
    assert (deal["customer"], deal["state"], deal["amount"]) == (customer, "OPEN", cny(80_000))

    # The deal cannot be won before its gates; it advances, gets a quote, and the customer accepts.
    quote = rep.CreateQuote(quote={
        "opportunity": deal["name"], "customer": customer, "currency": "CNY",
        "lines": [{"product": lathe["name"], "description": "Precision lathe", "quantity": {"value": "2"},
                   "unitPrice": cny(40_000), "discountPercent": {"value": "15"},
                   "taxPercent": {"value": "13"}}],
    })  # fmt: skip
    assert quote["totals"]["total"] == cny(76_840)  # 2 × 40,000 − 15 % + 13 %
    quote = rep.SubmitQuote(name=quote["name"])
    assert quote["state"] == "IN_REVIEW"  # 15 % off is more than a rep may give
    with pytest.raises(Refusal):
        rep.ApproveQuote(name=quote["name"])
    assert manager.ApproveQuote(name=quote["name"])["state"] == "APPROVED"
    rep.SendQuote(name=quote["name"])
    rep.AcceptQuote(name=quote["name"], accepter="王芳")
    deal = eventually(lambda: (d := rep.GetOpportunity(name=deal["name"])).get("acceptedQuote") and d)
    while deal["stage"] != stages(rep, deal)[-1]:
        deal = rep.AdvanceOpportunity(name=deal["name"])
    won = rep.WinOpportunity(name=deal["name"], outcome="Delivery before spring", lessons="Visit early")
    assert won["state"] == "WON"
    with pytest.raises(Refusal, match="STATE_FORBIDS"):
        rep.WinOpportunity(name=deal["name"], outcome="again")

    # A contract drafts itself from the won deal; it is approved, signed and started.
    contract = eventually(
        lambda: rep.ListContracts(filter=f'opportunity = "{deal["name"]}"').get("contracts")
    )[0]
    assert contract["totals"]["total"] == quote["totals"]["total"]
    rep.SubmitContract(name=contract["name"])
    manager.ApproveContract(name=contract["name"])
    signed = manager.SignContract(name=contract["name"], signers=[{"person": "王芳", "party": "Customer"}],
                                  fileHash="a" * 64)  # fmt: skip
    assert signed["state"] == "SIGNED"
    rep.StartContract(name=contract["name"])

    # The signed contract drafts an order; confirming it reserves the stock and holds the credit.
    order = eventually(lambda: rep.ListOrders(filter=f'contract = "{contract["name"]}"').get("orders"))[0]
    assert order["totals"]["total"] == quote["totals"]["total"]
    rep.UpdateOrder(order={"name": order["name"], "warehouse": hall["name"]})
    rep.ConfirmOrder(name=order["name"])
    order = eventually(lambda: (o := rep.GetOrder(name=order["name"]))["state"] == "CONFIRMED" and o)
    balance = keeper.ListStock(filter=f'product = "{lathe["name"]}"')["stock"][0]
    assert (balance["onHand"]["value"], balance["reserved"]["value"]) == ("5", "2")

    # Shipped and delivered: an invoice drafts itself, finance posts it, the customer pays.
    shipment = keeper.CreateShipment(shipment={"order": order["name"]})
    keeper.DispatchShipment(name=shipment["name"], carrier="SF", trackingNumber="SF123")
    keeper.DeliverShipment(name=shipment["name"])
    invoice = eventually(lambda: finance.ListInvoices(filter=f'order = "{order["name"]}"').get("invoices"))[0]
    assert invoice["totals"]["total"] == quote["totals"]["total"]
    posted = finance.PostInvoice(name=invoice["name"])
    assert posted["state"] == "POSTED" and posted["number"]
    finance.CreatePayment(payment={"customer": customer, "amount": posted["totals"]["total"],
                                   "method": "BANK_TRANSFER",
                                   "allocations": [{"invoice": invoice["name"]}]})  # fmt: skip
    assert finance.GetInvoice(name=invoice["name"])["state"] == "PAID"

    # What follows by itself: the order is settled, the customer active, the contract done, the figures moved.
    eventually(lambda: rep.GetOrder(name=order["name"])["state"] == "SETTLED")
    eventually(lambda: rep.GetCustomer(name=customer)["state"] == "ACTIVE")
    eventually(
        lambda: rep.GetContract(name=contract["name"]).get("percentComplete", {}).get("value") == "100"
    )
    figures = eventually(lambda: (d := rep.GetDashboard()).get("revenueThisMonth") and d)
    assert figures["wonThisMonth"]["amount"] == quote["totals"]["net"]
    assert figures["revenueThisMonth"]["amount"] == quote["totals"]["net"]


def stages(api: Api, deal: dict[str, Any]) -> list[str]:
    """The keys of a deal's stages, in order."""
    return [stage["key"] for stage in api.GetPipeline(name=deal["pipeline"])["stages"]]


@pytest.mark.req("ANA-10")
@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_the_classic_funnel_promises_180000_in_each_of_three_months(stack: Stack, transport: str) -> None:
    admin = stack.api(transport).as_(stack.email, stack.password)
    rates = (("potential", "50"), ("bidding", "80"), ("negotiation", "90"))
    pipeline = admin.CreatePipeline(pipeline={
        "displayName": f"Classic {new_id()}",
        "stages": [{"key": key, "displayName": key, "successRate": {"value": rate}} for key, rate in rates],
    })  # fmt: skip
    for (key, _), amount in zip(rates, (500_000, 250_000, 200_000), strict=True):
        admin.CreateOpportunity(opportunity={
            "title": f"All in {key}", "pipeline": pipeline["name"], "stage": key, "amount": cny(amount),
            "currency": "CNY",
        })  # fmt: skip

    def forecast() -> Any:
        months = admin.GetLadderForecast(pipeline=pipeline["name"]).get("months", [])
        return [month.get("expected") for month in months[:3]] == [cny(180_000)] * 3

    eventually(forecast)


def test_the_laws_hold_afterwards(stack: Stack) -> None:
    assert "✗" not in stack.command("verify")


@pytest.mark.skipif(not shutil.which("curl"), reason="what the README does by hand needs curl")
def test_the_readme_by_hand(stack: Stack, tmp_path: Path) -> None:
    admin = stack.api("http").as_(stack.email, stack.password)
    team = admin.CreateTeam(team={"displayName": f"By hand {new_id()}"})["name"]
    people = [{"role": "administrator", "email": stack.email, "password": stack.password}]
    for role in ("sales_rep", "sales_manager", "warehouse", "finance"):
        people.append({"role": role, "email": invite(admin, role, team), "password": PASSWORD})
    (tmp_path / "sign-ins.json").write_text(json.dumps(people))
    done = subprocess.run(
        ["sh", "docs/thread.sh", str(tmp_path / "sign-ins.json"), stack.http, stack.grpc],
        cwd=ROOT, capture_output=True, text=True, timeout=240,
        env=os.environ | {"BUF": str(Path(sys.executable).parent / "buf")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "SETTLED"
