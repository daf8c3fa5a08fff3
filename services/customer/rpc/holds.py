"""What other services still need somebody for: asked of them when it counts, never kept here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from tradewind.contract.v1 import contract_pb2, invoice_pb2
from tradewind.inventory.v1 import order_pb2
from tradewind.opportunity.v1 import opportunity_pb2

from chassis.call import Call
from services.customer.domain.retention import Hold, RetentionRule, Subject, months_before

AT_ONCE = 40  # customers of one question: a filter has 50 terms at the most
_PAGE = 200
Held = dict[str, tuple[Hold, str]]  # "customers/…" → why, and the record that holds


async def held_by_others(call: Call, rule: RetentionRule, customers: Iterable[str]) -> Held:
    """Which of these customers cannot be forgotten yet, or their people, and by what.

    Refuses with UNAVAILABLE where a service does not answer: nobody is forgotten on a guess.
    """
    found: Held = {}
    asked = sorted({customer for customer in customers if customer})
    for at in range(0, len(asked), AT_ONCE):
        some = asked[at : at + AT_ONCE]
        for hold, method, request, field, condition in _questions(call, rule):
            left = [customer for customer in some if customer not in found]
            async for record in _those(call, method, request, field, left, condition):
                found.setdefault(record.customer, (hold, record.name))
    return found


def _questions(call: Call, rule: RetentionRule) -> list[tuple[Hold, str, Any, str, str]]:
    """(hold, method, request, field of the answer, condition), in the order in which holds are told."""
    deals = opportunity_pb2.ListOpportunitiesRequest
    invoices = "tradewind.contract.v1.InvoiceService.ListInvoices"
    asked = [
        (Hold.OPEN_DEAL, "tradewind.opportunity.v1.OpportunityService.ListOpportunities", deals,
         "opportunities", "state = OPEN OR state = SUSPENDED"),
        (Hold.OPEN_CONTRACT, "tradewind.contract.v1.ContractService.ListContracts",
         contract_pb2.ListContractsRequest, "contracts",
         "state != CLOSED AND state != TERMINATED AND state != COMPLETED"),
        (Hold.OPEN_ORDER, "tradewind.inventory.v1.OrderService.ListOrders", order_pb2.ListOrdersRequest,
         "orders", "state != SETTLED AND state != CANCELLED"),
        (Hold.UNPAID_INVOICE, invoices, invoice_pb2.ListInvoicesRequest, "invoices",
         "state != PAID AND state != VOID"),
    ]  # fmt: skip
    if (
        rule.subject is Subject.INACTIVE_PRIVATE_CUSTOMERS
    ):  # the paper is theirs: a company's is not its people's
        since = months_before(call.now, rule.books_months).date()
        asked.append(
            (Hold.BOOKS, invoices, invoice_pb2.ListInvoicesRequest, "invoices", f"issue_date >= {since}")
        )
    return asked


async def _those(
    call: Call, method: str, request: Any, field: str, customers: list[str], condition: str
) -> AsyncIterator[Any]:
    """The records of these customers that meet a condition, page by page."""
    if not customers:
        return
    assert call.clients is not None
    whose = " OR ".join(f'customer = "{customer}"' for customer in customers)
    asked = request(
        filter=f"({whose}) AND ({condition})", page_size=_PAGE,
        read_mask=FieldMask(paths=["name", "customer"]),
    )  # fmt: skip
    while True:
        page = await call.clients.ask(method, asked, call)
        for record in getattr(page, field):
            yield record
        if not page.next_page_token:
            return
        asked.page_token = page.next_page_token
