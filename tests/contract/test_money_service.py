"""Invoices, payments and the journal over real calls: whatever happens, the books agree."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import grpc
import psycopg
import pytest
from tradewind.contract.v1 import invoice_pb2, journal_entry_pb2, payment_pb2

from chassis.call import new_id
from tests.chassis.test_answers import Counted
from tests.contract.people import Firm, amount, day, elsewhere, events, firm, lawful, line
from tests.messages import decimal, money
from tests.platform import Running, refused

STATE = invoice_pb2.Invoice
YEAR = datetime.now(UTC).year


async def pay(us: Firm, customer: str, text: str, *invoices: tuple[str, str]) -> payment_pb2.Payment:
    wanted = [
        payment_pb2.Payment.Allocation(invoice=name, amount=money(part) if part else None)
        for name, part in invoices
    ]
    return await us.finance.CreatePayment(
        payment={"customer": customer, "amount": money(text), "allocations": wanted}
    )


async def test_posting_takes_the_number_books_it_and_sets_the_terms(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer(terms=14)
    draft = await us.finance.CreateInvoice(invoice={"customer": customer, "lines": [line()]})
    assert (draft.number, draft.state, draft.owner) == ("", STATE.DRAFT, us.rep.user)
    posted = await us.finance.PostInvoice(name=draft.name)
    assert (posted.number, posted.state) == (f"INV-{YEAR}-000001", STATE.POSTED)
    assert (amount(posted.open_amount), amount(posted.paid_amount)) == ("2260.00", "0.00")
    days = datetime(*_ymd(posted.due_date)) - datetime(*_ymd(posted.issue_date))
    assert days.days == 14
    entries = (await us.finance.ListJournalEntries(filter=f'document = "{draft.name}"')).journal_entries
    account = journal_entry_pb2.JournalEntry.Account
    assert {(account.Name(entry.account), amount(entry.amount)) for entry in entries} == {
        ("RECEIVABLE", "2260.00"),
        ("REVENUE", "-2000.00"),
        ("TAX_PAYABLE", "-260.00"),
    }
    assert await us.used(customer) == ("0.00", "2260.00")
    await refused(us.finance.PostInvoice(name=draft.name), "STATE_FORBIDS")
    await refused(us.finance.UpdateInvoice(invoice={"name": draft.name, "note": "x"}), "STATE_FORBIDS")
    await refused(us.finance.DeleteInvoice(name=draft.name), "STATE_FORBIDS")
    await lawful(contract)


def _ymd(date) -> tuple[int, int, int]:
    return date.year, date.month, date.day


async def test_an_invoice_is_posted_with_few_round_trips(
    contract: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    us = firm(contract)
    draft = await us.finance.CreateInvoice(invoice={"customer": await us.customer(), "lines": [line()]})
    post, page = (contract.method(name, us.finance.token) for name in ("PostInvoice", "ListInvoices"))
    counted = Counted(contract.store, monkeypatch)
    await post(name=draft.name, request_id=new_id())
    # the invoice, then what the customer owes, locked, then the number: each lock after the one before
    assert counted.take() == (["BEGIN", *["SELECT"] * 4, "INSERT", "WITH", "COMMIT"], 4)
    await page()
    assert counted.take() == (["BEGIN", "SELECT", "SELECT", "COMMIT"], 2)


async def test_a_representative_sees_but_does_not_post(contract: Running) -> None:
    us = firm(contract)
    posted = await us.invoice(await us.customer())
    assert (await us.rep.GetInvoice(name=posted.name)).number == posted.number
    await refused(us.rep.PostInvoice(name=posted.name), "PERMISSION_DENIED")


async def test_a_past_date_needs_its_own_permission_and_its_own_series(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer()
    draft = await us.finance.CreateInvoice(invoice={"customer": customer, "lines": [line()]})
    await refused(us.finance.PostInvoice(name=draft.name, issue_date=day(2019, 6, 1)), "PERMISSION_DENIED")
    old = await us.admin.PostInvoice(name=draft.name, issue_date=day(2019, 6, 1))
    assert old.number == "INV-2019-000001"
    assert (await us.invoice(customer)).number == f"INV-{YEAR}-000001"


async def test_an_invoice_is_of_the_day_that_it_is_where_the_organization_is(contract: Running) -> None:
    zone, today = elsewhere()
    us = firm(contract, zone)
    customer = await us.customer()
    posted = await us.invoice(customer)
    assert _ymd(posted.issue_date) == (today.year, today.month, today.day)
    draft = await us.finance.CreateInvoice(invoice={"customer": customer, "lines": [line()]})
    later = today + timedelta(days=1)
    facts = await refused(
        us.finance.PostInvoice(name=draft.name, issue_date=day(later.year, later.month, later.day)),
        "FIELD_INVALID",
    )
    assert facts["field"] == "issue_date"
    said = day(today.year, today.month, today.day)
    assert (await us.finance.PostInvoice(name=draft.name, issue_date=said)).issue_date == said
    paid = await pay(us, customer, "10")
    assert paid.receive_date == said


async def test_numbers_have_no_gaps_when_posts_fail_and_race(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer()
    drafts = [
        await us.finance.CreateInvoice(invoice={"customer": customer, "lines": [line()]}) for _ in range(8)
    ]
    empty = await us.finance.CreateInvoice(invoice={"customer": customer, "lines": [line(price="0")]})

    async def post(name: str, dry: bool = False) -> str:
        try:
            return (await us.finance.PostInvoice(name=name, validate_only=dry)).number
        except grpc.aio.AioRpcError:
            return ""

    tries = [post(empty.name), *(post(draft.name, dry=True) for draft in drafts[:3])]
    tries += [post(draft.name) for draft in drafts for _ in range(2)]
    await asyncio.gather(*tries)
    invoices = (await us.finance.ListInvoices(filter='state = "POSTED"')).invoices
    assert sorted(each.number for each in invoices) == [f"INV-{YEAR}-{n:06d}" for n in range(1, 9)]
    await lawful(contract)


@pytest.mark.req("FIN-02")
async def test_a_payment_pays_in_parts_early_and_over(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer()
    first, second = await us.invoice(customer), await us.invoice(customer)
    part = await pay(us, customer, "1000", (first.name, ""))
    assert part.state == payment_pb2.Payment.ALLOCATED
    assert (await us.finance.GetInvoice(name=first.name)).state == STATE.PARTLY_PAID

    over = await pay(us, customer, "5000", (first.name, ""))
    assert (amount(over.unallocated), over.state) == ("3740.00", payment_pb2.Payment.PARTLY_ALLOCATED)
    assert (await us.finance.GetInvoice(name=first.name)).state == STATE.PAID
    assert await us.used(customer) == ("0.00", "-1480.00")

    rest = await us.finance.AllocatePayment(name=over.name)  # the oldest open ones
    assert (amount(rest.unallocated), [each.invoice for each in rest.allocations]) == (
        "1480.00",
        [first.name, second.name],
    )
    owed = await us.finance.GetReceivable(name=customer.replace("customers/", "receivables/"))
    assert [amount(owed.balances[0].balance), amount(owed.balances[0].unallocated)] == ["-1480.00", "1480.00"]
    assert await events(us.finance, first.name) == [
        "InvoiceCreated",
        "InvoicePosted",
        "InvoicePartlyPaid",
        "InvoicePaid",
    ]
    await lawful(contract)


async def test_what_a_payment_cannot_pay(contract: Running) -> None:
    us = firm(contract)
    customer, other = await us.customer(), await us.customer()
    open_one, theirs = await us.invoice(customer), await us.invoice(other)
    draft = await us.finance.CreateInvoice(invoice={"customer": customer, "lines": [line()]})
    dollars = await us.invoice(customer, lines=[line(currency="USD")])
    for name in (theirs.name, draft.name, dollars.name, "invoices/none"):
        await refused(pay(us, customer, "10", (name, "")), "INVOICE_NOT_PAYABLE")
    await refused(pay(us, customer, "10", (open_one.name, "11")), "ALLOCATION_TOO_MUCH")
    await refused(pay(us, customer, "9999", (open_one.name, "2260.01")), "ALLOCATION_TOO_MUCH")
    await refused(pay(us, customer, "10", (open_one.name, "5"), (open_one.name, "5")), "FIELD_INVALID")
    await refused(pay(us, customer, "10", (open_one.name, "0")), "FIELD_INVALID")
    await refused(pay(us, customer, "0"), "FIELD_INVALID")
    await refused(pay(us, customer, "-5"), "FIELD_INVALID")
    assert not (await us.finance.ListPayments()).payments
    await lawful(contract)


@pytest.mark.parametrize(("currency", "paid", "other"), [("CNY", "99.99", "99.9999"), ("JPY", "100", "99.5"),
                                                         ("KWD", "9.995", "9.9995")])  # fmt: skip
async def test_money_comes_in_the_decimals_of_its_currency(
    contract: Running, currency: str, paid: str, other: str
) -> None:
    us = firm(contract)
    said = {"customer": await us.customer(currency=currency)}
    wrong = us.finance.CreatePayment(payment={**said, "amount": money(other, currency)})
    assert (await refused(wrong, "FIELD_INVALID"))["field"] == "payment.amount"
    made = await us.finance.CreatePayment(payment={**said, "amount": money(paid, currency)})
    assert made.unallocated == money(paid, currency)


async def test_two_payments_at_once_never_pay_an_invoice_twice(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer()
    posted = await us.invoice(customer)
    results = await asyncio.gather(
        *(pay(us, customer, "2260", (posted.name, "2260")) for _ in range(6)), return_exceptions=True
    )
    assert sum(isinstance(each, payment_pb2.Payment) for each in results) == 1
    assert (await us.finance.GetInvoice(name=posted.name)).state == STATE.PAID
    await lawful(contract)


async def test_the_same_payment_sent_twice_is_received_once(contract: Running) -> None:
    us = firm(contract)
    said = {"customer": await us.customer(), "amount": money("10")}
    request_id = new_id()
    first = await us.finance.CreatePayment(payment=said, request_id=request_id)
    assert await us.finance.CreatePayment(payment=said, request_id=request_id) == first
    assert len((await us.finance.ListPayments()).payments) == 1


async def test_a_credit_note_takes_all_back_and_frees_its_payments(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer()
    posted = await us.invoice(customer)
    paid = await pay(us, customer, "1000", (posted.name, ""))
    void = await us.finance.CreditInvoice(name=posted.name, reason="wrong address")
    assert (void.state, amount(void.open_amount)) == (STATE.VOID, "0.00")
    note = await us.finance.GetCreditNote(name=void.credit_note)
    assert (note.number, note.totals, note.invoice) == (f"CN-{YEAR}-000001", posted.totals, posted.name)
    free = await us.finance.GetPayment(name=paid.name)
    assert (amount(free.unallocated), len(free.allocations)) == ("1000.00", 0)
    assert await us.used(customer) == ("0.00", "-1000.00")
    await refused(us.finance.CreditInvoice(name=posted.name, reason="again"), "STATE_FORBIDS")
    await lawful(contract)


async def test_an_invoice_in_another_currency_freezes_its_rate(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer()
    posted = await us.invoice(
        customer, lines=[line(currency="USD", tax="0")], base_currency="CNY", exchange_rate=decimal("7.1234")
    )
    assert (amount(posted.base_total), posted.base_total.currency_code) == ("14246.80", "CNY")
    owed = await us.finance.GetReceivable(name=customer.replace("customers/", "receivables/"))
    assert [balance.balance.currency_code for balance in owed.balances] == ["USD"]
    await lawful(contract)


async def test_receivables_are_aged_by_their_last_day(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer(terms=0)
    draft = await us.finance.CreateInvoice(invoice={"customer": customer, "lines": [line()]})
    await us.admin.PostInvoice(name=draft.name, issue_date=day(2019, 6, 1))
    await us.invoice(customer)
    (balance,) = (await us.rep.GetReceivable(name=customer.replace("customers/", "receivables/"))).balances
    assert (amount(balance.not_due), amount(balance.overdue_older), amount(balance.open_invoices)) == (
        "2260.00",
        "2260.00",
        "4520.00",
    )
    stranger = contract.as_("sales_rep", tenant=us.tenant, team="teams/south")
    await refused(stranger.GetReceivable(name=customer.replace("customers/", "receivables/")), "NOT_FOUND")


@pytest.mark.req("CON-04")
async def test_a_contract_knows_what_was_invoiced_and_paid(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer()
    agreed = await us.signed(customer, lines=[line(product="")])
    posted = await us.invoice(customer, contract=agreed.name, lines=[])
    assert posted.totals == agreed.totals
    await pay(us, customer, "1130", (posted.name, ""))
    half = await us.rep.GetContract(name=agreed.name)
    assert (amount(half.invoiced_amount), amount(half.paid_amount), half.percent_complete.value) == (
        "2260.00",
        "1130.00",
        "50",
    )
    await us.finance.CreditInvoice(name=posted.name, reason="wrong")
    back = await us.rep.GetContract(name=agreed.name)
    assert (amount(back.invoiced_amount), amount(back.paid_amount), back.percent_complete.value) == (
        "0.00",
        "0.00",
        "0",
    )


async def test_only_a_contract_in_force_is_invoiced(contract: Running) -> None:
    us = firm(contract)
    draft = await us.rep.CreateContract(contract={"customer": await us.customer(), "lines": [line()]})
    await refused(us.finance.CreateInvoice(invoice={"contract": draft.name}), "STATE_FORBIDS")
    await refused(us.finance.CreateInvoice(invoice={"contract": "contracts/none"}), "REFERENCE_UNKNOWN")


@pytest.mark.req("CON-11")
@pytest.mark.parametrize(
    "verb",
    [
        "UPDATE journal_entries SET amount = amount + 1",
        "DELETE FROM journal_entries",
        "TRUNCATE journal_entries",
        "UPDATE credit_notes SET reason = ''",
        "DELETE FROM contract_versions",
    ],
)
async def test_what_is_booked_is_never_changed(contract: Running, verb: str) -> None:
    us = firm(contract)
    await us.invoice(await us.customer())
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with contract.store.database.connection() as connection:
            await connection.execute(verb)


async def test_the_database_refuses_a_journal_that_does_not_balance(contract: Running) -> None:
    us = firm(contract)
    posted = await us.invoice(await us.customer())
    copy = (
        "INSERT INTO journal_entries (SELECT (jsonb_populate_record(j, jsonb_build_object('id', %s::text))).*"
        " FROM journal_entries j WHERE document = %s AND line_number = 1)"
    )
    with pytest.raises(psycopg.errors.CheckViolation, match="do not sum to zero"):
        async with contract.store.database.connection() as connection, connection.transaction():
            await connection.execute("SELECT set_config('app.tenant_id', %s, true)", (us.tenant,))
            await connection.execute(copy, (new_id(), posted.name))
