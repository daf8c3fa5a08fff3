"""One organization that has a record of every kind: what a matrix or a rig reaches for by name."""

from __future__ import annotations

from typing import Any

from chassis.call import new_id
from gateway.found import found
from tests.messages import decimal, money
from tests.platform import Platform, settle

SERVICES = ("access", "customer", "opportunity", "contract", "inventory", "analytics")
PASSWORD = "tall grass by the river"


async def build(platform: Platform, mark: str = "World") -> tuple[dict[str, str], dict[str, Any]]:
    """collection → the name of one record in it, and that organization's administrator at every service.

    *mark* stands in every text that the records hold. `names["email"]` signs in with PASSWORD.
    """
    services = {name: await platform.service(name) for name in SERVICES}
    settings = services["access"].runtime.settings
    email = f"{new_id()}@world.example"
    made = await found(settings, display_name=f"{mark} {new_id()}", email=email, password=PASSWORD)
    tenant = made["organization"].rpartition("/")[2]
    at = {
        name: service.as_("administrator", tenant=tenant, user=made["user"])
        for name, service in services.items()
    }
    names = {"organizations": made["organization"], "users": made["user"], "roles": "roles/sales_rep"}
    await _people(at["access"], names, email, mark)
    await settle(*services.values())
    await _trade(at, names, lambda: settle(*services.values()), mark)
    return names | {"email": email}, at


async def _people(access: Any, names: dict[str, str], email: str, mark: str) -> None:
    names["teams"] = (await access.CreateTeam(team={"display_name": mark})).name
    session = await access.service.method("CreateSession")(email=email, password=PASSWORD)
    names["sessions"] = session.session.name
    key = await access.CreateApiKey(api_key={"display_name": mark, "permissions": ["customers.read"]})
    names["apiKeys"] = key.name
    names["handovers"] = (await access.CreateHandover(handover={"user": names["users"]})).name


async def _trade(at: dict[str, Any], names: dict[str, str], flow: Any, mark: str) -> None:
    """A little of everything: goods, a customer, a deal, papers, an order, money."""
    goods, sales, papers = at["inventory"], at["customer"], at["contract"]
    names["products"] = (await goods.CreateProduct(product={
        "sku": "W-1", "display_name": f"{mark} thing", "list_price": money(10), "tax_percent": decimal("13"),
        "kind": "STOCKED",
    })).name  # fmt: skip
    names["warehouses"] = (
        await goods.CreateWarehouse(warehouse={"code": "W", "display_name": f"{mark} hall"})
    ).name
    names["priceLists"] = (await goods.CreatePriceList(price_list={
        "display_name": f"{mark} list", "currency": "CNY",
        "entries": [{"product": names["products"], "unit_price": money(9)}],
    })).name  # fmt: skip
    stock = await goods.ReceiveStock(
        product=names["products"], warehouse=names["warehouses"], quantity=decimal("10")
    )
    names["stock"] = stock.name
    names["movements"] = (await goods.ListMovements()).movements[0].name
    names["reservations"] = (await goods.ReserveStock(
        product=names["products"], warehouse=names["warehouses"], quantity=decimal("1"))).name  # fmt: skip
    names["customers"] = (
        await sales.CreateCustomer(customer={"display_name": f"{mark} Ltd", "currency": "CNY"})
    ).name
    names["contacts"] = (await sales.CreateContact(
        contact={"display_name": f"Ann {mark}", "customer": names["customers"]})).name  # fmt: skip
    names["leads"] = (await sales.CreateLead(lead={"company_name": f"Somebody {mark}"})).name
    await flow()
    deals = at["opportunity"]
    names["pipelines"] = (await deals.ListPipelines()).pipelines[0].name
    names["opportunities"] = (await deals.CreateOpportunity(opportunity={
        "title": f"Deal {mark}", "customer": names["customers"], "amount": money(100),
        "currency": "CNY"})).name  # fmt: skip
    line = {"product": names["products"], "quantity": decimal("1"), "unit_price": money(10)}
    names["quotes"] = (await papers.CreateQuote(quote={
        "customer": names["customers"], "currency": "CNY", "lines": [line]})).name  # fmt: skip
    contract = await papers.CreateContract(contract={
        "title": f"Contract {mark}", "customer": names["customers"], "currency": "CNY",
        "lines": [line]})  # fmt: skip
    names["contracts"] = contract.name
    order = await goods.CreateOrder(order={
        "customer": names["customers"], "currency": "CNY", "lines": [line],
        "warehouse": names["warehouses"]})  # fmt: skip
    names["orders"] = order.name
    await goods.ConfirmOrder(name=order.name)
    await flow()
    names["shipments"] = (await goods.CreateShipment(shipment={"order": order.name})).name
    invoice = await papers.CreateInvoice(invoice={
        "customer": names["customers"], "currency": "CNY", "lines": [line]})  # fmt: skip
    await papers.PostInvoice(name=invoice.name)
    names["creditNotes"] = (await papers.CreditInvoice(name=invoice.name, reason=f"wrong {mark}")).credit_note
    names["invoices"] = (await papers.CreateInvoice(invoice={
        "customer": names["customers"], "currency": "CNY", "lines": [line]})).name  # fmt: skip
    names["payments"] = (await papers.CreatePayment(payment={
        "customer": names["customers"], "amount": money(5)})).name  # fmt: skip
    names["journalEntries"] = (await papers.ListJournalEntries()).journal_entries[0].name
    key = names["customers"].rpartition("/")[2]
    names["creditExposures"], names["receivables"] = f"creditExposures/{key}", f"receivables/{key}"
    found = (await papers.ListContractVersions()).contract_versions
    names["contractVersions"] = found[0].name if found else f"contractVersions/{new_id()}"
    shared = await sales.ShareRecord(record=names["customers"], grantee=names["teams"], access="READ")
    names["shares"] = shared.name
