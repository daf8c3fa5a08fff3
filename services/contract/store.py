"""What is kept of papers and money, and how it is looked for."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money
from chassis.store import Collection, Shares, Store, Tx
from chassis.territories import customer_territories
from services.contract.domain.contract import Contract
from services.contract.domain.contract_version import ContractVersion
from services.contract.domain.credit import CreditExposure, CreditHold
from services.contract.domain.credit_note import CreditNote
from services.contract.domain.invoice import PAYABLE, Invoice
from services.contract.domain.journal_entry import Account, JournalEntry
from services.contract.domain.payment import Payment
from services.contract.domain.quote import Quote


class ContractStore(Store):
    """Papers, money and credit."""

    shares = Shares("contract")
    quotes = Collection(
        Quote,
        index=(("owner", "state"), ("team",), ("customer",), ("opportunity",), ("state", "valid_until")),
        unique=(("number", "revision"),),
        sealed={"accepter": None},
        about=("customer",),
        names=("accepter",),
        placed=True,
    )
    contracts = Collection(
        Contract,
        index=(("owner", "state"), ("team",), ("customer",), ("opportunity",), ("quote",), ("state",)),
        unique=(("number",),),
        sealed={"signers.person": None},
        about=("customer",),
        names=("signers.person",),
        by_law=True,
        placed=True,
    )
    contract_versions = Collection(
        ContractVersion,
        unique=(("contract", "version_number"),),
        append_only=True,
        follows=("contract", "contracts"),
        sealed={"signers.person": None},
        about=("contract",),
        by_law=True,
    )
    invoices = Collection(
        Invoice,
        index=(
            ("owner", "state"),
            ("team",),
            ("customer", "state"),
            ("contract",),
            ("order",),
            ("shipment",),
        ),
        unique=(("number",), ("series", "serial")),
        private=("series", "serial"),
        about=("customer",),
        by_law=True,
        placed=True,
    )
    credit_notes = Collection(
        CreditNote,
        index=(("owner",), ("customer",)),
        unique=(("number",), ("series", "serial"), ("invoice",)),
        private=("series", "serial"),
        append_only=True,
        follows=("invoice", "invoices"),
        about=("customer",),
        by_law=True,
        placed=True,
    )
    payments = Collection(
        Payment,
        index=(("owner", "state"), ("team",), ("customer", "state")),
        unique=(("number",),),
        about=("customer",),
        by_law=True,
        placed=True,
    )
    journal_entries = Collection(
        JournalEntry,
        index=(("journal",), ("customer", "account"), ("document",), ("book_date",)),
        append_only=True,
        checks={"something": "amount <> 0"},
    )
    credit_exposures = Collection(
        CreditExposure, index=(("owner",), ("team",)), checks={"held": "held >= 0"}, placed=True
    )
    credit_holds = Collection(
        CreditHold, index=(("customer",),), checks={"held": "held >= 0 AND held <= amount"}
    )
    customer_territories = customer_territories()


_ENTRIES = ContractStore.journal_entries.table.c
_HOLDS = ContractStore.credit_holds.table.c
_INVOICES = ContractStore.invoices.table.c
_PAYMENTS = ContractStore.payments.table.c


def id_of(name: str) -> str:
    """The last part of a resource name."""
    return name.rpartition("/")[2]


async def exposure_of(tx: Tx, customer: str, *, lock: bool = False) -> CreditExposure | None:
    """The customer's credit, whoever asks; *lock* makes all who move its money take turns."""
    found = await tx.all(CreditExposure, limit=1, lock=lock, scoped=False, id=id_of(customer))
    return found[0] if found else None


async def must_know(tx: Tx, customer: str, field: str) -> CreditExposure:
    """The customer's credit, or REFERENCE_UNKNOWN for a customer nobody told us of."""
    if found := await exposure_of(tx, customer):
        return found
    raise Refused("REFERENCE_UNKNOWN", field=field, name=customer)


async def counted(tx: Tx, exposure: CreditExposure) -> CreditExposure:
    """The exposure with its sums counted anew, for a currency it did not count in before."""
    currency = exposure.currency
    held = sa.select(sa.func.coalesce(sa.func.sum(_HOLDS.held), 0).label("amount")).where(
        _HOLDS.tenant_id == tx.call.tenant,
        _HOLDS.customer == exposure.customer,
        _HOLDS.held_currency == currency,
    )
    owed = sa.select(sa.func.coalesce(sa.func.sum(_ENTRIES.amount), 0).label("amount")).where(
        _ENTRIES.tenant_id == tx.call.tenant,
        _ENTRIES.customer == exposure.customer,
        _ENTRIES.account == Account.RECEIVABLE,
        _ENTRIES.amount_currency == currency,
    )
    sums = [Money(int((await tx.rows(query))[0]["amount"]), currency) for query in (held, owed)]
    return replace(exposure, held=sums[0], receivable=sums[1])


async def open_invoices(tx: Tx, customer: str, currency: str) -> list[Invoice]:
    """What the customer has to pay in a currency, the longest due first; each held until the commit."""
    return await tx.all(
        Invoice,
        _INVOICES.state.in_(sorted(PAYABLE)),
        customer=customer,
        currency=currency,
        order="due_date, series, serial",
        lock=True,
        scoped=False,
    )


async def payments_of(tx: Tx, invoice: str, customer: str) -> list[Payment]:
    """The payments that pay an invoice."""
    return await tx.all(
        Payment,
        _PAYMENTS.allocations.contains([{"invoice": invoice}]),
        customer=customer,
        lock=True,
        scoped=False,
    )


# What a customer owes, currency by currency; the days late are counted from the day that is asked for.
RECEIVABLE = """
WITH owed AS (
  SELECT amount_currency AS currency, sum(amount) AS balance FROM journal_entries
  WHERE tenant_id = %s AND customer = %s AND account = 'RECEIVABLE' GROUP BY 1
), unpaid AS (
  SELECT currency, sum(open_amount) AS open,
    sum(open_amount) FILTER (WHERE due_date >= %s::date) AS not_due,
    sum(open_amount) FILTER (WHERE %s::date - due_date BETWEEN 1 AND 30) AS overdue_30,
    sum(open_amount) FILTER (WHERE %s::date - due_date BETWEEN 31 AND 60) AS overdue_60,
    sum(open_amount) FILTER (WHERE %s::date - due_date BETWEEN 61 AND 90) AS overdue_90,
    sum(open_amount) FILTER (WHERE %s::date - due_date > 90) AS overdue_older
  FROM invoices WHERE tenant_id = %s AND customer = %s AND state IN ('POSTED', 'PARTLY_PAID') GROUP BY 1
), ahead AS (
  SELECT unallocated_currency AS currency, sum(unallocated) AS unallocated FROM payments
  WHERE tenant_id = %s AND customer = %s GROUP BY 1
)
SELECT currency, balance, coalesce(open, 0) AS open_invoices, coalesce(unallocated, 0) AS unallocated,
  coalesce(not_due, 0) AS not_due, coalesce(overdue_30, 0) AS overdue_30,
  coalesce(overdue_60, 0) AS overdue_60, coalesce(overdue_90, 0) AS overdue_90,
  coalesce(overdue_older, 0) AS overdue_older
FROM owed LEFT JOIN unpaid USING (currency) LEFT JOIN ahead USING (currency) ORDER BY currency
"""


async def receivable(tx: Tx, customer: str) -> list[dict[str, Any]]:
    """What the customer owes in each currency, and how late it is today."""
    today, here = tx.call.today, [tx.call.tenant, customer]
    return await tx.rows(RECEIVABLE, [*here, *([today] * 5), *here, *here])
