"""Which day it is for an organization, wherever on the earth it is and whatever its clocks do."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from chassis.call import Call


@pytest.mark.parametrize(
    ("zone", "now", "day"),
    [
        ("UTC", "2026-12-31T23:59:59", (2026, 12, 31)),
        ("Asia/Shanghai", "2026-12-31T15:59:59", (2026, 12, 31)),
        ("Asia/Shanghai", "2026-12-31T16:00:00", (2027, 1, 1)),
        ("Pacific/Tongatapu", "2026-12-31T10:59:59", (2026, 12, 31)),  # UTC+13
        ("Pacific/Tongatapu", "2026-12-31T11:00:00", (2027, 1, 1)),
        ("Pacific/Pago_Pago", "2027-01-01T10:59:59", (2026, 12, 31)),  # UTC-11
        ("Asia/Kolkata", "2026-12-31T18:30:00", (2027, 1, 1)),  # half an hour
        ("America/Los_Angeles", "2026-07-01T06:59:59", (2026, 6, 30)),  # in summer
        ("America/Los_Angeles", "2026-12-01T07:59:59", (2026, 11, 30)),  # in winter
        ("Mars/Olympus", "2026-12-31T23:59:59", (2026, 12, 31)),  # known to nobody here: UTC
    ],
)
def test_today_is_the_organizations_own_day(zone: str, now: str, day: tuple[int, int, int]) -> None:
    call = Call(tenant="t", user="users/a", zone=zone, now=datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert call.today == date(*day)
