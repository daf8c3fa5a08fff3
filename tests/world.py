"""One organization that has a record of every kind: what a matrix or a rig reaches for by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from chassis.call import new_id
from chassis.field_rules import FieldRules
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
    names = {"organizations": made["organization"], "users": made["user"]}
    await _people(at["access"], names, email, mark)
    await settle(*services.values())
    async for _ in trade(at, names, mark):
        await settle(*services.values())
    await ask_to_be_told(at, names)
    return names | {"email": email}, at


async def ask_to_be_told(at: dict[str, Any], names: dict[str, str]) -> None:
    """The contact asks what is kept about them."""
    asked = {"kind": "EXPORT", "subject": names["contacts"], "reason": "asked by letter"}
    made = await at["access"].CreatePersonalDataRequest(personal_data_request=asked)
    names["personalDataRequests"] = made.name


async def _people(access: Any, names: dict[str, str], email: str, mark: str) -> None:
    names["teams"] = (await access.CreateTeam(team={"display_name": mark})).name
    names["territories"] = (await access.CreateTerritory(territory={"display_name": mark})).name
    guest = {"display_name": mark, "grants": [{"permission": "customers.read", "scope": "OWN"}]}
    names["roles"] = (await access.CreateRole(role=guest)).name
    session = await access.service.method("CreateSession")(email=email, password=PASSWORD)
    names["sessions"] = session.session.name
    key = await access.CreateApiKey(api_key={"display_name": mark, "permissions": ["customers.read"]})
    names["apiKeys"] = key.name
    clerk = access.service.as_(
        tenant=access.tenant, permissions={"accessRequests.write": "own"},
        fields=FieldRules({"customers.tax_id": "HIDDEN"}),
    )  # fmt: skip
    names["accessRequests"] = (await clerk.CreateAccessRequest(access_request={
        "field": "customers.tax_id", "reason": f"For {mark}"})).name  # fmt: skip
    names["handovers"] = (await access.CreateHandover(handover={"user": names["users"]})).name
    provider = {"display_name": mark, "issuer": "http://127.0.0.1:9/", "client_id": mark}
    names["identityProviders"] = (await access.CreateIdentityProvider(identity_provider=provider)).name


async def trade(
    at: dict[str, Any], names: dict[str, str], mark: str, *, weight: int = 1, helpers: tuple[str, ...] = (),
    code: str = "W", reader: str = "",
) -> AsyncIterator[None]:  # fmt: skip
    """A little of everything, in the caller's hands: goods, a customer, a deal, papers, an order, money.

    It stops where events have to flow before it can go on. *weight* multiplies the deal and the order, so
    that a sum tells whose they are; *helpers* work on both; *code* keeps goods of one organization apart;
    *reader* is shared the customer.
    """
    await _goods(at["inventory"], names, mark, code)
    await _prospects(at["customer"], names, mark, helpers)
    shared = await at["customer"].ShareRecord(
        record=names["customers"], grantee=reader or names["teams"], access="READ"
    )
    names["shares"] = shared.name
    yield
    deals, papers, goods = at["opportunity"], at["contract"], at["inventory"]
    only = {"key": "only", "display_name": "Only", "success_rate": decimal("50")}
    selling = {"display_name": f"Selling {mark}", "stages": [only]}
    names["pipelines"] = (await deals.CreatePipeline(pipeline=selling)).name
    names["opportunities"] = (await deals.CreateOpportunity(opportunity={
        "title": f"Deal {mark}", "customer": names["customers"], "amount": money(100 * weight),
        "currency": "CNY", "collaborators": helpers})).name  # fmt: skip
    line = {"product": names["products"], "quantity": decimal("1"), "unit_price": money(10 * weight)}
    await _agreed(papers, names, mark, line)
    order = await goods.CreateOrder(order={
        "customer": names["customers"], "currency": "CNY", "lines": [line],
        "warehouse": names["warehouses"], "collaborators": helpers})  # fmt: skip
    names["orders"] = order.name
    await goods.ConfirmOrder(name=order.name)
    yield
    names["shipments"] = (await goods.CreateShipment(shipment={"order": order.name})).name
    promised = await goods.ListReservations(filter=f'order = "{order.name}"')
    names["reservations"] = promised.reservations[0].name
    await _money(papers, names, mark, line)


async def _goods(goods: Any, names: dict[str, str], mark: str, code: str) -> None:
    names["products"] = (await goods.CreateProduct(product={
        "sku": f"{code}-1", "display_name": f"{mark} thing", "list_price": money(10),
        "tax_percent": decimal("13"), "kind": "STOCKED",
    })).name  # fmt: skip
    names["warehouses"] = (
        await goods.CreateWarehouse(warehouse={"code": code, "display_name": f"{mark} hall"})
    ).name
    names["priceLists"] = (await goods.CreatePriceList(price_list={
        "display_name": f"{mark} list", "currency": "CNY",
        "entries": [{"product": names["products"], "unit_price": money(9)}],
    })).name  # fmt: skip
    moved = await goods.ReceiveStock(
        product=names["products"], warehouse=names["warehouses"], quantity=decimal("10")
    )
    names["movements"] = moved.name
    lying = await goods.ListStock(filter=f'product = "{names["products"]}"')
    names["stock"] = lying.stock[0].name


async def _prospects(sales: Any, names: dict[str, str], mark: str, helpers: tuple[str, ...]) -> None:
    customer = {"display_name": f"{mark} Ltd", "currency": "CNY"}
    names["customers"] = (await sales.CreateCustomer(customer=customer)).name
    names["contacts"] = (await sales.CreateContact(
        contact={"display_name": f"Ann {mark}", "customer": names["customers"]})).name  # fmt: skip
    said = {"person": names["contacts"], "purpose": "MARKETING", "channel": "EMAIL", "decision": "GIVEN"}
    names["consents"] = (
        await sales.CreateConsent(consent=said | {"evidence": f"form of {mark}", "source": "PAPER_FORM"})
    ).name
    names["leads"] = (await sales.CreateLead(lead={"company_name": f"Somebody {mark}"})).name
    kept = {"display_name": f"Kept {mark}", "subject": "DISQUALIFIED_LEADS", "months": 600}
    names["retentionRules"] = (await sales.CreateRetentionRule(retention_rule=kept)).name
    if helpers:
        await sales.SetCustomerCollaborators(name=names["customers"], collaborators=helpers)


async def _agreed(papers: Any, names: dict[str, str], mark: str, line: dict[str, Any]) -> None:
    """A quote, a contract in draft, and the version of one that was signed."""
    wanted = {"customer": names["customers"], "currency": "CNY", "lines": [line]}
    names["quotes"] = (await papers.CreateQuote(quote=wanted)).name
    wanted["title"] = f"Contract {mark}"
    names["contracts"] = (await papers.CreateContract(contract=wanted)).name
    signed = (await papers.CreateContract(contract=wanted)).name
    await papers.SubmitContract(name=signed)
    chief = papers.service.as_(
        "sales_manager", tenant=papers.tenant, permissions={"contracts.approve": "all"}
    )
    await chief.ApproveContract(name=signed)
    await papers.SignContract(
        name=signed, signers=[{"person": f"Li {mark}"}], file_hash="a1" * 32
    )  # fmt: skip
    found = await papers.ListContractVersions(filter=f'contract = "{signed}"')
    names["contractVersions"] = found.contract_versions[0].name


async def _money(papers: Any, names: dict[str, str], mark: str, line: dict[str, Any]) -> None:
    """A credited invoice, one in draft, a payment, and what follows from them."""
    wanted = {"customer": names["customers"], "currency": "CNY", "lines": [line]}
    invoice = await papers.CreateInvoice(invoice=wanted)
    await papers.PostInvoice(name=invoice.name)
    note = (await papers.CreditInvoice(name=invoice.name, reason=f"wrong {mark}")).credit_note
    names["creditNotes"] = note
    names["invoices"] = (await papers.CreateInvoice(invoice=wanted)).name
    names["payments"] = (await papers.CreatePayment(payment={
        "customer": names["customers"], "amount": money(5)})).name  # fmt: skip
    entries = await papers.ListJournalEntries(filter=f'document = "{note}"')
    names["journalEntries"] = entries.journal_entries[0].name
    key = names["customers"].rpartition("/")[2]
    names["creditExposures"], names["receivables"] = f"creditExposures/{key}", f"receivables/{key}"
