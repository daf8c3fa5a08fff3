"""Parts sum to their whole, and the same question has the same answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.kernel.allocation import allocate, split
from chassis.kernel.values import Money

weights = st.lists(st.integers(0, 10**9), min_size=1, max_size=40)


@given(whole=st.integers(-(10**15), 10**15), weights=weights)
def test_parts_sum_to_the_whole(whole: int, weights: list[int]) -> None:
    assert sum(allocate(whole, weights)) == whole


@given(whole=st.integers(0, 10**15), weights=weights.filter(any))
def test_no_part_is_a_unit_away_from_its_exact_share(whole: int, weights: list[int]) -> None:
    total = sum(weights)
    for part, weight in zip(allocate(whole, weights), weights, strict=True):
        assert abs(part * total - whole * weight) < total


@given(units=st.integers(-(10**9), 10**9), weights=weights)
def test_parts_are_whole_units(units: int, weights: list[int]) -> None:
    parts = allocate(units * 100, weights, unit=100)
    assert sum(parts) == units * 100
    assert all(part % 100 == 0 for part in parts)


@given(whole=st.integers(-(10**12), 10**12), weights=weights)
def test_turning_the_sign_turns_every_part(whole: int, weights: list[int]) -> None:
    assert allocate(-whole, weights) == [-part for part in allocate(whole, weights)]


def test_a_tie_goes_to_the_earlier() -> None:
    assert allocate(100, [1, 1, 1]) == [34, 33, 33]
    assert allocate(2, [1, 1, 1, 1]) == [1, 1, 0, 0]


def test_a_weight_of_nothing_takes_nothing_while_others_weigh() -> None:
    assert allocate(7, [0, 3, 0]) == [0, 7, 0]


def test_weights_of_nothing_count_as_equal() -> None:
    assert allocate(5, [0, 0]) == [3, 2]


@pytest.mark.parametrize(("whole", "weights", "unit"), [(1, [], 1), (1, [-1, 2], 1), (150, [1], 100)])
def test_what_cannot_be_divided_is_refused(whole: int, weights: list[int], unit: int) -> None:
    with pytest.raises(ValueError):
        allocate(whole, weights, unit)


def test_money_is_divided_into_what_can_be_paid() -> None:
    assert [str(part) for part in split(Money.of("100", "CNY"), [1, 1, 1])] == [
        "33.34 CNY",
        "33.33 CNY",
        "33.33 CNY",
    ]
    assert [str(part) for part in split(Money.of("100", "JPY"), [1, 1, 1])] == ["34 JPY", "33 JPY", "33 JPY"]
    assert sum(part.amount for part in split(Money(1001, "CNY"), [1, 2])) == 1001
