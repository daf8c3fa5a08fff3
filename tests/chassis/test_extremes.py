"""Dates that cannot be reckoned with are refused at the door, and a refusal stays small whatever was said."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from tradewind.customer.v1 import customer_pb2 as api

from chassis.kernel.refusals import Refused
from chassis.reasons import LONGEST_FACT, MOST_VIOLATIONS, Reasons
from chassis.requests import check
from chassis.shapes import read_date, read_time
from tests.platform import Running, refused


@pytest.mark.parametrize("year", [999, 9001, 9999])
def test_a_year_that_leaves_no_room_to_reckon_is_refused(year: int) -> None:
    with pytest.raises(Refused, match="between the years"):
        read_date(Date(year=year, month=12, day=31), "day")


@pytest.mark.parametrize("date", [Date(year=10_000, month=1, day=1), Date(year=2**31 - 1, month=1, day=1)])
def test_a_year_that_is_none_is_refused(date: Date) -> None:
    with pytest.raises(Refused, match="whole calendar date"):
        read_date(date, "day")


@pytest.mark.parametrize(
    "seconds, nanos", [(2**63 - 1, 0), (-(2**63), 0), (253402300799, 0), (0, -1), (0, 10**9)]
)
def test_a_time_that_is_none_is_refused(seconds: int, nanos: int) -> None:
    with pytest.raises(Refused) as no:
        read_time(Timestamp(seconds=seconds, nanos=nanos), "at")
    assert no.value.facts["field"] == "at"


async def test_a_report_of_the_last_day_of_all_is_refused(analytics: Running) -> None:
    boss = analytics.as_("administrator")
    facts = await refused(boss.GetDashboard(report_date=Date(year=9999, month=12, day=31)), "FIELD_INVALID")
    assert facts["field"] == "report_date"


def test_a_refusal_fits_into_the_head_of_an_answer() -> None:
    wordy = Refused("FIELD_INVALID", field="x" * 50_000, problem="y" * 50_000)
    status = Reasons("customer").status(wordy, "en", {f"field_{i}": "z" * 9000 for i in range(5000)})
    assert status.ByteSize() < MOST_VIOLATIONS * 3 * LONGEST_FACT < 16_384


def test_a_list_without_end_is_refused_before_its_elements_are_looked_at() -> None:
    request = api.CreateCustomerRequest(customer=api.Customer(emails=["x"] * 300_000))
    with pytest.raises(Refused, match="no more than 5000 items") as no:
        check(request)
    assert no.value.facts["field"] == "customer.emails"
