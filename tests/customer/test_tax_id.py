"""Tax numbers that can be right are kept, others refused with what would be right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.kernel.refusals import Refused
from services.customer.domain import tax_id

GOOD_CODES = [
    "91110000600037341L",
    "9144030071526726XG",
    "91330100799655058B",
    "91440300708461136T",
    "91110108551385082Q",
]


@pytest.mark.parametrize("code", GOOD_CODES)
@pytest.mark.parametrize("country", ["", "CN"])
def test_a_registered_credit_code_is_good(code: str, country: str) -> None:
    tax_id.check(code, country)


@pytest.mark.parametrize("code", ["91110000600037341K", "911100001011225454", "91420111568354111A"])
def test_a_wrong_check_character_is_refused_with_the_right_one(code: str) -> None:
    with pytest.raises(Refused) as no:
        tax_id.check(code, "")
    assert no.value.facts["field"] == "tax_id"
    assert f"would be {tax_id.credit_code_check(code[:17])}" in no.value.facts["problem"]


@given(
    code=st.sampled_from(GOOD_CODES), place=st.integers(0, 17), sign=st.sampled_from(tax_id._USCC_ALPHABET)
)
def test_any_one_mistyped_character_is_noticed(code: str, place: int, sign: str) -> None:
    mistyped = code[:place] + sign + code[place + 1 :]
    if mistyped == code:
        tax_id.check(mistyped, "CN")
    else:
        with pytest.raises(Refused):
            tax_id.check(mistyped, "CN")


@given(left=st.integers(8, 15))
def test_two_swapped_neighbours_are_noticed(left: int) -> None:
    code = "91110108MA01KPTX5L"
    body = code[:left] + code[left + 1] + code[left] + code[left + 2 : 17]
    swapped = body != code[:17]
    assert (tax_id.credit_code_check(body) != tax_id.credit_code_check(code[:17])) is swapped


@pytest.mark.parametrize(
    ("number", "country"),
    [
        ("DE811569869", "DE"), ("DE811569869", ""), ("FR40303265045", "FR"), ("ATU13585627", "AT"),
        ("NL004495445B01", "NL"), ("EL094259216", "GR"), ("ESB58378431", "ES"), ("IE6433435F", "IE"),
        ("XI123456789", "GB"), ("SE556188840401", "SE"), ("GB123456789", "GB"), ("123456789", "US"),
    ],
)  # fmt: skip
def test_numbers_in_the_format_of_their_country_are_good(number: str, country: str) -> None:
    tax_id.check(number, country)


@pytest.mark.parametrize(
    ("number", "country"),
    [
        ("DE81156986", "DE"),
        ("811569869", "DE"),
        ("FR4030326504", ""),
        ("GR094259216", "GR"),
        ("AT13585627", "AT"),
    ],
)
def test_a_vat_number_of_another_format_is_refused(number: str, country: str) -> None:
    with pytest.raises(Refused, match="VAT number"):
        tax_id.check(number, country)


def test_the_country_decides_when_it_is_given() -> None:
    tax_id.check("911100001011225454", "MX")  # 18 digits, but not a Chinese number
    with pytest.raises(Refused, match="unified social credit code"):
        tax_id.check("DE811569869", "CN")


def test_a_number_is_kept_without_its_dress() -> None:
    assert tax_id.compact(" 9111 0000-6000 37341l ") == "91110000600037341L"
    assert tax_id.compact("ＤＥ８１１５６９８６９") == "DE811569869"
