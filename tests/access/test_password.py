"""The laws of passwords: long enough, and not among those that are tried first."""

from __future__ import annotations

from importlib import resources

import pytest

from chassis.kernel.refusals import Refused
from gateway.domain.password import check_password, common
from gateway.login import PASSWORDS
from tests.access.conftest import PASSWORD, Company
from tests.platform import refused

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
        "Jennifer2024!",
        "1234-dragonfly-5678",
        "wolfgang!!!!",
        "superman superman".replace(" ", ""),
        "Michelle#1990#",
        "1q2w3e4r5t6y7u8i",
        "g" * 5 + "long enough but far too long" * 5,
    ],
)
def test_what_is_short_common_or_ones_own_name_is_refused(password: str) -> None:
    with pytest.raises(Refused) as no:
        check_password(password, field="password", about=ABOUT)
    assert (no.value.reason, no.value.facts["field"]) == ("PASSWORD_WEAK", "password")


@pytest.mark.req("X-09")
def test_the_list_is_a_real_one_and_of_bounded_size() -> None:
    assert 20_000 < len(common()) < 50_000
    assert {"jennifer", "dragonfly", "wolfgang", "1q2w3e4r5t6y"} <= common()
    packed = resources.files("gateway.domain").joinpath("common_passwords.txt.gz").read_bytes()
    assert len(packed) < 128 * 1024
    licenses = resources.files("gateway.domain").joinpath("common_passwords.LICENSES.txt").read_text("utf-8")
    assert "Django" in licenses and "MIT License" in licenses


@pytest.mark.parametrize(
    "password",
    ["tall grass by the river", "vK3-pw9-Lq2-xx", "今天天气很好我们去河边走走", "x7" * 6 + "Kd92-ßäö"],
)
def test_what_is_long_and_ones_own_is_good_without_rules_of_composition(password: str) -> None:
    check_password(password, field="password", about=ABOUT)


@pytest.mark.req("X-09")
async def test_a_password_counts_exactly_as_it_was_typed(company: Company) -> None:
    long = "Straße " + "x7" * 60 + "K"  # 128 characters: nothing behind the 72nd is cut off
    kept = await PASSWORDS.hash(long)
    assert await PASSWORDS.verify(kept, long)
    for other in (long[:-1], long[:-1] + "k", long + " ", " " + long, long.lower(), long.replace("ß", "ss")):
        assert not await PASSWORDS.verify(kept, other)
    email = company.administrator_email
    for other in (PASSWORD.upper(), f"{PASSWORD} "):
        await refused(company.sign_in(email, other), "SIGN_IN_REFUSED")
    assert (await company.sign_in(email)).access_token
