"""Dividing a whole so that the parts sum to it exactly: the largest remainder takes what is left over."""

from __future__ import annotations

from collections.abc import Sequence

from chassis.kernel.values import Money, minor_digits


def allocate(whole: int, weights: Sequence[int], unit: int = 1) -> list[int]:
    """Parts of *whole* in proportion to *weights*, each a multiple of *unit*, that sum to it exactly.

    No part is a unit away from its exact share. Where remainders tie, the earlier part takes the unit,
    so the same question always has the same answer. Weights that are all zero count as equal.
    """
    if any(weight < 0 for weight in weights):
        raise ValueError("weights must not be negative")
    if whole % unit:
        raise ValueError(f"{whole} is no multiple of {unit}")
    if not weights:
        if whole:
            raise ValueError("there is nothing to allocate to")
        return []
    if not any(weights):
        weights = [1] * len(weights)
    sign = -1 if whole < 0 else 1
    units, total = abs(whole) // unit, sum(weights)
    shares = [divmod(units * weight, total) for weight in weights]
    parts = [floor for floor, _ in shares]
    by_remainder = sorted(range(len(shares)), key=lambda index: -shares[index][1])
    for index in by_remainder[: units - sum(parts)]:
        parts[index] += 1
    return [sign * part * unit for part in parts]


def split(whole: Money, weights: Sequence[int]) -> list[Money]:
    """Money divided into payable amounts where the whole is payable; else to the ten-thousandth."""
    unit = 10 ** (4 - minor_digits(whole.currency))
    parts = allocate(whole.amount, weights, 1 if whole.amount % unit else unit)
    return [Money(part, whole.currency) for part in parts]
