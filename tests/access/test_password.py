"""The laws of passwords: long enough, and not among those that are tried first."""

from __future__ import annotations

import pytest

from chassis.kernel.refusals import Refused
from gateway.domain.password import check_password

ABOUT = ("li.wei@example.com", "Li Wei", "Tradewind")


@pytest.mark.parametrize(
    "password",
    [
        "short1!",
        "x" * 12,
        "a1" * 10,
        "123456789012",
        "abcdefghijkl",
        "qwertyuiopas",
        "Password2024!",
        "P@ssw0rd1234",
        "passwordpassword",
        "!!!iloveyou!!!",
        "correcthorsebatterystaple",
        "li.wei@example.com",
        "Tradewind2026",
        "g" * 5 + "long enough but far too long" * 5,
    ],
)
def test_what_is_short_common_or_ones_own_name_is_refused(password: str) -> None:
    with pytest.raises(Refused) as no:
        check_password(password, field="password", about=ABOUT)
    assert (no.value.reason, no.value.facts["field"]) == ("PASSWORD_WEAK", "password")


@pytest.mark.parametrize(
    "password",
    ["tall grass by the river", "vK3-pw9-Lq2-xx", "今天天气很好我们去河边走走", "x7" * 6 + "Kd92-ßäö"],
)
def test_what_is_long_and_ones_own_is_good_without_rules_of_composition(password: str) -> None:
    check_password(password, field="password", about=ABOUT)
