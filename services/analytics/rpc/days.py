"""Which day and which currency a report is for, when the request leaves it open."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from google.type import date_pb2

from chassis.shapes import read_date
from chassis.store import Tx
from services.analytics.domain.dimension import Organization
from services.analytics.store import AnalyticsStore


async def company(tx: Tx) -> Organization | None:
    """The organization's own settings, as far as they are known."""
    found = await AnalyticsStore.companies.every(tx)
    return found[0] if found else None


async def report_day(tx: Tx, request: Any) -> date:
    """The day a report is for: as asked, else today where the organization is."""
    if request.HasField("report_date"):
        return read_date(request.report_date, "report_date")
    home = await company(tx)
    try:
        zone: Any = ZoneInfo(home.time_zone) if home and home.time_zone else UTC
    except (ZoneInfoNotFoundError, ValueError):
        zone = UTC
    return tx.call.now.astimezone(zone).date()


async def main_currency(tx: Tx, counts: Mapping[str, int]) -> str:
    """The currency that most records are in, the organization's own when there are none."""
    if counts:
        return min(counts, key=lambda code: (-counts[code], code))
    home = await company(tx)
    return home.currency if home else ""


def day(wanted: Any, field: str) -> date | None:
    """A day that a filter names, or none."""
    return read_date(getattr(wanted, field), f"filter.{field}") if wanted.HasField(field) else None


def date_message(value: date) -> date_pb2.Date:
    """google.type.Date of a day."""
    return date_pb2.Date(year=value.year, month=value.month, day=value.day)
