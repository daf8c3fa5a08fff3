"""The only wiring of the analytics service."""

from __future__ import annotations

from chassis.service import Service
from services.analytics import reactions
from services.analytics.rpc.report import ReportRpc
from services.analytics.store import AnalyticsStore

SERVICE = Service("analytics", AnalyticsStore, rpcs=[ReportRpc], reactions=reactions)
