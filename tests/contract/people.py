"""A firm with a representative, a manager, an executive and a bookkeeper, and customers with credit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from google.type import date_pb2, money_pb2
from tradewind.contract.v1 import contract_pb2
from tradewind.customer.v1 import customer_pb2
from tradewind.customer.v1 import events_pb2 as customer_events_pb2
from tradewind.type.v1 import types_pb2

from chassis.call import new_id
from chassis.identity import Principal, Signer
from chassis.laws import verify
from services.contract.service import LAWS
from tests.messages import decimal, money
from tests.platform import Caller, Running

NORTH = "teams/north"


def elsewhere() -> tuple[str, date]:
    """A time zone in which it is another day than in UTC just now, and that day."""
    now = datetime.now(UTC)
    zone = "Etc/GMT-14" if now.hour >= 10 else "Etc/GMT+12"
    return zone, now.astimezone(ZoneInfo(zone)).date()


@dataclass(frozen=True)
class Firm:
    """The people of one organization, as callers of the contract service."""

    contract: Running
    rep: Caller
    boss: Caller
    chief: Caller
    finance: Caller
    inventory: Caller  # the service
    admin: Caller

    @property
    def tenant(self) -> str:
        return self.rep.tenant

    async def customer(
        self, limit: str = "", currency: str = "CNY", terms: int = 30, etag: str = "1", name: str = ""
    ) -> str:
        """A customer of the representative's, told of by the customer service."""
        said = customer_pb2.Customer(
            name=name or f"customers/{new_id()}",
            etag=etag,
            currency=currency,
            payment_terms_days=terms,
            owner=self.rep.user,
            team=NORTH,
        )
        if limit:
            said.credit_limit.CopyFrom(money(limit, currency))
        event = customer_events_pb2.CustomerCreated(customer=said)
        await self.contract.deliver(event, tenant=self.tenant, version=int(etag))
        return said.name

    async def invoice(self, customer: str, **more: Any) -> Any:
        """A posted invoice over 2260.00 CNY, unless its lines say otherwise."""
        said = {"customer": customer, "lines": [line()], **more}
        draft = await self.finance.CreateInvoice(invoice=said)
        return await self.finance.PostInvoice(name=draft.name)

    async def signed(self, customer: str, **more: Any) -> Any:
        """A signed contract over 2260.00 CNY, unless its lines say otherwise."""
        draft = await self.rep.CreateContract(
            contract={"customer": customer, "title": "Frame", "lines": [line()], **more}
        )
        await self.rep.SubmitContract(name=draft.name)
        await self.boss.ApproveContract(name=draft.name)
        return await self.sign(draft.name)

    async def sign(self, name: str) -> Any:
        return await self.boss.SignContract(
            name=name, signers=[contract_pb2.Signer(person="Li Wei")], file_hash="a1" * 32
        )

    async def used(self, customer: str) -> tuple[str, str]:
        """(held, receivable) of a customer's credit."""
        found = await self.finance.GetCreditExposure(name=customer.replace("customers/", "creditExposures/"))
        return amount(found.held), amount(found.receivable)


def firm(contract: Running, zone: str = "UTC") -> Firm:
    rep = contract.as_("sales_rep", team=NORTH, zone=zone)
    tenant = rep.tenant
    who = Principal(user="services/inventory", tenant=tenant, permissions={})
    signer = Signer.load(contract.runtime.settings.keys, "inventory")
    return Firm(
        contract,
        rep,
        contract.as_("sales_manager", tenant=tenant, team=NORTH, teams=(NORTH,)),
        contract.as_("executive", tenant=tenant),
        contract.as_("finance", tenant=tenant, zone=zone),
        Caller(contract, who, signer),
        contract.as_("administrator", tenant=tenant),
    )


def amount(said: money_pb2.Money) -> str:
    return f"{said.units}.{said.nanos // 10_000_000:02d}"


def day(year: int, month: int, of_month: int) -> date_pb2.Date:
    return date_pb2.Date(year=year, month=month, day=of_month)


def line(
    quantity: str = "2",
    price: str = "1000",
    discount: str = "0",
    tax: str = "13",
    product: str = "products/p1",
    currency: str = "CNY",
) -> types_pb2.PriceLine:
    return types_pb2.PriceLine(
        product=product,
        description="Handheld",
        quantity=decimal(quantity),
        unit_price=money(price, currency),
        discount_percent=decimal(discount),
        tax_percent=decimal(tax),
    )


async def lawful(contract: Running) -> None:
    """Assert that every law of the service holds, in every organization of this session."""
    verdicts = await verify("contract", contract.store, LAWS)
    assert not {verdict.name: verdict.broken for verdict in verdicts if verdict.broken}


async def events(caller: Caller, name: str) -> list[str]:
    """What happened to a record, in order: the short names of its events."""
    async with caller.service.store.database.connection() as connection:
        await connection.execute("SELECT set_config('app.tenant_id', %s, false)", (caller.tenant,))
        found = await connection.execute(
            "SELECT type FROM outbox WHERE tenant_id = %s AND record = %s ORDER BY id", (caller.tenant, name)
        )
        rows = await found.fetchall()
        await connection.execute("SELECT set_config('app.tenant_id', '', false)")
    return [row[0].rpartition(".")[2] for row in rows]
