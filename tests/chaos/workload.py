"""What the platform has to do while it is hurt: orders of many people for too few goods, up to the cash."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.client import Client, GaveUp, Told

SKUS, SCARCE = 6, 4  # of the products of an organization, so many are always short
CUSTOMERS, POOR = 6, 2  # of the customers, so many have little credit
PRICE = 10
ENDS = ("draft", "confirmed", "cancelled", "shipped", "paid")  # how far an order is meant to go
LIMIT = 1500  # what a poor customer may owe
SETTLES_WITHIN = 150.0  # what follows by itself (a confirmation, an invoice) is waited for so long


def cny(units: int) -> dict[str, str]:
    """Whole yuan."""
    return {"currencyCode": "CNY", "units": str(units)}


def amount(quantity: int) -> dict[str, str]:
    """A quantity as the API has it."""
    return {"value": str(quantity)}


@dataclass
class Company:
    """An organization with goods and customers."""

    client: Client
    products: list[str] = field(default_factory=list)
    customers: list[str] = field(default_factory=list)
    warehouse: str = ""


@dataclass
class Workload:
    """Stories told by many clients at once, until the time is over or enough orders were begun."""

    seed: int
    companies: list[Company]
    clients: int
    orders: int  # 0: as many as the time allows
    ending: Callable[[], bool]
    begun: int = 0
    told: Counter[str] = field(default_factory=Counter)
    stuck: list[str] = field(default_factory=list)
    receipts: int = 0
    waits: list[float] = field(default_factory=list)  # seconds until what follows elsewhere had followed

    def key(self, *words: Any) -> str:
        """The request id of one step: the same in every run of this seed."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, " ".join(map(str, ("chaos", self.seed, *words)))))

    @property
    def over(self) -> bool:
        """Whether no new story begins."""
        return self.ending() or bool(self.orders and self.begun >= self.orders)

    def waited(self) -> str:
        """How long consequences took, in words."""
        if not self.waits:
            return "none was waited for"
        waits = sorted(self.waits)
        middle, late = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
        return f"{len(waits)} waited for, half within {middle:.1f} s, 99 % within {late:.1f} s"

    async def furnish(self) -> None:
        """Products, opening stock and customers, before anything is hurt."""
        for at, company in enumerate(self.companies):
            do = company.client.do
            hall = await do("CreateWarehouse", self.key(at, "hall"), {
                "warehouse": {"code": f"H{at}", "displayName": f"Hall {at}"}})  # fmt: skip
            company.warehouse = hall["name"]
            for n in range(SKUS):
                product = await do("CreateProduct", self.key(at, "product", n), {"product": {
                    "sku": f"SKU-{at}-{n}", "displayName": f"Goods {n}", "kind": "STOCKED",
                    "taxPercent": {"value": "13"}, "listPrice": cny(PRICE * (n + 1))}})  # fmt: skip
                company.products.append(product["name"])
                await self._receive(company, n, 30 if n < SCARCE else 100_000, f"opening {at} {n}")
            for n in range(CUSTOMERS):
                customer = {"displayName": f"Customer {at}-{n}", "currency": "CNY"}
                if n < POOR:
                    customer["creditLimit"] = cny(LIMIT)  # type: ignore[assignment]
                made = await do("CreateCustomer", self.key(at, "customer", n), {"customer": customer})
                company.customers.append(made["name"])

    async def run(self) -> None:
        """Tell stories, and bring in goods, until it is over; then finish those under way."""
        tellers = [self._tell() for _ in range(self.clients)]
        await asyncio.gather(*tellers, *(self._restock(company) for company in self.companies))

    async def _tell(self) -> None:
        while not self.over:
            self.begun += 1
            n = self.begun
            chance = random.Random(f"{self.seed}/{n}")
            company = self.companies[n % len(self.companies)]
            try:
                how = await Story(self, company, n, chance).tell()
            except GaveUp:
                how = "gave up"
            except Told as no:
                how = f"refused: {no.reason}"
            self.told[how] += 1

    async def _restock(self, company: Company) -> None:
        at = self.companies.index(company)
        chance = random.Random(f"{self.seed}/restock/{at}")
        n = 0
        while not self.over:
            n += 1
            try:
                await self._receive(
                    company, chance.randrange(SCARCE), chance.randint(5, 25), f"restock {at} {n}"
                )
            except GaveUp:
                continue
            await asyncio.sleep(chance.uniform(0.1, 0.6))

    async def _receive(self, company: Company, sku: int, quantity: int, words: str) -> None:
        key = self.key(words)
        await company.client.do("ReceiveStock", key, {
            "product": company.products[sku], "warehouse": company.warehouse, "quantity": amount(quantity),
            "reason": key})  # fmt: skip
        self.receipts += 1


