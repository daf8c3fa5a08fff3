"""Papers that the laws are tried on."""

from __future__ import annotations

from datetime import UTC, date, datetime

from chassis.kernel.pricing import Line
from chassis.kernel.values import Money, Percent, Quantity
from services.contract.domain.contract import Contract, Signer
from services.contract.domain.invoice import Invoice
from services.contract.domain.plan import Obligation
from services.contract.domain.quote import Quote

AT = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
TODAY = date(2026, 3, 10)
ANN, BOB, CIO = "users/ann", "users/bob", "users/cio"


def line(
    quantity: str = "2", unit_price: str = "1000", discount: str = "0", product: str = "products/p1"
) -> Line:
    return Line(
        product=product,
        quantity=Quantity.of(quantity),
        unit_price=Money.of(unit_price, "CNY"),
        discount_percent=Percent.of(discount),
        tax_percent=Percent.of("13"),
    )


def cny(text: str) -> Money:
    return Money.of(text, "CNY")


QUOTE = Quote(id="q1", number="Q-2026-0001", customer="customers/c1", lines=(line(),), owner=ANN).priced()
CONTRACT = Contract(
    id="k1",
    number="C-2026-0001",
    customer="customers/c1",
    lines=(line(),),
    obligations=(Obligation(what="deliver"), Obligation(what="train", weight=3)),
    owner=ANN,
).agreed()
SIGNED = (
    CONTRACT.submit(by=ANN)
    .approve(by=BOB, roles={"sales_manager"}, at=AT)
    .sign(signers=(Signer(person="Li Wei"),), sign_time=AT, file_hash="0" * 64, at=AT)
)
INVOICE = Invoice(id="i1", customer="customers/c1", lines=(line(),), owner=ANN).drafted()
POSTED = INVOICE.post(series="INV-2026", serial=7, issue_date=TODAY, terms_days=30, at=AT, today=TODAY)
