"""One organization that has a record of every kind, for the matrix."""

from __future__ import annotations

from typing import Any

import pytest_asyncio

from chassis.call import new_id
from gateway.found import found
from tests.messages import decimal, money
from tests.platform import Platform, settle


@pytest_asyncio.fixture(scope="session")
async def world(company: tuple[dict[str, str], dict[str, Any]]) -> dict[str, str]:
    """collection → the name of one record in it, all of one organization."""
    return company[0]


@pytest_asyncio.fixture(scope="session")
async def company(platform: Platform) -> tuple[dict[str, str], dict[str, Any]]:
    """The names of that organization's records, and its administrator at every service."""
    services = {name: await platform.service(name) for name in
                ("access", "customer", "opportunity", "contract", "inventory", "analytics")}  # fmt: skip
    settings = services["access"].runtime.settings
    email = f"{new_id()}@world.example"
    made = await found(
        settings, display_name=f"World {new_id()}", email=email, password="tall grass by the river"
    )
    tenant = made["organization"].rpartition("/")[2]
    at = {
        name: service.as_("administrator", tenant=tenant, user=made["user"])
        for name, service in services.items()
    }
    names = {"organizations": made["organization"], "users": made["user"], "roles": "roles/sales_rep"}
    await _people(at["access"], names, email)
    await settle(*services.values())
    await _trade(at, names, lambda: settle(*services.values()))
    return names, at


async def _people(access: Any, names: dict[str, str], email: str) -> None:
    names["teams"] = (await access.CreateTeam(team={"display_name": "World"})).name
    session = await access.service.method("CreateSession")(email=email, password="tall grass by the river")
    names["sessions"] = session.session.name
    key = await access.CreateApiKey(api_key={"display_name": "world", "permissions": ["customers.read"]})
    names["apiKeys"] = key.name


async def _trade(at: dict[str, Any], names: dict[str, str], flow: Any) -> None:
    """A little of everything: goods, a customer, a deal, papers, an order, money."""
    goods, sales, papers = at["inventory"], at["customer"], at["contract"]
    names["products"] = (await goods.CreateProduct(product={
        "sku": "W-1", "display_name": "Thing", "list_price": money(10), "tax_percent": decimal("13"),
        "kind": "STOCKED",
    })).name  # fmt: skip
    names["warehouses"] = (await goods.CreateWarehouse(warehouse={"code": "W", "display_name": "Hall"})).name
    names["priceLists"] = (await goods.CreatePriceList(price_list={
        "display_name": "List", "currency": "CNY",
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
        await sales.CreateCustomer(customer={"display_name": "World Ltd", "currency": "CNY"})
    ).name
    names["contacts"] = (await sales.CreateContact(
        contact={"display_name": "Ann", "customer": names["customers"]})).name  # fmt: skip
    names["leads"] = (await sales.CreateLead(lead={"company_name": "Somebody"})).name
    await flow()
    deals = at["opportunity"]
    names["pipelines"] = (await deals.ListPipelines()).pipelines[0].name
    names["opportunities"] = (await deals.CreateOpportunity(opportunity={
        "title": "Deal", "customer": names["customers"], "amount": money(100),
        "currency": "CNY"})).name  # fmt: skip
    line = {"product": names["products"], "quantity": decimal("1"), "unit_price": money(10)}
    names["quotes"] = (await papers.CreateQuote(quote={
        "customer": names["customers"], "currency": "CNY", "lines": [line]})).name  # fmt: skip
    contract = await papers.CreateContract(contract={
        "title": "Contract", "customer": names["customers"], "currency": "CNY", "lines": [line]})  # fmt: skip
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
    names["creditNotes"] = (await papers.CreditInvoice(name=invoice.name, reason="wrong")).credit_note
    names["invoices"] = (await papers.CreateInvoice(invoice={
        "customer": names["customers"], "currency": "CNY", "lines": [line]})).name  # fmt: skip
    names["payments"] = (await papers.CreatePayment(payment={
        "customer": names["customers"], "amount": money(5)})).name  # fmt: skip
    names["journalEntries"] = (await papers.ListJournalEntries()).journal_entries[0].name
    key = names["customers"].rpartition("/")[2]
    names["creditExposures"], names["receivables"] = f"creditExposures/{key}", f"receivables/{key}"
    found = (await papers.ListContractVersions()).contract_versions
    names["contractVersions"] = found[0].name if found else f"contractVersions/{new_id()}"
