"""The laws of an organization: its settings make sense."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chassis.kernel.refusals import Refused
from gateway.domain.organization import Organization

ACME = Organization(
    id="a",
    display_name="Acme",
    locale="zh-CN",
    time_zone="Asia/Shanghai",
    fiscal_year_start_month=4,
    currency="CNY",
)


def test_its_settings_make_sense() -> None:
    ACME.check()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("display_name", " "),
        ("time_zone", "Mars/Olympus"),
        ("time_zone", "../etc/passwd"),
        ("fiscal_year_start_month", 0),
        ("fiscal_year_start_month", 13),
        ("currency", "yuan"),
        ("locale", ""),
    ],
)
def test_what_makes_no_sense_is_refused_by_field(field: str, value: object) -> None:
    with pytest.raises(Refused) as no:
        replace(ACME, **{field: value}).check()
    assert no.value.facts["field"] == field
