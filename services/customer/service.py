"""The only wiring of the customer service."""

from __future__ import annotations

from chassis.service import Service
from services.customer import jobs, reactions, repairs
from services.customer.laws import LAWS
from services.customer.rpc.consent import ConsentRpc
from services.customer.rpc.contact import ContactRpc
from services.customer.rpc.customer import CustomerRpc
from services.customer.rpc.lead import LeadRpc
from services.customer.rpc.retention_rule import RetentionRuleRpc
from services.customer.rpc.retention_run import RetentionRunRpc
from services.customer.store import CustomerStore

SERVICE = Service(
    "customer",
    CustomerStore,
    rpcs=[CustomerRpc, ContactRpc, LeadRpc, ConsentRpc, RetentionRuleRpc, RetentionRunRpc],
    reactions=reactions,
    repairs=repairs,
    jobs=jobs,
    checks=LAWS,
    callers=("gateway", "opportunity", "contract", "inventory", "analytics"),
    keeps=("analytics", "inventory"),
)
