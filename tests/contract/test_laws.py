"""Every law of the service notices what it forbids: damage is done under its eyes, and undone."""

from __future__ import annotations

import psycopg

from services.contract.service import LAWS
from tests.contract.people import Firm, firm, line
from tests.messages import decimal, money
from tests.platform import Running

# law → what breaks it, done by the owner of the database, whom no policy holds back
DAMAGE = {
    "journals": "UPDATE journal_entries SET amount = amount + 1 WHERE account = 'CASH'",
    "receivables": "UPDATE payments SET unallocated = unallocated + 1",
    "invoice numbers": "UPDATE invoices SET serial = serial + 1 WHERE serial IS NOT NULL",
    "lines": "UPDATE quotes SET totals = jsonb_set(totals, '{net,0}', '1')",
    "linked papers": "UPDATE quotes SET totals = jsonb_set(totals, '{tax,0}', '1')",
    "allocations": "UPDATE payments SET allocations = '[]'",
    "credit": "UPDATE credit_exposures SET held = held + 1",
    "versions": "UPDATE contracts SET version_number = version_number + 1 WHERE sign_time IS NOT NULL",
}


async def test_a_law_names_what_breaks_it(contract: Running) -> None:
    tenant = await _business(firm(contract))
    async with await psycopg.AsyncConnection.connect(contract.owner_url) as connection:
        for law in LAWS:
            broken = law.broken.replace("%(tenant)s", f"'{tenant}'")
            damage = DAMAGE[law.name]
            where = f"{'AND' if ' WHERE ' in damage else 'WHERE'} tenant_id = '{tenant}'"
            assert not await (await connection.execute(broken)).fetchall(), law.name
            await connection.execute(f"{damage} {where}")
            assert await (await connection.execute(broken)).fetchall(), law.name
            await connection.rollback()


async def _business(us: Firm) -> str:
    """An accepted quote, its contract, a posted invoice and part of the money; the organization."""
    customer = await us.customer(limit="100000")
    quote = await us.rep.CreateQuote(
        quote={"customer": customer, "lines": [line()], "discount_percent": decimal("5")}
    )
    await us.rep.SubmitQuote(name=quote.name)
    await us.rep.SendQuote(name=quote.name)
    await us.rep.AcceptQuote(name=quote.name, accepter="Li Wei")
    agreed = await us.rep.CreateContract(contract={"quote": quote.name})
    await us.rep.SubmitContract(name=agreed.name)
    await us.boss.ApproveContract(name=agreed.name)
    await us.sign(agreed.name)
    posted = await us.invoice(customer, contract=agreed.name, lines=[])
    await us.finance.CreatePayment(
        payment={"customer": customer, "amount": money("500"), "allocations": [{"invoice": posted.name}]}
    )
    return us.tenant
