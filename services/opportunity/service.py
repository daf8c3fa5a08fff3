"""The only wiring of the opportunity service."""

from __future__ import annotations

from chassis.service import Service
from services.opportunity import reactions, repairs
from services.opportunity.laws import LAWS
from services.opportunity.rpc.opportunity import OpportunityRpc
from services.opportunity.rpc.pipeline import PipelineRpc
from services.opportunity.store import OpportunityStore

SERVICE = Service(
    "opportunity",
    OpportunityStore,
    rpcs=[OpportunityRpc, PipelineRpc],
    reactions=reactions,
    repairs=repairs,
    checks=LAWS,
    callers=("gateway", "customer", "contract", "analytics"),
    keeps=("access",),
)