@dataclass
class Story:
    """One order, as far as it was meant to go. The choices are the seed's, not the clock's."""

    workload: Workload
    company: Company
    n: int
    chance: random.Random

    async def tell(self) -> str:
        """Carry it out; how far it came."""
        chance = self.chance
        end = chance.choices(ENDS, (8, 7, 30, 25, 30))[0]
        early = chance.random() < 0.3  # cancelled without waiting for the confirmation
        self.over = "grpc" if chance.random() < 0.25 else "http"
        order = (await self._do("CreateOrder", {"order": self._order()}))["name"]
        if end == "draft":
            return "drafted"
        try:
            await self._do("ConfirmOrder", {"name": order})
        except Told as no:
            if no.reason != "STOCK_SHORT":
                raise
            if chance.random() < 0.5:
                await self._cancel(order)
            return "refused for want of stock"
        if end == "cancelled" and early:
            await self._cancel(order)
            return "cancelled early"
        state = await self._confirmed(order)
        if state != "CONFIRMED":
            return f"confirmation ended {state}"
        if end == "cancelled":
            await self._cancel(order)
        if end in ("cancelled", "confirmed"):
            return end
        return await self._ship(order, end)

    def _order(self) -> dict[str, Any]:
        chance = self.chance
        skus = chance.sample(range(SKUS), chance.choice((2, 2, 3)))
        return {
            "customer": chance.choice(self.company.customers), "currency": "CNY",
            "warehouse": self.company.warehouse, "externalId": self._key("CreateOrder"),
            "lines": [{"product": self.company.products[sku], "quantity": amount(chance.randint(1, 5))}
                      for sku in skus],
        }  # fmt: skip

    async def _ship(self, order: str, end: str) -> str:
        made = await self._do("CreateShipment", {"shipment": {"order": order}})
        await self._do("DispatchShipment", {"name": made["name"], "carrier": "SF"})
        delivered = end == "paid" or self.chance.random() < 0.5
        if delivered:
            await self._do("DeliverShipment", {"name": made["name"]})
        if end != "paid":
            return "delivered" if delivered else "shipped"
        wanted = f'shipment = "{made["name"]}"'
        found = await self._until(
            lambda: self.company.client.read("ListInvoices", filter=wanted),
            lambda page: bool(page.get("invoices")), f"the invoice of {made['name']}",
        )  # fmt: skip
        if not found:
            return "no invoice came"
        invoice = found["invoices"][0]
        posted = await self._do("PostInvoice", {"name": invoice["name"]})
        await self._do("CreatePayment", {"payment": {
            "customer": posted["customer"], "amount": posted["totals"]["total"],
            "method": "BANK_TRANSFER", "reference": self._key("CreatePayment"),
            "allocations": [{"invoice": invoice["name"]}]}})  # fmt: skip
        return "paid"

    async def _confirmed(self, order: str) -> str:
        found = await self._until(
            lambda: self.company.client.read("GetOrder", name=order),
            lambda one: one["state"] != "CONFIRMING", f"the confirmation of {order}",
        )  # fmt: skip
        return str(found["state"]) if found else "nowhere"

    async def _cancel(self, order: str) -> None:
        await self._do("CancelOrder", {"name": order, "reason": "changed their mind"})

    async def _until(self, ask: Any, true: Callable[[Any], bool], what: str) -> dict[str, Any] | None:
        began, pause = time.monotonic(), 0.1
        while not true(found := await ask()):
            if time.monotonic() - began > SETTLES_WITHIN:
                self.workload.stuck.append(what)
                return None
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 2.0)
        self.workload.waits.append(time.monotonic() - began)
        return dict(found)

    async def _do(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        over = self.over if method in ("CreateOrder", "ConfirmOrder", "CancelOrder") else "http"
        return await self.company.client.do(method, self._key(method), request, over)

    def _key(self, method: str) -> str:
        return self.workload.key(self.n, method)
