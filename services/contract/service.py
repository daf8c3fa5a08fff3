"""The only wiring of the contract service, and the laws its money obeys."""

from __future__ import annotations

from chassis.laws import Law
from chassis.service import Service
from services.contract import jobs, reactions, repairs
from services.contract.rpc.contract import ContractRpc
from services.contract.rpc.contract_version import ContractVersionRpc
from services.contract.rpc.credit import CreditRpc
from services.contract.rpc.credit_note import CreditNoteRpc
from services.contract.rpc.invoice import InvoiceRpc
from services.contract.rpc.journal_entry import JournalEntryRpc, ReceivableRpc
from services.contract.rpc.payment import PaymentRpc
from services.contract.rpc.quote import QuoteRpc
from services.contract.store import ContractStore

NAMED_QUOTE, NAMED_CONTRACT = "quote <> ''", "contract <> ''"


def _count(table: str, where: str = "true") -> str:
    return f"SELECT count(*) FROM {table} WHERE tenant_id = %(tenant)s AND {where}"


def _lines_are_totals(table: str) -> str:
    return (
        f"SELECT '{table}/' || id FROM {table}, LATERAL (SELECT sum((l->'net'->>0)::bigint) AS net,"
        f" sum((l->'tax'->>0)::bigint) AS tax FROM jsonb_array_elements({table}.lines) l) AS of_lines"
        f" WHERE tenant_id = %(tenant)s AND jsonb_array_length({table}.lines) > 0"
        " AND (of_lines.net <> (totals->'net'->>0)::bigint OR of_lines.tax <> (totals->'tax'->>0)::bigint"
        " OR of_lines.net + of_lines.tax <> (totals->'total'->>0)::bigint)"
    )


def _gaps(table: str) -> str:
    return (
        f"SELECT series, count(*) || ' numbers up to ' || max(serial) FROM {table}"
        " WHERE tenant_id = %(tenant)s AND serial IS NOT NULL"
        " GROUP BY series HAVING count(*) <> max(serial) OR min(serial) <> 1"
    )


LAWS = (
    Law(
        "journals",
        "the entries of a journal sum to zero in each currency",
        "SELECT journal, sum(amount) FROM journal_entries WHERE tenant_id = %(tenant)s"
        " GROUP BY journal, amount_currency HAVING sum(amount) <> 0",
        "SELECT count(DISTINCT journal) FROM journal_entries WHERE tenant_id = %(tenant)s",
    ),
    Law(
        "receivables",
        "what the journal says a customer owes = open invoices − unallocated payments",
        "SELECT customer, currency, sum(amount) FROM ("
        " SELECT customer, amount_currency AS currency, amount FROM journal_entries"
        "  WHERE tenant_id = %(tenant)s AND account = 'RECEIVABLE'"
        " UNION ALL SELECT customer, open_amount_currency, -open_amount FROM invoices"
        "  WHERE tenant_id = %(tenant)s AND open_amount IS NOT NULL"
        " UNION ALL SELECT customer, unallocated_currency, unallocated FROM payments"
        "  WHERE tenant_id = %(tenant)s"
        ") AS all_sides GROUP BY customer, currency HAVING sum(amount) <> 0",
        "SELECT count(DISTINCT customer) FROM journal_entries WHERE tenant_id = %(tenant)s",
    ),
    Law(
        "invoice numbers",
        "legal numbers count from 1 without gaps",
        f"{_gaps('invoices')} UNION ALL {_gaps('credit_notes')}",
        f"SELECT ({_count('invoices', 'serial IS NOT NULL')}) + ({_count('credit_notes')})",
    ),
    Law(
        "lines",
        "the lines of every quote, contract and invoice sum to its totals",
        " UNION ALL ".join(_lines_are_totals(table) for table in ("quotes", "contracts", "invoices")),
        f"SELECT ({_count('quotes')}) + ({_count('contracts')}) + ({_count('invoices')})",
    ),
    Law(
        "linked papers",
        "a contract with its quote's lines, and an invoice with its contract's, come to the same",
        "SELECT 'contracts/' || c.id FROM contracts c JOIN quotes q ON q.tenant_id = c.tenant_id"
        " AND c.quote = 'quotes/' || q.id WHERE c.tenant_id = %(tenant)s AND c.lines = q.lines"
        " AND c.discount_percent = q.discount_percent AND c.totals <> q.totals"
        " UNION ALL SELECT 'invoices/' || i.id FROM invoices i JOIN contracts c ON c.tenant_id = i.tenant_id"
        " AND i.contract = 'contracts/' || c.id WHERE i.tenant_id = %(tenant)s AND i.lines = c.lines"
        " AND i.discount_percent = c.discount_percent AND i.totals <> c.totals",
        f"SELECT ({_count('contracts', NAMED_QUOTE)}) + ({_count('invoices', NAMED_CONTRACT)})",
    ),
    Law(
        "allocations",
        "a payment is its allocations and its rest, and an invoice is paid by its allocations",
        "SELECT number FROM payments WHERE tenant_id = %(tenant)s AND amount <> unallocated"
        " + coalesce((SELECT sum((a->'amount'->>0)::bigint) FROM jsonb_array_elements(allocations) a), 0)"
        " UNION ALL SELECT i.number FROM invoices i WHERE i.tenant_id = %(tenant)s"
        " AND i.paid_amount IS NOT NULL AND i.paid_amount <> coalesce((SELECT sum((a->'amount'->>0)::bigint)"
        " FROM payments p, jsonb_array_elements(p.allocations) a WHERE p.tenant_id = i.tenant_id"
        " AND p.customer = i.customer AND a->>'invoice' = 'invoices/' || i.id), 0)",
        f"SELECT ({_count('payments')}) + ({_count('invoices', 'paid_amount IS NOT NULL')})",
    ),
    Law(
        "credit",
        "what a customer uses of their credit = open holds + receivable",
        "SELECT e.customer, e.held, e.receivable FROM credit_exposures e WHERE e.tenant_id = %(tenant)s AND ("
        " e.held <> coalesce((SELECT sum(h.held) FROM credit_holds h WHERE h.tenant_id = e.tenant_id"
        "  AND h.customer = e.customer AND h.held_currency = e.currency), 0)"
        " OR e.receivable <> coalesce((SELECT sum(j.amount) FROM journal_entries j"
        "  WHERE j.tenant_id = e.tenant_id AND j.customer = e.customer AND j.account = 'RECEIVABLE'"
        "  AND j.amount_currency = e.currency), 0))",
        _count("credit_exposures"),
    ),
    Law(
        "versions",
        "every version of a signed contract that was in force can be read",
        "SELECT c.number FROM contracts c WHERE c.tenant_id = %(tenant)s AND c.sign_time IS NOT NULL"
        " AND c.version_number <> (SELECT count(*) FROM contract_versions v WHERE v.tenant_id = c.tenant_id"
        " AND v.contract = 'contracts/' || c.id)",
        _count("contracts", "sign_time IS NOT NULL"),
    ),
)

SERVICE = Service(
    "contract",
    ContractStore,
    rpcs=[
        QuoteRpc,
        ContractRpc,
        ContractVersionRpc,
        InvoiceRpc,
        CreditNoteRpc,
        PaymentRpc,
        JournalEntryRpc,
        ReceivableRpc,
        CreditRpc,
    ],
    reactions=reactions,
    repairs=repairs,
    jobs=jobs,
    checks=LAWS,
    callers=("gateway", "customer", "opportunity", "inventory", "analytics"),
    keeps=("customer", "opportunity"),
)
