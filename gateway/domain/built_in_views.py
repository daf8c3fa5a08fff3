"""What the people of each built-in role see first: the lists their day begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.domain.view import View


@dataclass(frozen=True)
class _Titled:
    en: str
    zh: str
    collection: str
    filter: str = ""
    order_by: str = ""
    columns: str = ""

    def view(self, locale: str) -> View:
        return View(
            title=self.zh if locale.startswith("zh") else self.en, collection=self.collection,
            filter=self.filter, order_by=self.order_by, columns=tuple(self.columns.split()),
        )  # fmt: skip


_OPEN = "(state = OPEN OR state = SUSPENDED)"
_LEADS_AT_WORK = "(state = NEW OR state = WORKING OR state = QUALIFIED)"
_DEAL = "number title customer stage amount expected_close_date next_step owner"
_ORDER = "number customer state order_date promise_date totals"
_INVOICE = "number customer state due_date open_amount"
_CONTRACT = "number title customer state end_date owner"

MY_DEALS = _Titled(
    "My open deals",
    "我的在途商机",
    "opportunities",
    f"owner = {{me}} AND {_OPEN}",
    "expected_close_date",
    _DEAL,
)
ALL_DEALS = _Titled("Open deals", "在途商机", "opportunities", _OPEN, "expected_close_date", _DEAL)
LARGEST = _Titled("Largest open deals", "最大在途商机", "opportunities", _OPEN, "amount desc", _DEAL)
MY_LEADS = _Titled(
    "My leads to follow up",
    "待跟进线索",
    "leads",
    f"owner = {{me}} AND {_LEADS_AT_WORK}",
    "next_follow_up_date",
    "number company_name person state score next_follow_up_date",
)
NEW_LEADS = _Titled(
    "New leads",
    "新线索",
    "leads",
    "state = NEW",
    "create_time",
    "number company_name source score owner create_time",
)
MY_CUSTOMERS = _Titled(
    "My customers",
    "我的客户",
    "customers",
    "owner = {me}",
    "display_name",
    "number display_name state grade last_order_date",
)
CUSTOMERS = _Titled(
    "Customers", "客户", "customers", "", "display_name", "number display_name state owner last_order_date"
)
MY_ORDERS = _Titled(
    "My orders on their way",
    "我的在途订单",
    "orders",
    "owner = {me} AND (state = CONFIRMED OR state = PARTLY_SHIPPED OR state = SHIPPED)",
    "order_date desc",
    _ORDER,
)
ORDERS = _Titled("Latest orders", "最近订单", "orders", "", "order_date desc", _ORDER)
TO_SHIP = _Titled(
    "Orders to ship",
    "待发货订单",
    "orders",
    "state = CONFIRMED OR state = PARTLY_SHIPPED",
    "promise_date",
    _ORDER,
)
ON_HOLD = _Titled(
    "Orders on hold", "挂起订单", "orders", "state = ON_HOLD", "order_date", f"{_ORDER} hold_reason"
)
PICKING = _Titled(
    "Being picked", "拣货中", "shipments", "state = PICKING", "create_time", "number order customer warehouse"
)
ON_THE_ROAD = _Titled(
    "On the road",
    "运输中",
    "shipments",
    "state = DISPATCHED",
    "dispatch_date",
    "number order customer carrier tracking_number dispatch_date",
)
STOCK = _Titled("Stock", "库存", "stock", "", "sku", "sku warehouse on_hand reserved available")
QUOTES_TO_APPROVE = _Titled(
    "Quotes to approve",
    "待审批报价",
    "quotes",
    "state = IN_REVIEW",
    "create_time",
    "number title customer totals owner",
)
CONTRACTS_TO_APPROVE = _Titled(
    "Contracts to approve", "待审批合同", "contracts", "state = IN_REVIEW", "create_time", _CONTRACT
)
RUNNING = _Titled(
    "Running contracts", "执行中的合同", "contracts", "state = EXECUTING", "end_date", _CONTRACT
)
UNPAID = _Titled(
    "Unpaid invoices", "未结清发票", "invoices", "state = POSTED OR state = PARTLY_PAID", "due_date", _INVOICE
)
MY_UNPAID = _Titled(
    "My customers' unpaid invoices",
    "我的客户未结清发票",
    "invoices",
    "owner = {me} AND (state = POSTED OR state = PARTLY_PAID)",
    "due_date",
    _INVOICE,
)
MONEY_IN = _Titled(
    "Payments to allocate",
    "待核销收款",
    "payments",
    "state = UNALLOCATED OR state = PARTLY_ALLOCATED",
    "receive_date",
    "number customer amount unallocated receive_date reference",
)
DRAFT_INVOICES = _Titled(
    "Invoices to post", "待过账发票", "invoices", "state = DRAFT", "create_time", _INVOICE
)
JOURNAL = _Titled("Latest journal entries", "最近分录", "journalEntries", "", "create_time desc", "")
MOVEMENTS = _Titled("Latest stock movements", "最近库存流水", "movements", "", "create_time desc", "")
INVITED = _Titled(
    "Invited, not yet here",
    "已邀请未激活",
    "users",
    "state = INVITED",
    "create_time",
    "display_name email roles team create_time",
)
PEOPLE = _Titled("People", "人员", "users", "state = ACTIVE", "display_name", "display_name email roles team")
LEAVING = _Titled(
    "Handovers to check",
    "待确认移交",
    "handovers",
    "state = READY",
    "create_time",
    "user receiver total create_time",
)

_BY_ROLE: Mapping[str, tuple[_Titled, ...]] = {
    "administrator": (LEAVING, INVITED, PEOPLE),
    "executive": (LARGEST, QUOTES_TO_APPROVE, CONTRACTS_TO_APPROVE, ORDERS, UNPAID),
    "sales_manager": (ALL_DEALS, QUOTES_TO_APPROVE, CONTRACTS_TO_APPROVE, NEW_LEADS, LEAVING, UNPAID),
    "sales_rep": (MY_DEALS, MY_LEADS, MY_CUSTOMERS, MY_ORDERS, MY_UNPAID),
    "finance": (DRAFT_INVOICES, UNPAID, MONEY_IN, CONTRACTS_TO_APPROVE, ON_HOLD),
    "warehouse": (TO_SHIP, PICKING, ON_THE_ROAD, STOCK),
    "support": (CUSTOMERS, ORDERS, ON_THE_ROAD, RUNNING),
    "partner": (MY_LEADS, CUSTOMERS, ALL_DEALS),
    "auditor": (JOURNAL, MOVEMENTS, ORDERS),
}


def built_in_views(word: str, locale: str) -> tuple[View, ...]:
    """The lists of a built-in role, in an organization of that language."""
    return tuple(each.view(locale) for each in _BY_ROLE.get(word, ()))
