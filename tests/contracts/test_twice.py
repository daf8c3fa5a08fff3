"""What no story of a service needs its callers to repeat, asked for twice here: done once, answered the same.

The callers do the repeating (see tests/platform.py); `test_repeated.py` holds all of it against the contract.
"""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.call import new_id
from tests.messages import decimal, money

Company = tuple[dict[str, str], dict[str, Any]]
PASSWORD = "tall grass by the river"


def mask(*paths: str) -> FieldMask:
    """Which fields an Update means."""
    return FieldMask(paths=list(paths))


@pytest.mark.req("X-21")
async def test_people_and_structure(company: Company) -> None:
    names, at = company
    access = at["access"]
    changed = {"name": names["organizations"], "time_zone": "Asia/Shanghai"}
    await access.UpdateOrganization(organization=changed, update_mask=mask("time_zone"))
    user = await access.CreateUser(
        user={"display_name": "Ann", "email": f"{new_id()}@world.example", "roles": ["roles/sales_rep"]}
    )
    await access.service.method("ActivateUser")(invitation_code=user.invitation_code, password=PASSWORD)
    changed = {"name": user.name, "display_name": "Anna"}
    await access.UpdateUser(user=changed, update_mask=mask("display_name"))
    await access.DisableUser(name=user.name)
    await access.EnableUser(name=user.name)
    await access.ResetPassword(name=user.name)
    await access.RevokeSession(name=names["sessions"])
    await access.ChangePassword(password=PASSWORD, new_password="short grass by the lake")
    grants = [{"permission": "orders.read", "scope": "OWN"}]
    role = await access.CreateRole(role={"display_name": "Looks", "grants": grants})
    changed = {"name": role.name, "description": "Looks at orders."}
    await access.UpdateRole(role=changed, update_mask=mask("description"))
    await access.DeleteRole(name=role.name)
    upper = await access.CreateTeam(team={"display_name": "Upper"})
    lower = await access.CreateTeam(team={"display_name": "Lower"})
    await access.UpdateTeam(team={"name": lower.name, "region": "North"}, update_mask=mask("region"))
    await access.MoveTeam(name=lower.name, parent=upper.name)
    await access.DeleteTeam(name=lower.name)
    await access.RevokeApiKey(name=names["apiKeys"])


@pytest.mark.req("X-21")
async def test_goods(company: Company) -> None:
    names, at = company
    goods = at["inventory"]
    changed = {"name": names["priceLists"], "display_name": "Prices"}
    await goods.UpdatePriceList(price_list=changed, update_mask=mask("display_name"))
    await goods.DeletePriceList(name=names["priceLists"])
    await goods.UndeletePriceList(name=names["priceLists"])
    hall = await goods.CreateWarehouse(warehouse={"code": "TWICE", "display_name": "Second hall"})
    changed = {"name": hall.name, "display_name": "Third hall"}
    await goods.UpdateWarehouse(warehouse=changed, update_mask=mask("display_name"))
    await goods.DeleteWarehouse(name=hall.name)
    await goods.UndeleteWarehouse(name=hall.name)
    product = await goods.CreateProduct(
        product={"sku": "TWICE", "display_name": "Other", "list_price": money(1)}
    )
    await goods.DeleteProduct(name=product.name)
    await goods.UndeleteProduct(name=product.name)
    line = {"product": names["products"], "quantity": decimal("1"), "unit_price": money(10)}
    order = await goods.CreateOrder(
        order={"customer": names["customers"], "currency": "CNY", "lines": [line]}
    )
    await goods.DeleteOrder(name=order.name)
    await goods.UndeleteOrder(name=order.name)


@pytest.mark.req("X-21")
async def test_papers_and_leads(company: Company) -> None:
    names, at = company
    papers, sales = at["contract"], at["customer"]
    line = {"product": names["products"], "quantity": decimal("1"), "unit_price": money(10)}
    paper = {"customer": names["customers"], "currency": "CNY", "lines": [line]}
    quote = await papers.CreateQuote(quote=paper)
    await papers.DeleteQuote(name=quote.name)
    await papers.UndeleteQuote(name=quote.name)
    await papers.SubmitQuote(name=quote.name)
    await papers.SendQuote(name=quote.name)
    await papers.DeclineQuote(name=quote.name, reason="too late")
    cheap = await papers.CreateQuote(quote=paper | {"lines": [line | {"discount_percent": decimal("20")}]})
    await papers.SubmitQuote(name=cheap.name)
    manager = at["contract"].service.as_("sales_manager", tenant=papers.tenant, permissions={
        "quotes.approve": "all", "quotes.read": "all"})  # fmt: skip
    await manager.RejectQuote(name=cheap.name, comment="too cheap")
    contract = await papers.CreateContract(contract=paper | {"title": "Twice"})
    await papers.DeleteContract(name=contract.name)
    await papers.UndeleteContract(name=contract.name)
    await papers.TerminateContract(name=contract.name, reason="never begun")
    invoice = await papers.CreateInvoice(invoice=paper)
    await papers.UpdateInvoice(invoice={"name": invoice.name, "note": "soon"}, update_mask=mask("note"))
    await papers.DeleteInvoice(name=invoice.name)
    await papers.UndeleteInvoice(name=invoice.name)
    lead = await sales.CreateLead(lead={"company_name": "Twice Ltd"})
    await sales.DeleteLead(name=lead.name)
    await sales.UndeleteLead(name=lead.name)


@pytest.mark.req("X-21")
async def test_shares(company: Company) -> None:
    names, at = company
    shared = {
        "customer": "leads",
        "opportunity": "opportunities",
        "contract": "quotes",
        "inventory": "orders",
    }
    for service, noun in shared.items():
        made = await at[service].ShareRecord(record=names[noun], grantee=names["teams"], access="WRITE")
        assert made.name.startswith(f"shares/{service}/")
        await at[service].RevokeShare(name=made.name)
